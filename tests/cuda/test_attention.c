/* test_attention.c: attention and its gradient in tiles of every size, in FP32 and on operands held as bfloat16, against the processor's on the same
 * numbers: what of the workspace a tile may take decides how many rows and leading indices it has (runtime/attention_tiles.h). ORDINARY=1 leaves
 * out sizes between the smallest and the largest. */
#include "../../runtime/attention_tiles.h"
#include "both.h"

#include <math.h>

typedef enum Name { Q, K, V, D_O, O, LSE, ROW_SUM, DQ, DK, DV, MASK, D_MASK, NAMES } Name;

typedef struct Case {
  const char *what;
  int64_t rows, keys, inner, columns;
  bool transposes_k, is_causal;
  double ratio; /* of dropout; 0: none */
  actnn_type mask;
  int64_t mask_dim[3]; /* 0: without a mask */
  bool is_guarded;     /* and of floats: it blocks whole rows */
  unsigned inside;     /* of bits Q, K, V and O: which of these, and their gradients, have LEAD leading indices side by side */
} Case;

enum { LEADS = 2, LEAD = 3, HEADS = LEADS * LEAD, BLOCKED = 7 /* of so many rows one */ };

static const Case cases[] = {
    {"rows and keys of any number", 37, 41, 5, 3, true, false, 0, ACTNN_BOOL, {0}, false, 0},
    {"with a mask of bool", 40, 56, 8, 12, false, false, 0, ACTNN_BOOL, {LEAD, 1, 56}, false, 0},
    {"with a mask of floats", 40, 56, 8, 12, true, false, 0, ACTNN_F32, {1, 40, 56}, false, 0},
    {"with a mask for each key", 300, 21, 8, 12, true, false, 0, ACTNN_F32, {LEAD, 1, 21}, false, 0},
    {"with a mask that lies odd", 21, 43, 8, 4, true, false, 0.25, ACTNN_BOOL, {1, 21, 43}, false, 0},
    {"with dropout", 64, 64, 16, 8, true, false, 0.25, ACTNN_BOOL, {0}, false, 0},
    {"causal", 90, 90, 8, 8, true, true, 0, ACTNN_BOOL, {0}, false, 0},
    {"causal, of more rows than a tile has", 520, 520, 4, 4, false, true, 0, ACTNN_BOOL, {0}, false, 0},
    {"causal with a mask of floats", 530, 530, 4, 4, true, true, 0, ACTNN_F32, {LEAD, 1, 530}, false, 0},
    {"rows as long as tensor cores take", 136, 200, 64, 64, true, false, 0, ACTNN_BOOL, {0}, false, 0},
    {"with rows of k and of v, dropout and a mask of bool", 136, 72, 48, 24, false, false, 0.25, ACTNN_BOOL, {LEAD, 136, 72}, false, 0},
    {"with keys of any number, and rows that are blocked", 70, 61, 16, 40, true, false, 0, ACTNN_F32, {1, 70, 61}, true, 0},
    {"with keys of any number in rows of k", 70, 61, 16, 40, false, false, 0.25, ACTNN_BOOL, {0}, false, 0},
    {"causal, with tiles of its own", 272, 272, 64, 64, false, true, 0.25, ACTNN_BOOL, {0}, false, 0},
    {"causal with dropout and a mask", 530, 530, 4, 4, true, true, 0.5, ACTNN_BOOL, {LEAD, 1, 530}, false, 0},
    {"with rows that are blocked", 40, 56, 8, 12, true, false, 0.25, ACTNN_F32, {1, 40, 56}, true, 0},
    {"side by side", 37, 41, 5, 3, true, false, 0, ACTNN_BOOL, {0}, false, 1 << Q | 1 << K | 1 << V | 1 << O},
    {"side by side, with dropout and a mask", 40, 56, 8, 12, true, false, 0.25, ACTNN_F32, {1, 40, 56}, true, 1 << Q | 1 << K | 1 << V | 1 << O},
    {"side by side, causal, of more rows than a tile has", 520, 520, 4, 4, true, true, 0.25, ACTNN_BOOL, {0}, false, 1 << K | 1 << V},
    {"side by side, as long as tensor cores take", 136, 200, 64, 64, true, false, 0, ACTNN_BOOL, {LEAD, 1, 200}, false, 1 << Q | 1 << K | 1 << V | 1 << O},
    {"q and o side by side, beside rows of k", 70, 61, 16, 40, false, false, 0.25, ACTNN_BOOL, {0}, false, 1 << Q | 1 << O},
    {"v and o side by side, causal", 90, 90, 48, 24, true, true, 0.25, ACTNN_BOOL, {0}, false, 1 << V | 1 << O},
    {"causal, of keys that no row reads", 40, 200, 8, 16, true, true, 0, ACTNN_BOOL, {0}, false, 0},
};

