/* bfloat.cu: conversions between floats and the bfloat16 numbers that hold them (runtime/bfloat.h). */
#include "floats.h"

extern "C" {
#include "bfloat.h"
}
#include "kernels.h"

KERNEL
convert(Floats from, Floats to, int64_t count)
{
  int64_t first = thread_number() * 4;
  if (first < count)
    store_four(to, count, first, load_four(from, count, first));
}

int
gpu_convert(actnn *trainer, void *to, const void *from, int64_t count, bool rounds)
{
  actnn_call call; /* whose trainer has the stream */
  memset(&call, 0, sizeof call);
  call.trainer = trainer;
  Floats given = {(void *)from, !rounds}, made = {to, rounds};
  return LAUNCH(&call, convert, (count + 3) / 4, given, made, count);
}
