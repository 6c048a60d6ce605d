/* attention.cu: attention and its gradient (src/operators/attention.h), tile by tile (runtime/attention_tiles.h). A tile's scores are one
 * product of the library; then a kernel of ours makes of them what the next products read, in place or, for products of bfloat16, beside
 * them. A tile is as large as the GPU's cache holds, and so scores are never whole in memory. Where a mask is causal a tile has no keys
 * behind those of its last row.
 *
 * Tiles follow one another from the last rows to the first, because those have all keys: what they write of dk and dv the others add to. */
#include "attention.h"
#include "floats.h"
#include "kernels.h"
#include "totals.h"

/* ---- rows of scores ---------------------------------------------------------------------------------------------- */

enum { UNIT = ATTENTION_UNIT, DRAWS = 8 /* of one random block */, EXPONENT_OF_ZERO = 104 /* exp(-this) is none in FP32 */ };

/* Rows of a tile's scores, what masks them, and what is drawn for them. */
typedef struct Rows {
  Floats scores, made; /* made: what products read */
  int64_t head, row, count; /* the tile's first ones, and all rows in it */
  int64_t head_step, row_step;
  int64_t all_rows, all_keys, keys;
  Divisor rows, units; /* of a leading index in the tile, of a row */
  bool is_causal, leaves_out, is_guarded, is_dropped;
  float never;
  const uint8_t *allowed; /* NULL: no mask of bool */
  Floats added;           /* likewise of floats */
  Axes lead;              /* leading axes of the mask, and its steps */
  int64_t mask_row, mask_column;
  gpu_key key;
  uint32_t threshold;
  float kept;             /* what is not dropped is multiplied by this */
} Rows;

/* Where a row is, and what belongs to it. */
typedef struct Place {
  int64_t number;  /* in its leading index */
  int64_t element; /* its first of all scores; */
  int64_t unit, mask; /* its first unit in the tile, its first element of the mask */
  int64_t row;     /* of all rows: where o, lse and row_sum have it */
} Place;

static __device__ Place
place_of_row(const Rows &rows, int64_t number)
{
  int64_t head = quotient(number, rows.rows), row = number - head * rows.rows.number, unused;
  Place place;
  place.number = rows.row + row;
  place.row = (rows.head + head) * rows.all_rows + place.number;
  place.element = place.row * rows.all_keys;
  place.unit = (head * rows.head_step + row * rows.row_step) / UNIT;
  place.mask = offset_over(rows.lead, rows.head + head, &unused) + place.number * rows.mask_row;
  return place;
}

/* A mask's elements that belong to those of a row from `first` on: at once where a unit of them begins there, to which tensors are padded. */
template <typename Whole, typename Each>
static __device__ void
read_mask(const Rows &rows, const Place &place, int64_t first, Whole whole, Each each)
{
  int64_t at = place.mask + first * rows.mask_column;
  if (rows.mask_column == 1 && at % UNIT == 0)
    whole(at);
  else
    for (int i = 0; i < UNIT; i++)
      if (first + i < rows.keys)
        each(i, at + i * rows.mask_column);
}

/* Bit i: element `first` + i of a row is blocked. */
static __device__ unsigned
blocked_unit(const Rows &rows, const Place &place, int64_t first)
{
  unsigned blocked = 0;
  if (rows.allowed)
    read_mask(rows, place, first, [&](int64_t at) {
      Columns<UNIT, uint8_t> allowed = *(const Columns<UNIT, uint8_t> *)(rows.allowed + at);
      for (int i = 0; i < UNIT; i++)
        blocked |= (unsigned)!allowed.of[i] << i;
    }, [&](int i, int64_t at) { blocked |= (unsigned)!rows.allowed[at] << i; });
  for (int i = 0; i < UNIT && rows.is_causal; i++)
    blocked |= (unsigned)(first + i > place.number) << i;
  return blocked;
}

