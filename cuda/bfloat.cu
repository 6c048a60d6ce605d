/* bfloat.cu: conversions between floats and the bfloat16 numbers that hold them (runtime/bfloat.h). */
#include "moving.h"

extern "C" {
#include "bfloat.h"
}
#include "kernels.h"

KERNEL
round_floats(const float *from, uint16_t *to, int64_t count)
{
  int64_t first = thread_number() * 4;
  if (first >= count)
    return;
  Four<float> wide = load_four(from, count, first);
  Four<uint16_t> narrow;
  for (int i = 0; i < 4; i++)
    narrow.of[i] = bfloat_rounded(wide.of[i]);
  store_four(to, count, first, narrow);
}

KERNEL
widen_floats(const uint16_t *from, float *to, int64_t count)
{
  int64_t first = thread_number() * 4;
  if (first >= count)
    return;
  Four<uint16_t> narrow = load_four(from, count, first);
  Four<float> wide;
  for (int i = 0; i < 4; i++)
    wide.of[i] = bfloat_widened(narrow.of[i]);
  store_four(to, count, first, wide);
}

int
gpu_convert(actnn *trainer, void *to, const void *from, int64_t count, bool rounds)
{
  actnn_call call; /* whose trainer has the stream */
  memset(&call, 0, sizeof call);
  call.trainer = trainer;
  int64_t threads = (count + 3) / 4;
  if (rounds)
    return LAUNCH(&call, round_floats, threads, (const float *)from, (uint16_t *)to, count);
  return LAUNCH(&call, widen_floats, threads, (const uint16_t *)from, (float *)to, count);
}
