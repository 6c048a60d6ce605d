/* bfloat.h: values held as bfloat16 (--precision=bf16).
 *
 * Kernels compute in FP32. One that takes bfloat16 widens what it reads and rounds what it writes, once, to nearest even; any other runs
 * on FP32 copies in the workspace, which gives the same bits where it adds nothing up in another order. */
#ifndef ACTNN_BFLOAT_H
#define ACTNN_BFLOAT_H

#include "bfloat_value.h"
#include "runtime.h"

/* ---- for kernels that take it themselves ---------------------------------------------------------- */

static inline bool
bfloat_holds(const actnn_view *view)
{
  return view->type == ACTNN_BF16;
}

/* Elements [at, at + count) to be read: where they lie, or widened into `buffer`. */
static inline const float *
bfloat_read(const actnn_view *view, int64_t at, int64_t count, float *buffer)
{
  if (!bfloat_holds(view))
    return (const float *)view->data + at;
  const uint16_t *from = (const uint16_t *)view->data + at;
  for (int64_t i = 0; i < count; i++)
    buffer[i] = bfloat_widened(from[i]);
  return buffer;
}

/* Where elements from `at` on are to be written: where they lie, or `buffer`, which bfloat_write then rounds to where they do. */
static inline float *
bfloat_place(const actnn_view *view, int64_t at, float *buffer)
{
  return bfloat_holds(view) ? buffer : (float *)view->data + at;
}

static inline void
bfloat_write(const actnn_view *view, int64_t at, int64_t count, const float *buffer)
{
  uint16_t *to = (uint16_t *)view->data + at;
  for (int64_t i = 0; bfloat_holds(view) && i < count; i++)
    to[i] = bfloat_rounded(buffer[i]);
}

/* ---- for all others ----------------------------------------------------------------------------------- */

/* Converts `count` elements where a trainer's tensors lie: to bfloat16, or from it. 0, or 1 with a message. */
typedef int bfloat_conversion(actnn *trainer, void *to, const void *from, int64_t count, bool rounds);
bfloat_conversion bfloat_convert; /* in the processor's memory */

/* Some operand or result is held as bfloat16. */
bool bfloat_is_in(const actnn_call *call);
/* The processor's kernel takes it as it is, or a GPU's that stands for it. */
bool bfloat_is_taken_by(actnn_kernel *kernel, const actnn_call *call, bool is_on_gpu);
/* Runs a kernel, or a device's that stands for it, on FP32 copies of what is held as bfloat16. While preparing it says how much of the
 * workspace they take beside what the kernel asks for. 0, 1 with a message, or what else the kernel returns. */
int bfloat_widen(actnn_kernel *kernel, actnn_kernel *runs, const actnn_call *call, bfloat_conversion *convert);
/* The same of a kernel of the processor. */
int bfloat_run_on_copies(actnn_kernel *kernel, const actnn_call *call);
/* Runs a kernel of the processor on operands as they come. */
int bfloat_run(actnn_kernel *kernel, const actnn_call *call);

#endif