/* Scores from element `first` of a row on, as the mask leaves them; those behind the row's end are none. */
static __device__ Columns<UNIT>
masked_unit(const Rows &rows, const Place &place, int64_t first, unsigned blocked)
{
  Columns<UNIT> score = load_columns<UNIT>(rows.scores, place.unit + first / UNIT);
  if (rows.added.data)
    read_mask(rows, place, first, [&](int64_t at) {
      Columns<UNIT> added = load_columns<UNIT>(rows.added, at / UNIT);
      for (int i = 0; i < UNIT; i++)
        score.of[i] += added.of[i];
    }, [&](int i, int64_t at) { score.of[i] += rows.added[at]; });
  for (int i = 0; i < UNIT; i++)
    score.of[i] = first + i >= rows.keys ? -INFINITY : blocked >> i & 1 ? rows.never : score.of[i];
  return score;
}

/* What dropout multiplies the elements by, from `first` of all scores on. Indices are known where this is compiled, for draws to stay in
 * registers. */
static __device__ Columns<UNIT>
dropout_factors(const Rows &rows, const actnn_philox_key &key, int64_t first)
{
  uint32_t draw[2 * DRAWS];
  Columns<UNIT> factor;
  int64_t number = first / DRAWS;
  unsigned skipped = (unsigned)(first - number * DRAWS);
  actnn_philox_block block = random_block(key, (uint64_t)number);
  for (unsigned i = 0; i < DRAWS; i++)
    draw[i] = dropout_draw(&block, i);
  if (skipped) {
    block = random_block(key, (uint64_t)number + 1);
    for (unsigned i = 0; i < DRAWS; i++)
      draw[DRAWS + i] = dropout_draw(&block, i);
    for (unsigned step = DRAWS / 2; step > 0; step /= 2)
      for (unsigned i = 0; i + step < 2 * DRAWS; i++)
        draw[i] = skipped & step ? draw[i + step] : draw[i];
  }
  for (unsigned i = 0; i < UNIT; i++)
    factor.of[i] = draw[i] >= rows.threshold ? rows.kept : 0;
  return factor;
}

/* A cell has a row: its probabilities, dropped, and the logarithm of its sum. Where keys were left out that would have added
 * something, they are NaN. */
KERNEL
attend(Rows rows, Cells cells, Floats lse)
{
  Seat seat = take_seat(cells);
  Place place = place_of_row(rows, seat.is_inside ? seat.outer : 0);
  int64_t end = seat.is_inside ? rows.keys : 0, step = (int64_t)cells.lanes * UNIT;
  Total total = {-INFINITY, 0};
  Columns<UNIT> value;
  for (int64_t first = (int64_t)seat.lane * UNIT; first < end; first += step) {
    value = masked_unit(rows, place, first, blocked_unit(rows, place, first));
    widen_total(&total, value.of, UNIT);
  }
  total = cell_total(cells, total);
  bool is_lost = rows.is_guarded && !(total.sum > 0);
  if (rows.leaves_out && !(total.most - rows.never >= EXPONENT_OF_ZERO))
    total.most = NAN;
  if (seat.is_inside && !seat.lane && lse.data)
    lse.put(place.row, is_lost ? NAN : (float)(total.most + log(total.sum)));
  float factor = (float)(1 / total.sum);
  actnn_philox_key key = actnn_philox_key();
  if (rows.is_dropped)
    key = key_now(rows.key);
  for (int64_t first = (int64_t)seat.lane * UNIT; first < end; first += step) {
    value = masked_unit(rows, place, first, blocked_unit(rows, place, first));
    for (int i = 0; i < UNIT; i++)
      value.of[i] = is_lost ? 0 : expf(value.of[i] - total.most) * factor;
    if (rows.is_dropped) {
      Columns<UNIT> kept = dropout_factors(rows, key, place.element + first);
      for (int i = 0; i < UNIT; i++)
        value.of[i] *= kept.of[i];
    }
    store_columns(rows.made, place.unit + first / UNIT, value);
  }
}

/* A thread for each unit: probabilities, dropped, and of the gradient of those what is, but for their scale, that of the scores; for products,
 * and in the place of that gradient where floats are kept. */