/* Of workspace: none, so that tiles are the smallest; and what has tiles of some leading indices, of all. */
static const uint64_t workspaces[] = {0, 48 << 10, 1 << 20, 64 << 20};
enum { CASES = sizeof cases / sizeof *cases, WORKSPACES = sizeof workspaces / sizeof *workspaces };

/* The operands and results of a case in a memory of their own. */
typedef struct Operands {
  Both both;
  bool is_narrow;
  uint32_t id[NAMES];
} Operands;

static bool
is_inside(const Case *of, Name name)
{
  static const Name like[NAMES] = {[Q] = Q, [K] = K, [V] = V, [D_O] = O, [O] = O, [LSE] = O, [ROW_SUM] = O, [DQ] = Q, [DK] = K, [DV] = V};
  return of->inside >> like[name] & 1;
}

static actnn_tensor
tensor_of(const Operands *operands, int64_t rows, int64_t columns, bool is_total, bool is_inside)
{
  actnn_tensor tensor = {.rank = 4, .dim = {LEADS, is_inside ? rows : LEAD, is_inside ? LEAD : rows, columns}};
  tensor.type = (uint8_t)(operands->is_narrow && !is_total ? ACTNN_BF16 : ACTNN_F32);
  return tensor;
}

static void
make_operands(Operands *operands, const Case *of, bool is_narrow, uint64_t workspace)
{
  int64_t extent[NAMES][2] = {{of->rows, of->inner},
                              {of->transposes_k ? of->keys : of->inner, of->transposes_k ? of->inner : of->keys},
                              {of->keys, of->columns},
                              {of->rows, of->columns},
                              {of->rows, of->columns},
                              {of->rows, 1},
                              {of->rows, 1},
                              {of->rows, of->inner},
                              {of->transposes_k ? of->keys : of->inner, of->transposes_k ? of->inner : of->keys},
                              {of->keys, of->columns}};
  memset(operands, 0, sizeof *operands);
  operands->both.block = 1;
  operands->both.state = 7;
  operands->both.workspace = workspace;
  operands->is_narrow = is_narrow;
  operands->id[MASK] = operands->id[D_MASK] = NONE;
  for (int name = 0; name < MASK; name++) {
    bool is_total = name == LSE || name == ROW_SUM;
    operands->id[name] = add_tensor(&operands->both, tensor_of(operands, extent[name][0], extent[name][1], is_total,
                                                                             is_inside(of, (Name)name)), is_narrow && !is_total ? 2 : 4, 0);
  }
  if (!of->mask_dim[0]) return;
  actnn_tensor mask = {.type = (uint8_t)of->mask, .rank = 3};
  memcpy(mask.dim, of->mask_dim, sizeof of->mask_dim);
  operands->id[MASK] = add_tensor(&operands->both, mask, of->mask == ACTNN_BOOL ? 1 : 4, 0);
  if (of->mask == ACTNN_F32) operands->id[D_MASK] = add_tensor(&operands->both, mask, 4, 0);
}

static int64_t
count_of(const Operands *operands, Name name)
{
  return elements_in_memory(&operands->both, &operands->both.tensor[operands->id[name]]);
}

static bool
holds_bfloat(const Operands *operands, Name name)
{
  return operands->both.tensor[operands->id[name]].type == ACTNN_BF16;
}

static float
number_at(const Operands *operands, const unsigned char *arena, Name name, int64_t at)
{
  const void *data = arena + operands->both.tensor[operands->id[name]].offset;
  return holds_bfloat(operands, name) ? bfloat_widened(((const uint16_t *)data)[at]) : ((const float *)data)[at];
}

static void
set_number(Operands *operands, Name name, int64_t at, float value)
{
  void *data = data_of(&operands->both, operands->id[name]);
  if (holds_bfloat(operands, name)) ((uint16_t *)data)[at] = bfloat_rounded(value);
  else ((float *)data)[at] = value;
}

/* Numbers that bfloat16 holds, the same in both. */
static void
fill_operands(Operands *exact, Operands *narrow, const Case *of)
{
  static const Name filled[] = {Q, K, V, D_O};
  for (size_t k = 0; k < sizeof filled / sizeof *filled; k++)
    for (int64_t i = 0; i < count_of(exact, filled[k]); i++) {
      float value = bfloat_widened(bfloat_rounded((float)(random_byte(&exact->both) - 127.5) / 96));
      set_number(exact, filled[k], i, value);
      set_number(narrow, filled[k], i, value);
    }
  for (int64_t i = 0; exact->id[MASK] != NONE && i < count_of(exact, MASK); i++) {
    bool is_bool = exact->both.tensor[exact->id[MASK]].type == ACTNN_BOOL;
    unsigned char byte = random_byte(&exact->both);
    bool is_blocked = of->is_guarded && i / of->keys % BLOCKED == 0;
    for (int k = 0; k < 2; k++) {
      void *mask = data_of(&(k ? narrow : exact)->both, exact->id[MASK]);
      if (is_bool) ((unsigned char *)mask)[i] = byte % 4 != 0;
      else ((float *)mask)[i] = is_blocked ? -INFINITY : (float)byte / 64;
    }
  }
}

