/* bfloat.cu: conversions between floats and the bfloat16 numbers that hold them (runtime/bfloat.h). */
#include "floats.h"

extern "C" {
#include "bfloat.h"
}
#include "kernels.h"

template <int Wide>
KERNEL
convert(Floats from, Floats to, int64_t units)
{
  int64_t unit = thread_number();
  if (unit < units)
    store_columns(to, unit, load_columns<Wide>(from, unit));
}

static bool
begins_a_unit(const void *memory)
{
  return (uintptr_t)memory % WIDEST_UNIT == 0;
}

/* Samples that are converted a few at a time (bfloat_widen) begin and end anywhere. */
int
gpu_convert(actnn *trainer, void *to, const void *from, int64_t count, bool rounds)
{
  actnn_call call; /* whose trainer has the stream */
  memset(&call, 0, sizeof call);
  call.trainer = trainer;
  Floats given = {(void *)from, !rounds}, made = {to, rounds};
  if (count % 4 == 0 && begins_a_unit(from) && begins_a_unit(to))
    return LAUNCH(&call, convert<4>, count / 4, given, made, count / 4);
  return LAUNCH(&call, convert<1>, count, given, made, count);
}
