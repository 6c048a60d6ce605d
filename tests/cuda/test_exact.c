/* test_exact.c: calls that the table of operators cannot describe, or whose results must be the processor's to the last bit: constants,
 * layouts, dropout with its mask, rows by index, the largest; and what is wrong with an operand is said in the processor's words. */
#include "both.h"

#include <math.h>

static void
fill_with_bytes(Both *both, uint32_t id, unsigned most)
{
  unsigned char *byte = data_of(both, id);
  for (uint64_t i = 0; i < both->tensor[id].bytes; i++) byte[i] = (unsigned char)(random_byte(both) % (most + 1));
}

static void
test_fill(Both *both)
{
  static const struct {
    actnn_type type;
    uint64_t size;
  } types[] = {{ACTNN_F32, 4}, {ACTNN_I64, 8}, {ACTNN_BOOL, 1}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    actnn_tensor many = {.type = (uint8_t)types[i].type, .rank = 2, .dim = {70, 9}}, few = many;
    few.dim[0] = 1;
    few.dim[1] = 5;
    uint32_t y = add_tensor(both, many, types[i].size, 0), z = add_tensor(both, few, types[i].size, 0);
    same_on_both(both, actnn_Fill, OUT(y), IN(NONE), WITH(ABSENT, INT(types[i].type), REALS(1)), "one number for all");
    same_on_both(both, actnn_Fill, OUT(y), IN(NONE), WITH(ABSENT, INT(types[i].type), REALS(0)), "zeros");
    same_on_both(both, actnn_Fill, OUT(y), IN(NONE), WITH(ABSENT, INT(types[i].type), REALS(-0.0)), "zeros below zero");
    same_on_both(both, actnn_Fill, OUT(z), IN(NONE), WITH(ABSENT, INT(types[i].type), REALS(1, 0, 2.5, -3, 1e30)), "several numbers");
    forget_tensors(both);
  }
}

static void
test_layouts(Both *both, actnn_type type, uint64_t size)
{
  actnn_tensor plain = {.type = (uint8_t)type, .rank = 4, .dim = {3, 19, 14, 9}}, blocked = plain;
  blocked.layout = ACTNN_BLOCKED;
  uint32_t x = add_tensor(both, plain, size, 0), y = add_tensor(both, blocked, size, 0), z = add_tensor(both, plain, size, 0);
  uint32_t copy = add_tensor(both, blocked, size, 0);
  fill_with_bytes(both, x, 255);
  same_on_both(both, actnn_ToBlocked, OUT(y), IN(x), WITHOUT, "blocks of rows");
  same_on_both(both, actnn_ToPlain, OUT(z), IN(y), WITHOUT, "rows of blocks");
  same_on_both(both, actnn_Identity, OUT(copy), IN(y), WITHOUT, "blocks copied");
  forget_tensors(both);
}

static void
test_dropout(Both *both, int64_t elements)
{
  actnn_tensor value = {.type = ACTNN_F32, .rank = 1, .dim = {elements}}, bytes = value;
  bytes.type = ACTNN_BOOL;
  uint32_t x = add_tensor(both, value, 4, 0), y = add_tensor(both, value, 4, 0), mask = add_tensor(both, bytes, 1, 0);
  fill_with_bytes(both, x, 100);
  same_on_both(both, actnn_Dropout, OUT(y, mask), IN(x), WITH(REALS(0.3), INTS(1), INT(0), INT(5)), "dropout and its mask");
  same_on_both(both, actnn_Dropout, OUT(y, mask), IN(x), WITH(REALS(1), INTS(1), INT(0), INT(5)), "dropout of everything");
  same_on_both(both, actnn_Dropout, OUT(y, mask), IN(x), WITH(REALS(0.3), INTS(0), INT(0), INT(5)), "dropout outside of training");
  same_on_both(both, actnn_DropoutReplay, OUT(x), IN(x), WITH(REALS(0.3), INTS(1), INT(5)), "its replay, in place");
  forget_tensors(both);
}

