/* floats.h: floats as tensors hold them, in FP32 or as bfloat16 (runtime/bfloat.h). Kernels compute in FP32: what they read is widened, and
 * what they write rounded once. */
#ifndef ACTNN_CUDA_FLOATS_H
#define ACTNN_CUDA_FLOATS_H

#include "moving.h"

#include "bfloat_value.h"

/* ---- of a form that is known where a kernel is compiled ---------------------------------------------------------- */

static inline __device__ float
widened(float value)
{
  return value;
}

static inline __device__ float
widened(bfloat_number number)
{
  return bfloat_widened(number.bits);
}

static inline __device__ void
hold(float *to, float value)
{
  *to = value;
}

static inline __device__ void
hold(bfloat_number *to, float value)
{
  to->bits = bfloat_rounded(value);
}

/* An operand or a result whose elements are of one type. */
template <typename Element> struct Held {
  Element *data; /* NULL: there is none */
  __device__ float operator[](int64_t at) const { return widened(data[at]); }
  __device__ void put(int64_t at, float value) const { hold(&data[at], value); }
};

/* run(an element as a tensor of floats holds it). */
template <typename Run>
static int
with_floats(bool is_bfloat, Run run)
{
  return is_bfloat ? run(bfloat_number()) : run(float());
}

template <typename Run>
static int
with_floats(const actnn_view *view, Run run)
{
  return with_floats(view->type == ACTNN_BF16, run);
}

/* ---- of either form ---------------------------------------------------------------------------------------------- */

/* An operand or a result. Its form is the same for all threads: none waits while others go another way. */
typedef struct Floats {
  void *data; /* NULL: there is none */
  bool is_bfloat;

  /* By words, to which tensors are padded: one load whatever the form, so that many can be on their way together. The half of a word that
   * is cut off may be another thread's, which is writing it. */
  __device__ float operator[](int64_t at) const
  {
    uint32_t word = READ_PART((const uint32_t *)data + (at >> is_bfloat), is_bfloat ? at % 2 * 2 : 0, is_bfloat ? 2 : 4);
    return actnn_float_of(!is_bfloat ? word : at & 1 ? word & 0xffff0000u : word << 16);
  }
  __device__ void put(int64_t at, float value) const
  {
    if (is_bfloat)
      ((uint16_t *)data)[at] = bfloat_rounded(value);
    else
      ((float *)data)[at] = value;
  }
  /* Where others may be writing the same number: volatile, for such writes do not race on a GPU. */
  __device__ void put_likewise(int64_t at, float value) const
  {
    if (is_bfloat)
      ((volatile uint16_t *)data)[at] = bfloat_rounded(value);
    else
      ((volatile float *)data)[at] = value;
  }
} Floats;

static inline Floats
floats_of(const actnn_view *view)
{
  Floats floats = {view->data, view->type == ACTNN_BF16};
  return floats;
}

/* A tensor in the form that with_form has chosen; NULL: there is none. */
static inline Floats
in_form(const Floats &, const actnn_view *view)
{
  return view ? floats_of(view) : Floats();
}

template <typename Element>
static Held<Element>
in_form(const Held<Element> &, const actnn_view *view)
{
  Held<Element> held = {view ? (Element *)view->data : NULL};
  return held;
}

/* run(the form of three tensors, of those that are there): if they are held alike, one that is known where a kernel is compiled, which then
 * takes fewer registers. */
template <typename Run>
static int
with_form(const actnn_view *a, const actnn_view *b, const actnn_view *c, Run run)
{
  const actnn_view *const view[] = {a, b, c};
  bool has_floats = false, has_bfloat = false;
  for (int i = 0; i < 3; i++) {
    has_floats |= view[i] && view[i]->type != ACTNN_BF16;
    has_bfloat |= view[i] && view[i]->type == ACTNN_BF16;
  }
  if (has_floats && has_bfloat)
    return run(Floats());
  return has_bfloat ? run(Held<bfloat_number>()) : run(Held<float>());
}

template <int Wide>
static __device__ Columns<Wide>
widened(Columns<Wide, uint16_t> narrow)
{
  Columns<Wide> wide;
  for (int i = 0; i < Wide; i++)
    wide.of[i] = bfloat_widened(narrow.of[i]);
  return wide;
}

template <int Wide>
static __device__ Columns<Wide, uint16_t>
rounded(const Columns<Wide> &wide)
{
  Columns<Wide, uint16_t> narrow;
  for (int i = 0; i < Wide; i++)
    narrow.of[i] = bfloat_rounded(wide.of[i]);
  return narrow;
}

/* The elements from unit * Wide on. */
template <int Wide>
static __device__ Columns<Wide>
load_columns(const Floats &from, int64_t unit)
{
  return from.is_bfloat ? widened(((const Columns<Wide, uint16_t> *)from.data)[unit]) : ((const Columns<Wide> *)from.data)[unit];
}

template <int Wide>
static __device__ void
store_columns(const Floats &to, int64_t unit, const Columns<Wide> &columns)
{
  if (to.is_bfloat)
    ((Columns<Wide, uint16_t> *)to.data)[unit] = rounded(columns);
  else
    ((Columns<Wide> *)to.data)[unit] = columns;
}

/* As of moving.h. */
static inline __device__ Four<float>
load_four(const Floats &from, int64_t count, int64_t first)
{
  return from.is_bfloat ? widened(load_four((const uint16_t *)from.data, count, first)) : load_four((const float *)from.data, count, first);
}

static inline __device__ void
store_four(const Floats &to, int64_t count, int64_t first, const Four<float> &four)
{
  if (to.is_bfloat)
    store_four((uint16_t *)to.data, count, first, rounded(four));
  else
    store_four((float *)to.data, count, first, four);
}

/* ---- moved from one tensor to another --------------------------------------------------------------------------------- */

/* Bytes as they are. */
template <typename Unit_> struct moved_units {
  typedef Unit_ Unit;
  const Unit *x;
  Unit *y;
  __device__ Unit load(int64_t at) const { return x[at]; }
  __device__ void store(int64_t at, const Unit &unit) const { y[at] = unit; }
};

/* Floats that the result holds in another form. */
template <int Wide> struct converted_units {
  typedef Columns<Wide> Unit;
  Floats x, y;
  __device__ Unit load(int64_t at) const { return load_columns<Wide>(x, at); }
  __device__ void store(int64_t at, const Unit &unit) const { store_columns(y, at, unit); }
};

/* Floats of which one tensor has bfloat16 and the other has not. */
static inline bool
are_held_otherwise(const actnn_view *x, const actnn_view *y)
{
  return (x->type == ACTNN_BF16) != (y->type == ACTNN_BF16);
}

template <typename Unit>
static moved_units<Unit>
move(const actnn_view *x, const actnn_view *y)
{
  moved_units<Unit> units = {(const Unit *)x->data, (Unit *)y->data};
  return units;
}

template <int Wide>
static converted_units<Wide>
conversion(const actnn_view *x, const actnn_view *y)
{
  converted_units<Wide> units = {floats_of(x), floats_of(y)};
  return units;
}

#endif
