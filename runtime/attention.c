/* attention.c: attention and its gradient, a tile of rows at a time, so that scores and probabilities are never whole in memory.
 *
 * Forward makes a tile's scores from q and k, probabilities of them, and o; backward makes both once more. The library multiplies. A thread
 * has a tile, in backward all tiles of one leading index, whose sums dk and dv go over them in order, and where a mask is trained those of all
 * that share its elements: threads change no bit. What is held as bfloat16 is widened to FP32 in the thread's scratch, and o, dq, dk and dv are
 * rounded there once.
 *
 * Under a causal mask a tile needs keys only up to its last row, since exp of what is left out is zero in float. Where it is not, because a
 * row's greatest score is not that far above `never`, nothing is left out.
 *
 * Compiled once for each instruction set, see instruction_set.h.
 */
#ifndef ACTNN_RUNTIME
#define ACTNN_RUNTIME
#endif
#include "bfloat.h"
#include "dropout_factors.h"
#include "head_rows.h"
#include "library.h"
#include "softmax_line.h"

#include "../src/operators/attention.h"

#include <omp.h>

enum { MOST_ROWS = 128, TILE_ELEMENTS = 65536 }; /* of a tile, unless a row has more */
static const float VANISHES = 104;               /* below what exp is taken beside, exp is zero in float */

/* What a call computes, and how it is cut. */
typedef struct Work {
  const actnn_call *call;
  Attention attention;
  actnn_philox_key key;
  int64_t tile_rows, tiles; /* tiles: of a leading index */
  const actnn_view *q, *k, *v;
} Work;

/* One thread's scratch, given out in pieces; counted only, while `base` is NULL. */
typedef struct Scratch {
  unsigned char *base;
  uint64_t used;
} Scratch;