static void
test_indices(Both *both)
{
  actnn_tensor table = {.type = ACTNN_F32, .rank = 2, .dim = {50, 12}}, list = {.type = ACTNN_I64, .rank = 1, .dim = {600}};
  actnn_tensor rows = {.type = ACTNN_F32, .rank = 2, .dim = {600, 12}};
  uint32_t x = add_tensor(both, table, 4, 0), indices = add_tensor(both, list, 8, 0), y = add_tensor(both, rows, 4, 0);
  uint32_t dx = add_tensor(both, table, 4, 0);
  fill_with_bytes(both, x, 100);
  int64_t *index = data_of(both, indices);
  for (int i = 0; i < 600; i++) index[i] = random_byte(both) % 100 - 50;
  same_on_both(both, actnn_Gather, OUT(y), IN(x, indices), WITH(INT(0)), "rows by index");
  for (int64_t i = 0; i < 600 * 12; i++) ((float *)data_of(both, y))[i] = (float)random_byte(both) / 7;
  same_on_both(both, actnn_GatherGrad, OUT(dx), IN(y, indices), WITH(ABSENT, INT(0)), "their sums");
  ((int64_t *)data_of(both, indices))[417] = 50;
  refused_on_both(both, actnn_Gather, OUT(y), IN(x, indices), WITH(INT(0)), "an index too large");
  refused_on_both(both, actnn_GatherGrad, OUT(dx), IN(y, indices), WITH(ABSENT, INT(0)), "the same in the gradient");
  ((int64_t *)data_of(both, indices))[417] = INT64_MIN;
  refused_on_both(both, actnn_Gather, OUT(y), IN(x, indices), WITH(INT(0)), "an index far too small");
  refused_on_both(both, actnn_GatherGrad, OUT(dx), IN(y, indices), WITH(ABSENT, INT(0)), "the same in the gradient");
  forget_tensors(both);
}

enum { LINES = 5, LONG_LINE = 9000 };

/* Lines of few different numbers; one of -inf alone, one with a -inf, two with several NaN, those of the last far behind. */
static uint32_t
extremes(Both *both, bool is_along_columns)
{
  actnn_tensor matrix = {.type = ACTNN_F32, .rank = 2, .dim = {LINES, LONG_LINE}};
  if (is_along_columns) {
    matrix.dim[0] = LONG_LINE;
    matrix.dim[1] = LINES;
  }
  uint32_t x = add_tensor(both, matrix, 4, 0);
  float *value = data_of(both, x);
  int64_t apart = is_along_columns ? LINES : 1, line = is_along_columns ? 1 : LONG_LINE;
  for (int64_t i = 0; i < LINES * LONG_LINE; i++) value[i] = (float)(random_byte(both) % 9) - 4;
  for (int64_t i = 0; i < LONG_LINE; i++) value[i * apart] = -INFINITY;
  value[line + 700 * apart] = -INFINITY;
  value[2 * line + 3 * apart] = value[2 * line + 4500 * apart] = NAN;
  value[3 * line + 8990 * apart] = value[3 * line + 8999 * apart] = NAN;
  return x;
}

static void
test_extremes(Both *both, bool is_along_columns)
{
  int64_t axis = is_along_columns ? 0 : 1;
  actnn_tensor lines = {.type = ACTNN_F32, .rank = 1, .dim = {LINES}}, numbers = lines;
  numbers.type = ACTNN_I64;
  uint32_t x = extremes(both, is_along_columns), most = add_tensor(both, lines, 4, 0), count = add_tensor(both, lines, 4, 0);
  uint32_t y = add_tensor(both, numbers, 8, 0);
  for (int last = 0; last < 2; last++) {
    same_on_both(both, actnn_ArgMax, OUT(y), IN(x), WITH(INT(axis), INT(0), INT(last)), "where the largest lies");
    same_on_both(both, actnn_ArgMin, OUT(y), IN(x), WITH(INT(axis), INT(0), INT(last)), "where the smallest lies");
  }
  same_on_both(both, actnn_ReduceMin, OUT(most), IN(x), WITH(INTS(axis), INT(0), INT(0)), "the smallest");
  same_on_both(both, actnn_TieCount, OUT(count), IN(x, most), WITH(INTS(axis), INT(0), INT(0)), "how often it is there");
  same_on_both(both, actnn_ReduceMax, OUT(most), IN(x), WITH(INTS(axis), INT(0), INT(0)), "the largest");
  same_on_both(both, actnn_TieCount, OUT(count), IN(x, most), WITH(INTS(axis), INT(0), INT(0)), "how often it is there");
  forget_tensors(both);
}