KERNEL
differentiate(Rows rows, Floats gradient, Floats made, Floats row_sum, Floats lse, bool keeps_floats)
{
  int64_t thread = thread_number(), number = quotient(thread, rows.units), first = (thread - number * rows.units.number) * UNIT;
  if (number >= rows.count)
    return;
  Place place = place_of_row(rows, number);
  int64_t unit = place.unit + first / UNIT;
  float sum = lse[place.row], mean = row_sum[place.row];
  bool is_lost = rows.is_guarded && isnan(sum);
  unsigned blocked = blocked_unit(rows, place, first);
  Columns<UNIT> value = masked_unit(rows, place, first, blocked), slope = load_columns<UNIT>(gradient, unit), factor;
  if (rows.is_dropped)
    factor = dropout_factors(rows, key_now(rows.key), place.element + first);
  for (int i = 0; i < UNIT; i++) {
    float p = is_lost ? 0 : expf(value.of[i] - sum), kept = rows.is_dropped ? factor.of[i] : 1;
    slope.of[i] = blocked >> i & 1 ? 0 : p * ((kept != 0 ? slope.of[i] * kept : 0) - mean);
    value.of[i] = p * kept;
  }
  store_columns(rows.made, unit, value);
  store_columns(made, unit, slope);
  if (keeps_floats)
    store_columns(gradient, unit, slope);
}

/* A mask's gradient, and whose scores' gradients it adds up. */
typedef struct MaskSums {
  float *sum;
  MaskSharing sharing;
  int64_t heads, mask_row, mask_column; /* heads: of the tile */
  int64_t first, rows, columns;         /* of the mask, as far as the tile has them */
  int64_t all_rows, all_columns;        /* the mask's own */
} MaskSums;

