/* saves_decoded.cu: what codes of a value as it is mean, on a GPU: the value, what scale and bias make of it, a gradient where it is positive, or
 * times it; see saves.h. */
#include "kernels.h"
#include "saves_tables.h"
#include "tile_codes.h"

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

template <actnn_spacing Spacing>
static __device__ float
value_of(const actnn_group &group, uint32_t level, uint32_t draw)
{
  if (Spacing == ACTNN_MASKED_LEVELS)
    return level ? actnn_codec_value(level - 1, group.base, group.step, group.dither, draw) : group.base;
  if (Spacing == ACTNN_SQUARE_LEVELS)
    level *= level;
  return actnn_codec_value(level, group.base, group.step, group.dither, draw);
}

/* What becomes of four decoded elements by the place of the first: nothing, or what scale and b make of them. */
struct as_decoded {
  __device__ void operator()(float *, int64_t) const {}
};

/* Along the value's last axes. */
typedef struct Along {
  const float *data; /* NULL: there is none */
  Divisor count;
} Along;

static __device__ void
load_along(const Along &operand, int64_t at, float *four)
{
  int64_t place = remainder_of(at, operand.count);
  UNROLLED
  for (int j = 0; j < FOUR; j++, place++) {
    if (place == operand.count.number)
      place = 0;
    four[j] = operand.data[place];
  }
}

struct affine_along {
  Along scale, b;
  __device__ void operator()(float *four, int64_t at) const
  {
    float factor[FOUR], shift[FOUR] = {0, 0, 0, 0};
    load_along(scale, at, factor);
    if (b.data)
      load_along(b, at, shift);
    UNROLLED
    for (int j = 0; j < FOUR; j++)
      four[j] = b.data ? four[j] * factor[j] + shift[j] : four[j] * factor[j];
  }
};

template <actnn_spacing Spacing, typename Finish>
TILE_KERNEL
dequantize(tiles_job job, Floats value, Finish finish)
{
  tile_part part = part_of(job);
  const own_codes codes = read_own_codes(part);
  const actnn_philox_key key = key_now(job.key);
  own_values own;
  UNROLLED
  for (int j = 0; j < FOUR; j++) {
    const actnn_group group = actnn_codec_group_of(&part.code, read_header(job, part, part.four * FOUR + j));
    const actnn_philox_block draws = draws_of_codes(part, key, j);
    for_rows(ALL_ROWS, [&](int k) { own.of[k][j] = value_of<Spacing>(group, code_at(codes, k, j), draw_of(draws, k)); });
  }
  for_own_runs(job, part, [&](const row_run &run, uint32_t rows) {
    for_rows(rows, [&](int k) { finish(own.of[k], place_of(job, run, k, 0)); });
    store_rows(job, value, run, rows, own);
  });
}

/* dx may be dy. */
TILE_KERNEL
select_coded(tiles_job job, Floats dy, Floats dx)
{
  tile_part part = part_of(job);
  const own_codes codes = read_own_codes(part);
  own_values gradient = load_own(job, part, dy);
  for_elements(ALL_ROWS, [&](int k, int j) { gradient.of[k][j] = code_at(codes, k, j) ? gradient.of[k][j] : 0; });
  store_own(job, part, dx, gradient);
}

/* dx = dy times what is decoded; dx may be dy. */
template <actnn_spacing Spacing>
TILE_KERNEL
multiply_coded(tiles_job job, Floats dy, Floats dx)
{
  tile_part part = part_of(job);
  const own_codes codes = read_own_codes(part);
  const actnn_philox_key key = key_now(job.key);
  own_values gradient = load_own(job, part, dy);
  UNROLLED
  for (int j = 0; j < FOUR; j++) {
    const actnn_group group = actnn_codec_group_of(&part.code, read_header(job, part, part.four * FOUR + j));
    const actnn_philox_block draws = draws_of_codes(part, key, j);
    for_rows(ALL_ROWS, [&](int k) { gradient.of[k][j] *= value_of<Spacing>(group, code_at(codes, k, j), draw_of(draws, k)); });
  }
  store_own(job, part, dx, gradient);
}

/* ---- calls --------------------------------------------------------------------------------------------------------- */

/* Opens the codes that a call decodes into output 0. */
static int
open_codes(const actnn_call *call, uint32_t *index, tiles_job *job)
{
  const actnn_view *value = &call->output[0];
  return saves_find(call, value, index) || saves_open(call->trainer, *index) || gpu_saves_job(call, *index, value, job);
}

/* run(the codes that a call reads); nothing while it prepares. */
template <typename Run>
static int
with_codes(const actnn_call *call, Run run)
{
  uint32_t index = 0;
  tiles_job job;
  if (actnn_is_preparing(call))
    return saves_find(call, NULL, &index);
  return open_codes(call, &index, &job) || run(job);
}

template <typename Finish>
static int
decode(const actnn_call *call, Finish finish)
{
  return with_codes(call, [&](const tiles_job &job) {
    return with_spacing(job.code.spacing, [&](auto spacing) {
      constexpr actnn_spacing Spacing = decltype(spacing)::value;
      return LAUNCH_BLOCKS(call, (dequantize<Spacing, Finish>), blocks_of_tiles(job.codec), job, floats_of(&call->output[0]), finish);
    });
  });
}

extern "C" int
gpu_DequantizeOnBackward(const actnn_call *call)
{
  return decode(call, as_decoded());
}

static Along
along(const actnn_view *view)
{
  Along operand = {view ? (const float *)view->data : NULL, divisor_of(view && element_count(view) > 0 ? element_count(view) : 1)};
  return operand;
}

extern "C" int
gpu_DequantizeAffine(const actnn_call *call)
{
  affine_along finish = {along(&call->input[1]), along(optional_input(call, 2))};
  return decode(call, finish);
}

extern "C" int
gpu_SelectCoded(const actnn_call *call)
{
  return with_codes(call, [&](const tiles_job &job) {
    if (job.code.spacing != ACTNN_MASKED_LEVELS)
      return actnn_fail(call->trainer, "%s: its codes do not tell what is positive", call->trainer->model->save[call->attribute[0].i].name);
    return LAUNCH_BLOCKS(call, select_coded, blocks_of_tiles(job.codec), job, floats_of(&call->input[0]), floats_of(&call->output[0]));
  });
}

extern "C" int
gpu_MultiplyCoded(const actnn_call *call)
{
  return with_codes(call, [&](const tiles_job &job) {
    return with_spacing(job.code.spacing, [&](auto spacing) {
      constexpr actnn_spacing Spacing = decltype(spacing)::value;
      return LAUNCH_BLOCKS(call, multiply_coded<Spacing>, blocks_of_tiles(job.codec), job, floats_of(&call->input[0]), floats_of(&call->output[0]));
    });
  });
}
