/* codec_choice.c: which build of codec.c this processor runs. */
#include "codec.h"

#include <string.h>

extern const actnn_codec_kernels actnn_codec_scalar;
#if defined(__x86_64__) || defined(__i386__)
extern const actnn_codec_kernels actnn_codec_avx2, actnn_codec_avx512;

static bool
has_avx2(void)
{
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool
has_avx512(void)
{
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

const actnn_codec_kernels *
actnn_codec_kernels_named(const char *name)
{
#if defined(__x86_64__) || defined(__i386__)
  if (strcmp(name, "avx512") == 0)
    return has_avx512() ? &actnn_codec_avx512 : NULL;
  if (strcmp(name, "avx2") == 0)
    return has_avx2() ? &actnn_codec_avx2 : NULL;
#endif
  return strcmp(name, "scalar") == 0 ? &actnn_codec_scalar : NULL;
}

const actnn_codec_kernels *
actnn_codec_best_kernels(void)
{
  const actnn_codec_kernels *best = actnn_codec_kernels_named("avx512");
  if (!best)
    best = actnn_codec_kernels_named("avx2");
  return best ? best : actnn_codec_kernels_named("scalar");
}