static void
test_constants(Both *both)
{
  actnn_tensor numbers = {.type = ACTNN_F32, .rank = 2, .dim = {70, 9}}, integers = numbers;
  integers.type = ACTNN_I64;
  uint32_t y = add_tensor(both, numbers, 4, 0), z = add_tensor(both, integers, 8, 0);
  same_on_both(both, actnn_ConstantOfShape, OUT(y), IN(NONE), WITH(INTS(70, 9), ABSENT), "zeros of a shape");
  same_on_both(both, actnn_ConstantOfShape, OUT(y), IN(NONE), WITH(INTS(70, 9), REALS(2.5)), "numbers of a shape");
  same_on_both(both, actnn_ConstantOfShape, OUT(z), IN(NONE), WITH(INTS(70, 9), INTS(-7)), "integers of a shape");
  same_on_both(both, actnn_Range, OUT(z), IN(NONE), WITH(INT(-5), INT(1885), INT(3)), "a range of integers");
  forget_tensors(both);
}

typedef struct Indexing {
  uint32_t data, indices, updates, to, gathered;
} Indexing;

/* Indices of the given shape in a table of 50 x 12, and floats of the shape of what they name; sums of these depend on their order. */
static Indexing
index_table(Both *both, const int64_t *shape, const int64_t *gathered)
{
  actnn_tensor table = {.type = ACTNN_F32, .rank = 2, .dim = {50, 12}}, list = {.type = ACTNN_I64, .rank = 2}, named = table;
  memcpy(list.dim, shape, 2 * sizeof *shape);
  memcpy(named.dim, gathered, 2 * sizeof *gathered);
  Indexing made;
  made.data = add_tensor(both, table, 4, 0);
  made.indices = add_tensor(both, list, 8, 0);
  made.updates = add_tensor(both, named, 4, 0);
  made.to = add_tensor(both, table, 4, 0);
  made.gathered = add_tensor(both, named, 4, 0);
  for (int i = 0; i < 50 * 12; i++) ((float *)data_of(both, made.data))[i] = (float)random_byte(both) / 7;
  for (int64_t i = 0; i < gathered[0] * gathered[1]; i++) ((float *)data_of(both, made.updates))[i] = (float)random_byte(both) / 7;
  for (int64_t i = 0; i < shape[0] * shape[1]; i++) ((int64_t *)data_of(both, made.indices))[i] = random_byte(both) % 100 - 50;
  return made;
}

static const struct {
  const char *name, *what;
} reductions[] = {{"none", "written over"}, {"add", "added"}, {"mul", "multiplied"}, {"max", "the larger"}, {"min", "the smaller"}};
enum { REDUCTIONS = sizeof reductions / sizeof *reductions };

/* Single elements by `rows` indices in each of 12 columns: a few are taken in turn, more of them sorted. */
static void
test_elements(Both *both, int64_t rows)
{
  const int64_t shape[] = {rows, 12};
  Indexing on = index_table(both, shape, shape);
  same_on_both(both, actnn_GatherElements, OUT(on.gathered), IN(on.data, on.indices), WITH(INT(0)), "elements by index");
  same_on_both(both, actnn_GatherElementsGrad, OUT(on.to), IN(on.updates, on.indices), WITH(ABSENT, INT(0)), "their sums");
  for (int i = 0; i < REDUCTIONS; i++)
    same_on_both(both, actnn_ScatterElements, OUT(on.to), IN(on.data, on.indices, on.updates), WITH(INT(0), TEXT(reductions[i].name)),
                 reductions[i].what);
  same_on_both(both, actnn_ScatterElementsZero, OUT(on.to), IN(on.data, on.indices), WITH(INT(0), TEXT("none")), "zeros among them");
  ((int64_t *)data_of(both, on.indices))[rows * 12 - 1] = -51;
  refused_on_both(both, actnn_GatherElements, OUT(on.gathered), IN(on.data, on.indices), WITH(INT(0)), "an element's index");
  refused_on_both(both, actnn_GatherElementsGrad, OUT(on.to), IN(on.updates, on.indices), WITH(ABSENT, INT(0)), "the same in the gradient");
  refused_on_both(both, actnn_ScatterElements, OUT(on.to), IN(on.data, on.indices, on.updates), WITH(INT(0), TEXT("add")),
                  "the same scattered");
  refused_on_both(both, actnn_ScatterElementsZero, OUT(on.to), IN(on.data, on.indices), WITH(INT(0), TEXT("none")), "the same for zeros");
  forget_tensors(both);
}