static Outcome
run(Operands *operands, const Case *of, bool is_gradient, bool is_on_gpu)
{
  const uint32_t *id = operands->id;
  actnn_attributes with = WITH(ABSENT, ABSENT, INT(of->transposes_k), REAL_NUMBER(0.5), REAL_NUMBER(-1e9), INT(of->is_causal),
                               INT(of->is_guarded), INT(is_inside(of, Q)), INT(is_inside(of, K)), INT(is_inside(of, V)), INT(is_inside(of, O)),
                               INT(5));
  actnn_attributes dropping = WITH(REALS(of->ratio), INTS(1), INT(of->transposes_k), REAL_NUMBER(0.5), REAL_NUMBER(-1e9), INT(of->is_causal),
                                   INT(of->is_guarded), INT(is_inside(of, Q)), INT(is_inside(of, K)), INT(is_inside(of, V)),
                                   INT(is_inside(of, O)), INT(5));
  if (of->ratio > 0) with = dropping;
  actnn_list out = is_gradient ? OUT(id[DQ], id[DK], id[DV], id[D_MASK]) : OUT(id[O], id[LSE]);
  actnn_list in = is_gradient ? IN(id[D_O], id[Q], id[K], id[V], id[ROW_SUM], id[LSE], id[MASK]) : IN(id[Q], id[K], id[V], id[MASK]);
  actnn_kernel *kernel = is_gradient ? actnn_AttentionGrad : actnn_Attention;
  return is_on_gpu ? run_on_gpu(&operands->both, kernel, out, in, with) : run_on_processor(&operands->both, kernel, out, in, with);
}

/* The distance of results beside their size: of bfloat16 probabilities and the gradients of scores are rounded before the next product. */
static void
compare(const Operands *exact, const Outcome *wanted, const Operands *operands, const Outcome *got, bool is_gradient, const Case *of)
{
  static const Name results[2][4] = {{O, LSE, LSE, LSE}, {DQ, DK, DV, D_MASK}};
  double worst = 0, limit = operands->is_narrow ? 0x1p-7 : 1e-6;
  for (int k = 0; k < 4 && !got->failed; k++) {
    if (operands->id[results[is_gradient][k]] == NONE) continue;
    double size = 0, distance = 0;
    for (int64_t i = 0; i < count_of(exact, results[is_gradient][k]); i++) {
      double number = number_at(exact, wanted->arena, results[is_gradient][k], i);
      double apart = number_at(operands, got->arena, results[is_gradient][k], i) - number;
      if (of->is_guarded && results[is_gradient][k] == LSE && (is_inside(of, LSE) ? i / LEAD : i) % of->rows % BLOCKED == 0)
        apart = number = isnan(number) && isnan(apart) ? 0 : INFINITY;
      size += number * number;
      distance += apart * apart;
    }
    distance = sqrt(distance / size);
    worst = !(distance <= worst) ? distance : worst;
  }
  ok(!wanted->failed && !got->failed && worst <= limit, "%s%s%s, workspace %llu: apart by %.2g %s", is_gradient ? "gradient, " : "", of->what,
     operands->is_narrow ? ", bfloat16" : "", (unsigned long long)operands->both.workspace, worst, got->error);
}

/* What a step computes between the two from the processor's result. */
static void
make_row_sum(Operands *exact, Operands *narrow, const Outcome *made, const Case *of)
{
  for (int64_t row = 0; row < HEADS * of->rows; row++) {
    double sum = 0;
    for (int64_t i = 0; i < of->columns; i++)
      sum += (double)number_at(exact, made->arena, O, row * of->columns + i) * (double)number_at(exact, made->arena, D_O, row * of->columns + i);
    float lse = number_at(exact, made->arena, LSE, row);
    set_number(exact, ROW_SUM, row, (float)sum);
    set_number(narrow, ROW_SUM, row, (float)sum);
    set_number(exact, LSE, row, lse);
    set_number(narrow, LSE, row, lse);
  }
}

