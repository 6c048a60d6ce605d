/* attention.cu: attention and its gradient (src/operators/attention.h), tile by tile (runtime/attention_tiles.h). A tile's scores are one
 * product of the library; then a kernel of ours makes of them what the next products read, in place or, for products of bfloat16, beside
 * them. A tile is as large as the GPU's cache holds, and so scores are never whole in memory. Where a mask is causal a tile has no keys
 * behind those of its last row.
 *
 * Where all products are of bfloat16 and rows are short, tensor cores do it without tiles in memory (attention_fused.cu).
 *
 * Tiles follow one another from the last rows to the first, because those have all keys: what they write of dk and dv the others add to. */
#include "attention_fused.h"
#include "kernels.h"

/* ---- kernels ------------------------------------------------------------------------------------------------------- */

static __device__ Columns<UNIT>
scores_at(const Rows &rows, const Place &place, int64_t first)
{
  return load_columns<UNIT>(rows.scores, place.unit + first / UNIT);
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
    value = masked_unit(rows, place, first, blocked_unit(rows, place, first), scores_at(rows, place, first));
    widen_total(&total, value.of, UNIT);
  }
  RowScale scale = scale_of_row(rows, cell_total(cells, total), rows.leaves_out);
  if (seat.is_inside && !seat.lane && lse.data)
    lse.put(place.total, scale.lse);
  actnn_philox_key key = key_of_rows(rows);
  for (int64_t first = (int64_t)seat.lane * UNIT; first < end; first += step) {
    value = masked_unit(rows, place, first, blocked_unit(rows, place, first), scores_at(rows, place, first));
    make_probabilities(rows, scale, key, place.element + first, &value);
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
  unsigned blocked = blocked_unit(rows, place, first);
  Columns<UNIT> value = masked_unit(rows, place, first, blocked, scores_at(rows, place, first));
  Columns<UNIT> slope = load_columns<UNIT>(gradient, unit);
  differentiate_unit(rows, key_of_rows(rows), place.element + first, blocked, lse[place.total], row_sum[place.total], &value, &slope);
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

/* A thread for each of `count` sums, so many of a leading index: rounded to where the rows lie side by side, from the first leading
 * index on. */
KERNEL
round_beside(const float *sums, Floats to, HeadRows rows, int64_t count, int64_t of_head)
{
  int64_t thread = thread_number(), head = thread / of_head, columns = rows.inner_step;
  int64_t row = (thread - head * of_head) / columns, column = thread % columns;
  if (thread < count)
    to.put(head * rows.inner_step + row * rows.row_step + column, sums[thread]);
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
  rows.total = places_of(attention.lse);
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

/* Where a tile begins of an operand or result: the rows of its first leading index from `row` on. */
static char *
begin_of(const void *memory, bool is_narrow, const HeadRows &rows, const Tile &tile, int64_t row)
{
  int64_t size = is_narrow ? sizeof(bfloat_number) : sizeof(float);
  return (char *)memory + (head_start(&rows, tile.head) + row * rows.row_step) * size;
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

/* Tensor cores take it without scores in memory. */
static bool
can_be_fused(const AttentionCall &of, bool is_narrow)
{
  const Attention &attention = of.attention;
  bool is_short = attention.inner <= ATTENTION_FUSED_WIDTH && attention.columns <= ATTENTION_FUSED_WIDTH;
  bool is_even = attention.inner % UNIT == 0 && attention.columns % UNIT == 0;
  int64_t most = attention.rows > attention.keys ? attention.rows : attention.keys;
  bool is_countable = most <= INT32_MAX / 2 && attention.heads * (most / WARP + 1) <= MOST_BLOCKS;
  bool needs_scores = optional_output(of.call, 3) != NULL; /* a mask's gradient is made of theirs */
  return is_narrow && is_short && is_even && attention.inner && attention.columns && is_countable && !needs_scores && gpu_has_tensor_cores();
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
  made->tiles = attention_copies(of.call, is_gradient);
  made->is_fused = can_be_fused(of, made->tiles.is_narrow);
  if (!made->is_fused)
    made->tiles = attention_tiles(of.call, &of.attention, is_gradient, trainer->workspace_bytes);
  int failed = made->is_fused ? 0 : for_tiles(of.attention, made->tiles, [&](const Tile &tile) {
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

/* All of a call, with its operands from `first` on. */
static FusedAttention
fused_attention(const AttentionCall &of, size_t first)
{
  const Tile all = {0, of.attention.heads, 0, of.attention.rows, of.attention.keys};
  FusedAttention fused = gpu_fused_attention(of.attention, rows_of(of, all));
  fused.q = (const bfloat_number *)of.operand[first];
  fused.k = (const bfloat_number *)of.operand[first + 1];
  fused.v = (const bfloat_number *)of.operand[first + 2];
  return fused;
}

static int
attend_all(const AttentionCall &of)
{
  FusedAttention fused = fused_attention(of, 0);
  fused.made = floats_output(of.call, 0);
  fused.lse = floats_output(of.call, 1);
  return gpu_attend_fused(of.call, fused, !of.attention.transposes_k);
}

static int
differentiate_all(const AttentionCall &of)
{
  const actnn_call *call = of.call;
  FusedAttention fused = fused_attention(of, 1);
  fused.d_o = (const bfloat_number *)of.operand[0];
  fused.row_sum = floats_input(call, 4);
  fused.lse = floats_input(call, 5);
  return gpu_differentiate_fused(call, fused, !of.attention.transposes_k, floats_output(call, 0), floats_output(call, 1), floats_output(call, 2));
}

static int
attend_tile(const AttentionCall &of, const Tile &tile)
{
  const actnn_call *call = of.call;
  const actnn_view *o = &call->output[0];
  bool is_narrow = of.made->tiles.is_narrow;
  Rows rows = rows_of(of, tile);
  Cells cells = cells_of(rows.count, 1, rows.units.number);
  const char *q = begin_of(of.operand[0], is_narrow, of.attention.q, tile, tile.row);
  const char *k = begin_of(of.operand[1], is_narrow, of.attention.k, tile, 0), *v = begin_of(of.operand[2], is_narrow, of.attention.v, tile, 0);
  return multiply(of, tile, SCORES, q, k, rows.scores.data) ||
         LAUNCH_BLOCKS(call, attend, blocks_of_cells(cells), rows, cells, floats_output(call, 1)) ||
         multiply(of, tile, OUTPUT, rows.made.data, v, begin_of(o->data, bfloat_holds(o), of.attention.o, tile, tile.row));
}

extern "C" int
gpu_Attention(const actnn_call *call)
{
  gpu_primitive *slot = gpu_primitive_of(call->trainer, call->output[0].id);
  AttentionCall of = {call, attention_of(call, 0, 3), slot->attention, {}};
  if (actnn_is_preparing(call)) {
    const AttentionProduct which[] = {SCORES, OUTPUT};
    const actnn_view *const y[] = {NULL, &call->output[0]};
    return prepare_attention(of, slot, false, which, y, 2);
  }
  int begun = begin_call(&of, 3);
  if (begun)
    return begun;
  if (of.made->is_fused)
    return attend_all(of);
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
  return begin_of(y->data, bfloat_holds(y), sum ? of.attention.v : of.attention.k, tile, 0);
}

/* What has been added up of these leading indices is rounded. */
static int
round_sums(const AttentionCall &of, int64_t head, int64_t heads)
{
  const AttentionTiles &tiles = of.made->tiles;
  actnn *trainer = of.call->trainer;
  for (int sum = 0; sum < 2; sum++) {
    const HeadRows &rows = sum ? of.attention.v : of.attention.k;
    int64_t elements = of.attention.keys * (sum ? of.attention.columns : of.attention.inner), start = head_start(&rows, head);
    const float *sums = (const float *)(trainer->workspace + tiles.sum[sum]);
    Floats to = {(bfloat_number *)of.call->output[sum + 1].data + start, true};
    if (tiles.has_sums[sum] && (rows.beside > 1 ? LAUNCH(of.call, round_beside, heads * elements, sums, to, rows, heads * elements, elements)
                                                : gpu_convert(trainer, to.data, sums, heads * elements, true)))
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
  const Attention &attention = of.attention;
  const char *d_o = begin_of(of.operand[0], is_narrow, attention.o, tile, tile.row);
  const char *q = begin_of(of.operand[1], is_narrow, attention.q, tile, tile.row);
  const char *k = begin_of(of.operand[2], is_narrow, attention.k, tile, 0), *v = begin_of(of.operand[3], is_narrow, attention.v, tile, 0);
  Rows rows = rows_of(of, tile);
  Floats gradient = {call->trainer->workspace + of.made->tiles.score[1], false};
  Floats slope = {call->trainer->workspace + of.made->tiles.made[1], is_narrow};
  return multiply(of, tile, SCORES, q, k, rows.scores.data) || multiply(of, tile, PROBABILITY_GRADIENT, d_o, v, gradient.data) ||
         LAUNCH(call, differentiate, rows.count * rows.units.number, rows, gradient, slope, floats_input(call, 4), floats_input(call, 5),
                optional_output(call, 3) != NULL) ||
         sum_mask(of, tile, rows, gradient) ||
         (dv && multiply(of, tile, VALUE_GRADIENT, rows.made.data, d_o, begin_of_sums(of, tile, 1))) ||
         (dq && multiply(of, tile, QUERY_GRADIENT, slope.data, k, begin_of(dq->data, bfloat_holds(dq), attention.q, tile, tile.row))) ||
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
  AttentionCall of = {call, attention_of(call, 1, 6), slot->attention, {}};
  if (actnn_is_preparing(call))
    return prepare_attention(of, slot, true, which, y, products);
  int begun = begin_call(&of, ATTENTION_OPERANDS);
  if (begun)
    return begun;
  if (mask && clear_bytes(call, mask->data, element_count(mask) * (int64_t)sizeof(float)))
    return 1;
  if (of.made->is_fused)
    return differentiate_all(of);
  return for_tiles(of.attention, of.made->tiles, [&](const Tile &tile) { return differentiate_tile(of, tile); },
                   [&](int64_t head, int64_t heads) { return round_sums(of, head, heads); });
}