static float *
take_floats(Scratch *scratch, int64_t count)
{
  uint64_t place = scratch->used;
  scratch->used += ((uint64_t)count * sizeof(float) + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  return scratch->base ? (float *)(void *)(scratch->base + place) : NULL;
}

/* The same for a widened copy of an operand's or result's elements; nothing where they lie as floats, or where it is absent. */
static float *
take_copy(Scratch *scratch, const actnn_view *view, int64_t count)
{
  return view && bfloat_holds(view) ? take_floats(scratch, count) : NULL;
}

/* The matrix k as it lies: a row for each key, or for each column of q. */
static int64_t
rows_of_k(const Attention *attention)
{
  return attention->transposes_k ? attention->keys : attention->inner;
}

static int64_t
columns_of_k(const Attention *attention)
{
  return attention->transposes_k ? attention->inner : attention->keys;
}

static Work
work_of(const actnn_call *call, size_t q, size_t mask)
{
  Work work = {.call = call, .q = &call->input[q], .k = &call->input[q + 1], .v = &call->input[q + 2]};
  work.attention = attention_of(call, q, mask);
  work.key = random_key_of(call, USE_DROPOUT);
  int64_t keys = work.attention.keys > 0 ? work.attention.keys : 1, rows = TILE_ELEMENTS / keys;
  work.tile_rows = rows < 1 ? 1 : rows > MOST_ROWS ? MOST_ROWS : rows;
  if (work.tile_rows > work.attention.rows) work.tile_rows = work.attention.rows;
  work.tiles = work.tile_rows ? (work.attention.rows + work.tile_rows - 1) / work.tile_rows : 0;
  return work;
}

/* ---- rows of scores ------------------------------------------------------------------------------------ */

/* One row of a tile: its first `columns` scores. */
typedef struct Row {
  int64_t head, number, columns;
  int64_t mask; /* where its mask begins */
} Row;

static Row
row_of(const Attention *attention, int64_t head, int64_t number, int64_t columns)
{
  int64_t mask = attention->mask ? attention_mask_start(attention, head) + number * attention->mask_row : 0;
  return (Row){.head = head, .number = number, .columns = columns, .mask = mask};
}

/* Where a row has scores that its mask of bool or the diagonal blocks, `value` comes in their place. */
static void
fill_blocked(const Attention *attention, const Row *row, float *x, float value)
{
  int64_t count = row->columns;
  if (attention->mask && attention->mask->type != ACTNN_F32) {
    const uint8_t *mask = (const uint8_t *)attention->mask->data + row->mask;
    if (attention->mask_column) {
#pragma omp simd
      for (int64_t i = 0; i < count; i++) x[i] = mask[i] ? x[i] : value;
    } else if (!mask[0]) {
      for (int64_t i = 0; i < count; i++) x[i] = value;
    }
  }
  for (int64_t i = row->number + 1; attention->is_causal && i < count; i++) x[i] = value;
}

static void
mask_row(const Attention *attention, const Row *row, float *scores)
{
  if (attention->mask && attention->mask->type == ACTNN_F32) {
    const float *mask = (const float *)attention->mask->data + row->mask;
    int64_t step = attention->mask_column;
#pragma omp simd
    for (int64_t i = 0; i < row->columns; i++) scores[i] += mask[i * step];
  }
  fill_blocked(attention, row, scores, (float)attention->never);
}

/* What dropout multiplies a run of a row's probabilities by: those of elements [at, at + count) begin at `first` of `factor`. */
typedef struct Run {
  int64_t at, count;
  const float *first;
  float factor[BATCH * DRAWS];
} Run;

/* The run behind the one that *run holds, at first an empty one; false when the row has no more. */
static bool
draw_run(const Work *work, const Row *row, Run *run)
{
  const Attention *attention = &work->attention;
  int64_t begin = (row->head * attention->rows + row->number) * attention->keys, next = begin + run->at + run->count;
  int64_t drawn = next / DRAWS * DRAWS, end = drawn + BATCH * DRAWS;
  if (end > begin + row->columns) end = begin + row->columns;
  if (next >= end) return false;
  draw_factors(run->factor, drawn, attention->dropout, work->key);
  run->first = run->factor + (next - drawn);
  run->at = next - begin;
  run->count = end - next;
  return true;
}

static void
drop_row(const Work *work, const Row *row, float *p)
{
  Run run = {.at = 0};
  while (work->attention.dropout.is_active && draw_run(work, row, &run))
    for (int64_t i = 0; i < run.count; i++) p[run.at + i] = run.first[i] != 0.0f ? p[run.at + i] * run.first[i] : 0.0f;
}

/* ---- tiles --------------------------------------------------------------------------------------------------- */

/* Rows [first, first + rows) of one leading index against keys [0, columns). */
typedef struct Tile {
  const Work *work;
  int64_t head, first, rows, columns;
  Matrix q, k, v;
  float *scores;
} Tile;

static bool
make_scores(const Tile *tile)
{
  const Attention *attention = &tile->work->attention;
  bool transposes = attention->transposes_k;
  library_tile product = {.a = tile->q.at, .b = tile->k.at, .y = tile->scores, .transposes_b = transposes, .rows = tile->rows,
                          .columns = tile->columns, .inner = attention->inner, .a_row = tile->q.row_step, .b_row = tile->k.row_step,
                          .y_row = tile->columns, .factor = (float)attention->scale};
  if (!library_multiply(&product)) return false;
  for (int64_t i = 0; i < tile->rows; i++) {
    Row row = row_of(attention, tile->head, tile->first + i, tile->columns);
    mask_row(attention, &row, tile->scores + i * tile->columns);
  }
  return true;
}

/* True when what lies this far above `never` has nothing to do with keys that are left out. */
static bool
may_leave_out(const Attention *attention, float score)
{
  return score - (float)attention->never >= VANISHES;
}

static void
cut_tile(Tile *tile, int64_t number)
{
  const Work *work = tile->work;
  int64_t rest = work->attention.rows - number * work->tile_rows;
  tile->first = number * work->tile_rows;
  tile->rows = rest < work->tile_rows ? rest : work->tile_rows;
  tile->columns = work->attention.is_causal ? tile->first + tile->rows : work->attention.keys;
}

/* ---- forward -------------------------------------------------------------------------------------------------- */

typedef struct ForwardScratch {
  float *scores, *q, *k, *v, *o;
} ForwardScratch;

static ForwardScratch
forward_scratch(const Work *work, Scratch *scratch)
{
  const Attention *attention = &work->attention;
  return (ForwardScratch){.scores = take_floats(scratch, work->tile_rows * attention->keys),
                          .q = take_copy(scratch, work->q, work->tile_rows * attention->inner),
                          .k = take_copy(scratch, work->k, attention->keys * attention->inner),
                          .v = take_copy(scratch, work->v, attention->keys * attention->columns),
                          .o = take_copy(scratch, &work->call->output[0], work->tile_rows * attention->columns)};
}

/* Scores of a tile with the greatest of each row; those of all keys where not all rows may leave some out. */
static bool
make_greatest(Tile *tile, float *most)
{
  const Attention *attention = &tile->work->attention;
  for (;;) {
    bool is_enough = true;
    if (!make_scores(tile)) return false;
    for (int64_t i = 0; i < tile->rows; i++) {
      most[i] = most_of(tile->scores + i * tile->columns, tile->columns);
      is_enough &= may_leave_out(attention, most[i]);
    }
    if (is_enough || tile->columns == attention->keys) return true;
    tile->columns = attention->keys;
  }
}

static bool
attend(const Work *work, int64_t unit, const ForwardScratch *scratch)
{
  const Attention *attention = &work->attention;
  const actnn_view *output = &work->call->output[0];
  int64_t columns = attention->columns;
  float most[MOST_ROWS];
  Tile tile = {.work = work, .head = unit / work->tiles, .scores = scratch->scores};
  cut_tile(&tile, unit % work->tiles);
  tile.q = read_rows(work->q, &attention->q, tile.head, tile.first, tile.rows, attention->inner, scratch->q);
  tile.k = read_rows(work->k, &attention->k, tile.head, 0, rows_of_k(attention), columns_of_k(attention), scratch->k);
  tile.v = read_rows(work->v, &attention->v, tile.head, 0, attention->keys, columns, scratch->v);
  float *lse = (float *)work->call->output[1].data + head_start(&attention->lse, tile.head);
  if (!make_greatest(&tile, most)) return false;
  for (int64_t i = 0; i < tile.rows; i++) {
    float *p = tile.scores + i * tile.columns;
    Row row = row_of(attention, tile.head, tile.first + i, tile.columns);
    double sum = exponential_sum(p, p, tile.columns, most[i]);
    float factor = (float)(1 / sum);
    bool is_lost = attention->is_guarded && !(sum > 0);
#pragma omp simd
    for (int64_t j = 0; j < tile.columns; j++) p[j] = is_lost ? 0.0f : p[j] * factor;
    drop_row(work, &row, p);
    lse[(tile.first + i) * attention->lse.row_step] = is_lost ? NAN : (float)(most[i] + log(sum));
  }
  Made o = place_rows(output, &attention->o, tile.head, tile.first, columns, scratch->o);
  library_tile product = {.a = tile.scores, .b = tile.v.at, .y = o.at, .rows = tile.rows, .columns = columns, .inner = tile.columns,
                          .a_row = tile.columns, .b_row = tile.v.row_step, .y_row = o.row_step, .factor = 1};
  if (!library_multiply(&product)) return false;
  write_rows(output, &attention->o, tile.head, tile.first, tile.rows, columns, o.at);
  return true;
}

/* ---- backward --------------------------------------------------------------------------------------------- */

typedef struct BackwardScratch {
  float *scores, *gradient, *q, *k, *v, *d_o, *dq, *dk, *dv;
} BackwardScratch;

static BackwardScratch
backward_scratch(const Work *work, Scratch *scratch)
{
  const Attention *attention = &work->attention;
  int64_t rows = work->tile_rows, keys = attention->keys, inner = attention->inner, columns = attention->columns;
  return (BackwardScratch){.scores = take_floats(scratch, rows * keys),
                           .gradient = take_floats(scratch, rows * keys),
                           .q = take_copy(scratch, work->q, rows * inner),
                           .k = take_copy(scratch, work->k, keys * inner),
                           .v = take_copy(scratch, work->v, keys * columns),
                           .d_o = take_copy(scratch, &work->call->input[0], rows * columns),
                           .dq = take_copy(scratch, optional_output(work->call, 0), rows * inner),
                           .dk = take_copy(scratch, optional_output(work->call, 1), keys * inner),
                           .dv = take_copy(scratch, optional_output(work->call, 2), keys * columns)};
}

/* Sums over the tiles of one leading index; nowhere (NULL) where nobody wants them. */
typedef struct Sums {
  Made dk, dv;
} Sums;

/* Where the sums of a leading index are made, zeroed. */
static Made
begin_sums(const actnn_view *view, const HeadRows *rows, int64_t head, int64_t count, int64_t columns, float *buffer)
{
  if (!view) return (Made){NULL, 0};
  Made sums = place_rows(view, rows, head, 0, columns, buffer);
  for (int64_t i = 0; i < count; i++) memset(sums.at + i * sums.row_step, 0, (size_t)columns * sizeof *sums.at);
  return sums;
}

/* Probabilities become what dropout leaves of them, and the gradient of that the one of the scores: dS = P * (dP - along). */
static void
differentiate_row(const Work *work, const Row *row, float *p, float *ds, float along)
{
  Run run = {.at = 0};
  if (!work->attention.dropout.is_active) {
#pragma omp simd
    for (int64_t i = 0; i < row->columns; i++) ds[i] = p[i] * (ds[i] - along);
    return;
  }
  while (draw_run(work, row, &run)) {
    float *kept = p + run.at, *gradient = ds + run.at;
    const float *factor = run.first;
#pragma omp simd
    for (int64_t i = 0; i < run.count; i++) {
      float of_probability = factor[i] != 0.0f ? gradient[i] * factor[i] : 0.0f;
      gradient[i] = kept[i] * (of_probability - along);
      kept[i] = factor[i] != 0.0f ? kept[i] * factor[i] : 0.0f;
    }
  }
}

/* A mask's gradient is that of the scores, summed over what shares its elements. */
static void
add_to_mask(const Attention *attention, const Row *row, const float *ds, float *d_mask)
{
  float *sum = d_mask + row->mask;
  if (attention->mask_column) {
#pragma omp simd
    for (int64_t i = 0; i < row->columns; i++) sum[i] += ds[i];
  } else {
    *sum += (float)product_sum(ds, NULL, row->columns);
  }
}

static void
differentiate_rows(const Tile *tile, float *gradient)
{
  const actnn_call *call = tile->work->call;
  const Attention *attention = &tile->work->attention;
  int64_t step = attention->lse.row_step, at = head_start(&attention->lse, tile->head) + tile->first * step;
  const float *row_sum = (const float *)call->input[4].data + at, *lse = (const float *)call->input[5].data + at;
  for (int64_t i = 0; i < tile->rows; i++) {
    float *p = tile->scores + i * tile->columns, *ds = gradient + i * tile->columns, total = lse[i * step];
    Row row = row_of(attention, tile->head, tile->first + i, tile->columns);
    bool is_lost = attention->is_guarded && isnan(total);
#pragma omp simd
    for (int64_t j = 0; j < tile->columns; j++) p[j] = is_lost ? 0.0f : exp_float(p[j] - total);
    differentiate_row(tile->work, &row, p, ds, row_sum[i * step]);
    fill_blocked(attention, &row, ds, 0);
    if (optional_output(call, 3)) add_to_mask(attention, &row, ds, (float *)call->output[3].data);
  }
}

/* What a tile of probabilities D and of the scores' gradients dS adds: dv += D' dO, dk += dS' q, and dq = dS k. */
static bool
add_products(const Tile *tile, const float *gradient, Matrix d_o, Made dq, const Sums *sums)
{
  const Attention *attention = &tile->work->attention;
  int64_t inner = attention->inner;
  bool transposes = attention->transposes_k;
  float scale = (float)attention->scale;
  library_tile of_v = {.a = tile->scores, .b = d_o.at, .y = sums->dv.at, .transposes_a = true, .adds = true, .rows = tile->columns,
                       .columns = attention->columns, .inner = tile->rows, .a_row = tile->columns, .b_row = d_o.row_step,
                       .y_row = sums->dv.row_step, .factor = 1};
  library_tile of_k = {.a = gradient, .b = tile->q.at, .y = sums->dk.at, .transposes_a = true, .adds = true, .rows = tile->columns,
                       .columns = inner, .inner = tile->rows, .a_row = tile->columns, .b_row = tile->q.row_step, .y_row = sums->dk.row_step,
                       .factor = scale};
  if (!transposes)
    of_k = (library_tile){.a = tile->q.at, .b = gradient, .y = sums->dk.at, .transposes_a = true, .adds = true, .rows = inner,
                          .columns = tile->columns, .inner = tile->rows, .a_row = tile->q.row_step, .b_row = tile->columns,
                          .y_row = sums->dk.row_step, .factor = scale};
  library_tile of_q = {.a = gradient, .b = tile->k.at, .y = dq.at, .transposes_b = !transposes, .rows = tile->rows, .columns = inner,
                       .inner = tile->columns, .a_row = tile->columns, .b_row = tile->k.row_step, .y_row = dq.row_step, .factor = scale};
  return (!of_v.y || library_multiply(&of_v)) && (!of_k.y || library_multiply(&of_k)) && (!of_q.y || library_multiply(&of_q));
}

static bool
differentiate_tile(Tile *tile, const BackwardScratch *scratch, const Sums *sums)
{
  const Work *work = tile->work;
  const Attention *attention = &work->attention;
  const actnn_view *dq_view = optional_output(work->call, 0);
  int64_t inner = attention->inner, columns = attention->columns, head = tile->head, first = tile->first;
  const float *lse = (const float *)work->call->input[5].data + head_start(&attention->lse, head);
  for (int64_t i = 0; i < tile->rows; i++)
    if (!may_leave_out(attention, lse[(first + i) * attention->lse.row_step])) tile->columns = attention->keys;
  tile->q = read_rows(work->q, &attention->q, head, first, tile->rows, inner, scratch->q);
  Matrix d_o = read_rows(&work->call->input[0], &attention->o, head, first, tile->rows, columns, scratch->d_o);
  library_tile product = {.a = d_o.at, .b = tile->v.at, .y = scratch->gradient, .transposes_b = true, .rows = tile->rows,
                          .columns = tile->columns, .inner = columns, .a_row = d_o.row_step, .b_row = tile->v.row_step,
                          .y_row = tile->columns, .factor = 1};
  if (!make_scores(tile) || !library_multiply(&product)) return false;
  differentiate_rows(tile, scratch->gradient);
  Made dq = dq_view ? place_rows(dq_view, &attention->q, head, first, inner, scratch->dq) : (Made){NULL, 0};
  if (!add_products(tile, scratch->gradient, d_o, dq, sums)) return false;
  if (dq_view) write_rows(dq_view, &attention->q, head, first, tile->rows, inner, dq.at);
  return true;
}

static bool
differentiate_head(const Work *work, int64_t head, const BackwardScratch *scratch)
{
  const Attention *attention = &work->attention;
  const actnn_view *dk = optional_output(work->call, 1), *dv = optional_output(work->call, 2);
  int64_t k_rows = rows_of_k(attention), k_columns = columns_of_k(attention), keys = attention->keys, columns = attention->columns;
  Sums sums = {begin_sums(dk, &attention->k, head, k_rows, k_columns, scratch->dk),
               begin_sums(dv, &attention->v, head, keys, columns, scratch->dv)};
  Tile tile = {.work = work, .head = head, .scores = scratch->scores};
  tile.k = read_rows(work->k, &attention->k, head, 0, k_rows, k_columns, scratch->k);
  tile.v = read_rows(work->v, &attention->v, head, 0, keys, columns, scratch->v);
  for (int64_t number = 0; number < work->tiles; number++) {
    cut_tile(&tile, number);
    if (!differentiate_tile(&tile, scratch, &sums)) return false;
  }
  if (dk) write_rows(dk, &attention->k, head, 0, k_rows, k_columns, sums.dk.at);
  if (dv) write_rows(dv, &attention->v, head, 0, keys, columns, sums.dv.at);
  return true;
}

/* ---- threads -------------------------------------------------------------------------------------------- */

/* As many threads as there are units have scratch of their own. */
static int64_t
team_of(const actnn *trainer, int64_t units)
{
  int64_t threads = trainer->threads > 1 ? trainer->threads : 1;
  return threads < units ? threads : units;
}

/* While preparing says how much scratch a team takes; else whether there is as much. */
static bool
has_scratch(actnn *trainer, uint64_t bytes)
{
  if (trainer->preparing && trainer->workspace_wanted < bytes) trainer->workspace_wanted = bytes;
  return trainer->preparing || bytes <= trainer->workspace_bytes;
}

static int
tell_failure(const actnn_call *call, bool lacks_scratch)
{
  return actnn_fail(call->trainer, "tensor %u: %s", call->output[0].id,
                    lacks_scratch ? "the workspace is too small" : "the library cannot multiply; it may have no memory for it");
}

int ENTRY(Attention)(const actnn_call *call);
int
ENTRY(Attention)(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  Work work = work_of(call, 0, 3);
  Scratch counted = {NULL, 0};
  forward_scratch(&work, &counted);
  int64_t units = work.attention.heads * work.tiles, team = team_of(trainer, units), failures = 0;
  if (!has_scratch(trainer, counted.used * (uint64_t)team)) return tell_failure(call, true);
  if (actnn_is_preparing(call)) return 0;
  unsigned char *base = trainer->workspace;
#pragma omp parallel num_threads(trainer->threads > 1 ? trainer->threads : 1) reduction(+ : failures)
  {
    Scratch own = {base + counted.used * (uint64_t)omp_get_thread_num(), 0};
    ForwardScratch scratch = forward_scratch(&work, &own);
#pragma omp for schedule(static, 1)
    for (int64_t unit = 0; unit < units; unit++) failures += !attend(&work, unit, &scratch);
  }
  return failures ? tell_failure(call, false) : 0;
}

int ENTRY(AttentionGrad)(const actnn_call *call);
int
ENTRY(AttentionGrad)(const actnn_call *call)
{
  actnn *trainer = call->trainer;
  Work work = work_of(call, 1, 6);
  Scratch counted = {NULL, 0};
  backward_scratch(&work, &counted);
  const actnn_view *d_mask = optional_output(call, 3);
  MaskSharing sharing = attention_sharing(&work.attention);
  if (!d_mask) sharing = (MaskSharing){.parts = work.attention.heads, .sharers = 1, .rank = 1, .lead = {work.attention.heads}};
  int64_t team = team_of(trainer, sharing.parts), failures = 0;
  if (!has_scratch(trainer, counted.used * (uint64_t)team)) return tell_failure(call, true);
  if (actnn_is_preparing(call)) return 0;
  if (d_mask) memset(d_mask->data, 0, (size_t)element_count(d_mask) * sizeof(float));
  unsigned char *base = trainer->workspace;
#pragma omp parallel num_threads(trainer->threads > 1 ? trainer->threads : 1) reduction(+ : failures)
  {
    Scratch own = {base + counted.used * (uint64_t)omp_get_thread_num(), 0};
    BackwardScratch scratch = backward_scratch(&work, &own);
#pragma omp for schedule(static, 1)
    for (int64_t part = 0; part < sharing.parts; part++)
      for (int64_t i = 0; i < sharing.sharers; i++)
        failures += !differentiate_head(&work, attention_sharer(&sharing, part, i), &scratch);
  }
  return failures ? tell_failure(call, false) : 0;
}