static void
test_case(const Case *of)
{
  Operands exact, narrow;
  make_operands(&exact, of, false, 0);
  make_operands(&narrow, of, true, 0);
  fill_operands(&exact, &narrow, of);
  for (int is_gradient = 0; is_gradient < 2; is_gradient++) {
    Outcome wanted = run(&exact, of, is_gradient, false);
    for (size_t i = 0; i < WORKSPACES && !wanted.failed; i += getenv("ORDINARY") ? WORKSPACES - 1 : 1) {
      exact.both.workspace = narrow.both.workspace = workspaces[i];
      Outcome one = run(&exact, of, is_gradient, true), other = run(&narrow, of, is_gradient, true);
      compare(&exact, &wanted, &exact, &one, is_gradient, of);
      compare(&exact, &wanted, &narrow, &other, is_gradient, of);
      free(one.arena);
      free(other.arena);
    }
    ok(!wanted.failed, "%s on the processor: %s", of->what, wanted.error);
    if (!is_gradient) make_row_sum(&exact, &narrow, &wanted, of);
    free(wanted.arena);
  }
  forget_tensors(&exact.both);
  forget_tensors(&narrow.both);
}

/* A row whose scores are not far above what blocks the others: keys that were left out would have counted, and it says so. */
static void
test_low_scores(void)
{
  enum { LOW = 3 };
  Case of = cases[7];
  Operands exact, narrow;
  make_operands(&exact, &of, false, 0);
  make_operands(&narrow, &of, true, 0);
  fill_operands(&exact, &narrow, &of);
  for (int64_t i = 0; i < of.inner; i++) set_number(&exact, Q, LOW * of.inner + i, -1e9f);
  for (int64_t i = 0; i < count_of(&exact, K); i++) set_number(&exact, K, i, 1);
  Outcome made = run(&exact, &of, false, true);
  bool is_right = !made.failed;
  for (int64_t row = 0; row < HEADS * of.rows; row++)
    is_right &= isnan(number_at(&exact, made.arena, LSE, row)) == (row == LOW);
  ok(is_right, "a row below what keys were left out for is not a number, and no other: %s", made.error);
  free(made.arena);
  forget_tensors(&exact.both);
  forget_tensors(&narrow.both);
}

/* The tiles of a case in a workspace; none of them takes more than is there, but for the smallest. */
static AttentionTiles
tiles_of(const Case *of, bool is_narrow, uint64_t workspace)
{
  actnn_view view[2 * NAMES];
  int64_t dim[2 * NAMES][4];
  Operands operands;
  make_operands(&operands, of, is_narrow, 0);
  static const Name names[] = {D_O, Q, K, V, DQ, DK, DV};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    view[i] = view_in(&operands.both, operands.id[names[i]], operands.both.arena);
    memcpy(dim[i], view[i].dim, sizeof dim[i]);
    view[i].dim = dim[i];
  }
  actnn_attribute attribute[] = {ABSENT, ABSENT, INT(of->transposes_k), REAL_NUMBER(1), REAL_NUMBER(-1e9), INT(of->is_causal),
                                 INT(of->is_guarded), INT(is_inside(of, Q)), INT(is_inside(of, K)), INT(is_inside(of, V)),
                                 INT(is_inside(of, O)), INT(0)};
  actnn_call call = {.output_count = 3, .input_count = 4, .attribute_count = sizeof attribute / sizeof *attribute, .output = view + 4,
                     .input = view, .attribute = attribute};
  Attention attention = attention_of(&call, 1, 6);
  AttentionTiles tiles = attention_tiles(&call, &attention, true, workspace);
  forget_tensors(&operands.both);
  return tiles;
}

static void
test_tiles(void)
{
  const Case *plain = &cases[5], *causal = &cases[7];
  AttentionTiles least = tiles_of(plain, true, 0), some = tiles_of(plain, false, 192 << 10), all = tiles_of(plain, true, 64 << 20);
  ok(least.heads == 1 && least.rows == LEAST_ROWS && least.has_sums[0] && least.has_sums[1], "the smallest tile has a few rows of one index");
  ok(some.heads > 1 && some.heads < HEADS && some.rows == plain->rows && some.bytes <= 192 << 10, "a larger one has %lld indices",
     (long long)some.heads);
  ok(all.heads == HEADS && all.rows == plain->rows && !all.has_sums[0], "the largest has all, and adds nothing up");
  AttentionTiles parts = tiles_of(causal, true, 64 << 20);
  ok(parts.heads == HEADS && parts.rows < causal->rows / 2 && parts.key_step == parts.rows && parts.has_sums[1],
     "a causal one has %lld rows of all indices", (long long)parts.rows);
}

int
main(void)
{
  test_tiles();
  for (size_t i = 0; i < CASES; i++) test_case(&cases[i]);
  test_low_scores();
  return tap_done();
}