/* Rows of 12, by 600 positions of one index; then elements, by 600 of two. */
static void
test_positions(Both *both, int64_t depth)
{
  const int64_t shape[] = {600, depth}, gathered[] = {600, depth == 1 ? 12 : 1};
  Indexing on = index_table(both, shape, gathered);
  int64_t *index = data_of(both, on.indices);
  for (int i = 1; depth == 2 && i < 600 * 2; i += 2) index[i] %= 12;
  same_on_both(both, actnn_GatherND, OUT(on.gathered), IN(on.data, on.indices), WITH(INT(0)), "rows by position");
  same_on_both(both, actnn_GatherNDGrad, OUT(on.to), IN(on.updates, on.indices), WITH(ABSENT, INT(0)), "their sums");
  for (int i = 0; i < REDUCTIONS; i++)
    same_on_both(both, actnn_ScatterND, OUT(on.to), IN(on.data, on.indices, on.updates), WITH(TEXT(reductions[i].name)),
                 reductions[i].what);
  same_on_both(both, actnn_ScatterNDZero, OUT(on.to), IN(on.data, on.indices), WITH(TEXT("none")), "zeros among them");
  index[417 * depth + depth - 1] = 50;
  refused_on_both(both, actnn_GatherND, OUT(on.gathered), IN(on.data, on.indices), WITH(INT(0)), "an index of a position");
  refused_on_both(both, actnn_GatherNDGrad, OUT(on.to), IN(on.updates, on.indices), WITH(ABSENT, INT(0)), "the same in the gradient");
  refused_on_both(both, actnn_ScatterND, OUT(on.to), IN(on.data, on.indices, on.updates), WITH(TEXT("none")), "the same scattered");
  refused_on_both(both, actnn_ScatterNDZero, OUT(on.to), IN(on.data, on.indices), WITH(TEXT("none")), "the same for zeros");
  forget_tensors(both);
}

/* Lines of many equal elements. */
static void
test_largest(Both *both, int64_t length, int64_t k)
{
  actnn_tensor lines = {.type = ACTNN_F32, .rank = 3, .dim = {3, length, 5}}, few = lines, numbers = lines;
  few.dim[1] = numbers.dim[1] = k;
  numbers.type = ACTNN_I64;
  uint32_t x = add_tensor(both, lines, 4, 0), values = add_tensor(both, few, 4, 0), indices = add_tensor(both, numbers, 8, 0);
  for (int64_t i = 0; i < 3 * length * 5; i++) ((float *)data_of(both, x))[i] = (float)(random_byte(both) % 40);
  same_on_both(both, actnn_TopK, OUT(values, indices), IN(x, NONE), WITH(INTS(k), INT(1), INT(1), INT(1)), "the largest");
  same_on_both(both, actnn_TopK, OUT(NONE, indices), IN(x, NONE), WITH(INTS(k), INT(1), INT(0), INT(1)), "where the smallest are");
  forget_tensors(both);
}

int
main(void)
{
  Both both = {.block = 1, .state = 3};
  test_fill(&both);
  for (both.block = 1; both.block <= 16; both.block += both.block == 1 ? 7 : 8) {
    test_layouts(&both, ACTNN_F32, 4);
    test_layouts(&both, ACTNN_BOOL, 1);
  }
  both.block = 1;
  test_dropout(&both, 5);
  test_dropout(&both, 4096);
  test_dropout(&both, 10007);
  test_indices(&both);
  test_extremes(&both, false);
  test_extremes(&both, true);
  test_constants(&both);
  test_elements(&both, 40);
  test_elements(&both, 300);
  test_positions(&both, 1);
  test_positions(&both, 2);
  test_largest(&both, 9, 4);
  test_largest(&both, 1500, 300);
  test_largest(&both, 1025, 1025);
  return tap_done();
}