/* A thread for each element of the mask that belongs to the tile: in order over leading indices, rows and keys that share it. */
KERNEL
add_to_mask(Rows rows, Floats gradient, MaskSums sums)
{
  int64_t thread = thread_number(), column = thread % sums.columns, row = thread / sums.columns % sums.rows;
  int64_t part = thread / sums.columns / sums.rows;
  if (part >= sums.sharing.parts)
    return;
  int64_t tile_rows = rows.rows.number, first_row = sums.mask_row ? row : 0, end_row = sums.mask_row ? row + 1 : tile_rows;
  int64_t first_key = sums.mask_column ? column : 0, end_key = sums.mask_column ? column + 1 : rows.keys;
  float sum = 0;
  for (int64_t i = 0; i < sums.sharing.sharers; i++) {
    int64_t head = attention_sharer(&sums.sharing, part, i) - rows.head;
    for (int64_t r = first_row; r < end_row && head >= 0 && head < sums.heads; r++)
      for (int64_t key = first_key; key < end_key; key++)
        sum += gradient[head * rows.head_step + r * rows.row_step + key];
  }
  sums.sum[(part * sums.all_rows + sums.first + row) * sums.all_columns + column] += sum;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

typedef struct AttentionCall {
  const actnn_call *call;
  Attention attention;
  struct gpu_attention *made; /* NULL: nothing yet, or the kernel has declined */
  const void *operand[ATTENTION_OPERANDS]; /* in the order of the call, as they are multiplied */
} AttentionCall;

static Rows
rows_of(const AttentionCall &of, const Tile &tile)
{
  const Attention &attention = of.attention;
  const AttentionTiles &tiles = of.made->tiles;
  actnn *trainer = of.call->trainer;
  Rows rows;
  memset(&rows, 0, sizeof rows);
  rows.scores.data = trainer->workspace + tiles.score[0];
  rows.made.data = trainer->workspace + tiles.made[0];
  rows.made.is_bfloat = tiles.is_narrow;
  rows.head = tile.head;
  rows.row = tile.row;
  rows.count = tile.heads * tile.rows;
  rows.head_step = tiles.rows * tiles.row_step;
  rows.row_step = tiles.row_step;
  rows.all_rows = attention.rows;
  rows.all_keys = attention.keys;
  rows.keys = tile.keys;
  rows.rows = divisor_of(tile.rows);
  rows.units = divisor_of(whole_units(tile.keys) / UNIT);
  rows.is_causal = attention.is_causal;
  rows.is_guarded = attention.is_guarded;
  rows.leaves_out = tile.keys < attention.keys;
  rows.never = (float)attention.never;
  if (attention.mask && is_floating(attention.mask->type))
    rows.added = floats_of(attention.mask);
  else if (attention.mask)
    rows.allowed = (const uint8_t *)attention.mask->data;
  for (int i = 0; attention.mask && i < attention.lead_rank; i++) {
    rows.lead.dim[i] = divisor_of(attention.lead[i]);
    rows.lead.stride[i] = attention.mask_lead[i];
    rows.lead.count = attention.mask_lead[i] || rows.lead.count ? attention.lead_rank : 0;
  }
  rows.mask_row = attention.mask_row;
  rows.mask_column = attention.mask_column;
  rows.is_dropped = attention.dropout.is_active;
  rows.threshold = attention.dropout.threshold;
  rows.kept = (float)attention.dropout.scale;
  if (rows.is_dropped)
    rows.key = gpu_key_of(trainer, random_id_of(of.call), USE_DROPOUT);
  return rows;
}

static int
multiply(const AttentionCall &of, const Tile &tile, AttentionProduct which, const void *a, const void *b, void *y)
{
  return gpu_multiply_tile(of.call->trainer, of.made, of.attention, tile, which, a, b, y);
}

/* Where the tile's leading indices and rows begin in memory of such elements, each leading index having so many and each row so many. */
static char *
begin_of(const void *memory, bool is_narrow, const Tile &tile, int64_t of_head, int64_t of_row)
{
  int64_t size = is_narrow ? sizeof(bfloat_number) : sizeof(float);
  return (char *)memory + (tile.head * of_head + tile.row * of_row) * size;
}

/* After preparing: sees that there is room, and rounds operands that are held otherwise. 0, 1 with a message, or DEVICE_DECLINES. */
static int
begin_call(AttentionCall *of, size_t operands)
{
  actnn *trainer = of->call->trainer;
  if (!of->made)
    return DEVICE_DECLINES;
  const AttentionTiles &tiles = of->made->tiles;
  gpu_room room = {tiles.bytes, false};
  if (gpu_settle_room(of->call, &room))
    return 1;
  for (size_t i = 0; i < operands; i++) {
    const actnn_view *view = &of->call->input[i];
    void *copy = trainer->workspace + tiles.copy[i];
    if (tiles.is_copied[i] && gpu_convert(trainer, copy, view->data, element_count(view), true))
      return 1;
    of->operand[i] = tiles.is_copied[i] ? copy : view->data;
  }
  return 0;
}

/* Where the tile begins of q, k, v and o, or of their gradients. */
static char *
begin_of_q(const AttentionCall &of, const Tile &tile, const void *q, bool is_narrow)
{
  return begin_of(q, is_narrow, tile, of.attention.rows * of.attention.inner, of.attention.inner);
}

static char *
begin_of_k(const AttentionCall &of, const Tile &tile, const void *k, bool is_narrow)
{
  return begin_of(k, is_narrow, tile, of.attention.keys * of.attention.inner, 0);
}

static char *
begin_of_v(const AttentionCall &of, const Tile &tile, const void *v, bool is_narrow)
{
  return begin_of(v, is_narrow, tile, of.attention.keys * of.attention.columns, 0);
}

static char *
begin_of_o(const AttentionCall &of, const Tile &tile, const void *o, bool is_narrow)
{
  return begin_of(o, is_narrow, tile, of.attention.rows * of.attention.columns, of.attention.columns);
}

/* Floats that are not empty, and a mask of bool or floats; sizes that products have. */
static bool
takes_call(const AttentionCall &of, size_t operands)
{
  const Attention &attention = of.attention;
  const actnn_view *mask = attention.mask;
  bool takes_mask = !mask || (mask->layout == ACTNN_PLAIN && (mask->type == ACTNN_BOOL || are_floats(mask, 1, true)));
  const actnn_view *d_mask = optional_output(of.call, 3);
  bool takes_masks = takes_mask && (!d_mask || are_floats(d_mask, 1));
  return takes_masks && are_floats(of.call->input, operands, true) && are_floats(of.call->output, of.call->output_count, true) &&
         attention.heads <= INT32_MAX;
}

/* While preparing: makes products of `which`, each with the result that it has in y (NULL: in the workspace). */
static int
prepare_attention(AttentionCall of, gpu_primitive *slot, bool is_gradient, const AttentionProduct *which, const actnn_view *const *y, size_t count)
{
  actnn *trainer = of.call->trainer;
  gpu_drop_attention(slot->attention);
  slot->attention = NULL;
  if (!takes_call(of, is_gradient ? 6 : 3))
    return DEVICE_DECLINES;
  struct gpu_attention *made = (struct gpu_attention *)calloc(1, sizeof *made);
  if (!made)
    return actnn_fail(trainer, "out of memory");
  made->tiles = attention_tiles(of.call, &of.attention, is_gradient, trainer->workspace_bytes);
  int failed = for_tiles(of.attention, made->tiles, [&](const Tile &tile) {
    int failed = 0;
    for (size_t i = 0; i < count && !failed; i++) {
      bool is_summed = (which[i] == KEY_GRADIENT && made->tiles.has_sums[0]) || (which[i] == VALUE_GRADIENT && made->tiles.has_sums[1]);
      bool is_narrow = y[i] && bfloat_holds(y[i]) && !is_summed;
      failed = gpu_make_tile_product(trainer, made, of.attention, tile, which[i], is_narrow);
    }
    return failed;
  }, [](int64_t, int64_t) { return 0; });
  if (failed) {
    gpu_drop_attention(made);
    return failed;
  }
  slot->attention = made;
  gpu_room room = {made->tiles.bytes, false};
  if (of.attention.dropout.is_active && gpu_note_key(trainer, random_id_of(of.call), USE_DROPOUT))
    return 1;
  return gpu_settle_room(of.call, &room);
}

static int
attend_tile(const AttentionCall &of, const Tile &tile)
{
  const actnn_call *call = of.call;
  const actnn_view *o = &call->output[0];
  bool is_narrow = of.made->tiles.is_narrow;
  Rows rows = rows_of(of, tile);
  Cells cells = cells_of(rows.count, 1, rows.units.number);
  const char *q = begin_of_q(of, tile, of.operand[0], is_narrow), *k = begin_of_k(of, tile, of.operand[1], is_narrow);
  const char *v = begin_of_v(of, tile, of.operand[2], is_narrow);
  return multiply(of, tile, SCORES, q, k, rows.scores.data) ||
         LAUNCH_BLOCKS(call, attend, blocks_of_cells(cells), rows, cells, floats_output(call, 1)) ||
         multiply(of, tile, OUTPUT, rows.made.data, v, begin_of_o(of, tile, o->data, bfloat_holds(o)));
}

extern "C" int
gpu_Attention(const actnn_call *call)
{
  gpu_primitive *slot = gpu_primitive_of(call->trainer, call->output[0].id);
  AttentionCall of = {call, attention_of(call, &call->input[0], &call->input[2], optional_input(call, 3)), slot->attention, {}};
  if (actnn_is_preparing(call)) {
    const AttentionProduct which[] = {SCORES, OUTPUT};
    const actnn_view *const y[] = {NULL, &call->output[0]};
    return prepare_attention(of, slot, false, which, y, 2);
  }
  int begun = begin_call(&of, 3);
  if (begun)
    return begun;
  return for_tiles(of.attention, of.made->tiles, [&](const Tile &tile) { return attend_tile(of, tile); },
                   [](int64_t, int64_t) { return 0; });
}

/* Where the gradients of the tile's keys (sum 0) or values (sum 1) are added up: where they lie, or as floats in the workspace, which has those of
 * the present leading indices. */
static char *
begin_of_sums(const AttentionCall &of, const Tile &tile, int sum)
{
  const AttentionTiles &tiles = of.made->tiles;
  const actnn_view *y = &of.call->output[sum + 1];
  if (tiles.has_sums[sum])
    return (char *)of.call->trainer->workspace + tiles.sum[sum];
  return sum ? begin_of_v(of, tile, y->data, bfloat_holds(y)) : begin_of_k(of, tile, y->data, bfloat_holds(y));
}

/* What has been added up of these leading indices is rounded. */
static int
round_sums(const AttentionCall &of, int64_t head, int64_t heads)
{
  const AttentionTiles &tiles = of.made->tiles;
  actnn *trainer = of.call->trainer;
  for (int sum = 0; sum < 2; sum++) {
    int64_t elements = of.attention.keys * (sum ? of.attention.columns : of.attention.inner);
    bfloat_number *to = (bfloat_number *)of.call->output[sum + 1].data + head * elements;
    if (tiles.has_sums[sum] && gpu_convert(trainer, to, trainer->workspace + tiles.sum[sum], heads * elements, true))
      return 1;
  }
  return 0;
}

/* Of a tile whose scores have their gradients. */
static int
sum_mask(const AttentionCall &of, const Tile &tile, const Rows &rows, Floats gradient)
{
  const actnn_view *mask = optional_output(of.call, 3);
  if (!mask)
    return 0;
  const Attention &attention = of.attention;
  MaskSums sums;
  sums.sum = (float *)mask->data;
  sums.sharing = attention_sharing(&attention);
  sums.heads = tile.heads;
  sums.mask_row = attention.mask_row;
  sums.mask_column = attention.mask_column;
  sums.first = attention.mask_row ? tile.row : 0;
  sums.rows = attention.mask_row ? tile.rows : 1;
  sums.columns = attention.mask_column ? tile.keys : 1;
  sums.all_rows = attention.mask_row ? attention.rows : 1;
  sums.all_columns = attention.mask_column ? attention.keys : 1;
  return LAUNCH(of.call, add_to_mask, sums.sharing.parts * sums.rows * sums.columns, rows, gradient, sums);
}

static int
differentiate_tile(const AttentionCall &of, const Tile &tile)
{
  const actnn_call *call = of.call;
  const actnn_view *dq = optional_output(call, 0), *dk = optional_output(call, 1), *dv = optional_output(call, 2);
  bool is_narrow = of.made->tiles.is_narrow, turns_q = !of.attention.transposes_k;
  const char *d_o = begin_of_o(of, tile, of.operand[0], is_narrow), *q = begin_of_q(of, tile, of.operand[1], is_narrow);
  const char *k = begin_of_k(of, tile, of.operand[2], is_narrow), *v = begin_of_v(of, tile, of.operand[3], is_narrow);
  Rows rows = rows_of(of, tile);
  Floats gradient = {call->trainer->workspace + of.made->tiles.score[1], false};
  Floats slope = {call->trainer->workspace + of.made->tiles.made[1], is_narrow};
  return multiply(of, tile, SCORES, q, k, rows.scores.data) || multiply(of, tile, PROBABILITY_GRADIENT, d_o, v, gradient.data) ||
         LAUNCH(call, differentiate, rows.count * rows.units.number, rows, gradient, slope, floats_input(call, 4), floats_input(call, 5),
                optional_output(call, 3) != NULL) ||
         sum_mask(of, tile, rows, gradient) ||
         (dv && multiply(of, tile, VALUE_GRADIENT, rows.made.data, d_o, begin_of_sums(of, tile, 1))) ||
         (dq && multiply(of, tile, QUERY_GRADIENT, slope.data, k, begin_of_q(of, tile, dq->data, bfloat_holds(dq)))) ||
         (dk && multiply(of, tile, KEY_GRADIENT, turns_q ? q : slope.data, turns_q ? slope.data : q, begin_of_sums(of, tile, 0)));
}

extern "C" int
gpu_AttentionGrad(const actnn_call *call)
{
  static const AttentionProduct gradient[] = {QUERY_GRADIENT, KEY_GRADIENT, VALUE_GRADIENT};
  AttentionProduct which[5] = {SCORES, PROBABILITY_GRADIENT};
  const actnn_view *y[5] = {NULL, NULL};
  size_t products = 2;
  for (size_t i = 0; i < 3; i++)
    if (optional_output(call, i)) {
      which[products] = gradient[i];
      y[products++] = optional_output(call, i);
    }
  const actnn_view *mask = optional_output(call, 3);
  if (products == 2 && !mask)
    return 0;
  gpu_primitive *slot = gpu_primitive_of(call->trainer, products == 2 ? mask->id : y[2]->id);
  AttentionCall of = {call, attention_of(call, &call->input[1], &call->input[3], optional_input(call, 6)), slot->attention, {}};
  if (actnn_is_preparing(call))
    return prepare_attention(of, slot, true, which, y, products);
  int begun = begin_call(&of, ATTENTION_OPERANDS);
  if (begun)
    return begun;
  if (mask && gpu_check(call->trainer, cudaMemsetAsync(mask->data, 0, (size_t)element_count(mask) * sizeof(float), stream_of(call->trainer)),
                        "AttentionGrad"))
    return 1;
  return for_tiles(of.attention, of.made->tiles, [&](const Tile &tile) { return differentiate_tile(of, tile); },
                   [&](int64_t head, int64_t heads) { return round_sums(of, head, heads); });
}
