/* test_einsum.c: Einsum, rewritten into sums, transpositions and products, against its definition: a sum over all values of all indices.
 * Random equations of one to three operands, with diagonals, axes of extent one, and with the result spelled out or not; and equations
 * that mean nothing. */
#include "../../passes/passes.h"
#include "../runtime/tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

PassFunction specialize;

enum { EQUATIONS = 600, MOST_OPERANDS = 3, MOST_AXES = 4, LETTERS = 5, MOST_ELEMENTS = 256 };

typedef struct Operand {
  char index[MOST_AXES + 1];
  int64_t extent[MOST_AXES];
  int values[MOST_ELEMENTS];
} Operand;

static uint32_t state = 1;

static uint32_t
draw(uint32_t below)
{
  state = state * 1664525u + 1013904223u;
  return (uint32_t)(((uint64_t)state * below) >> 32);
}

static int64_t
elements(const Operand *operand)
{
  int64_t product = 1;
  for (size_t i = 0; i < strlen(operand->index); i++) product *= operand->extent[i];
  return product;
}

/* Where in an operand the element at these values of the indices lies. */
static int64_t
place(const Operand *operand, const int64_t *at)
{
  int64_t offset = 0;
  for (size_t i = 0; i < strlen(operand->index); i++)
    offset = offset * operand->extent[i] + (operand->extent[i] == 1 ? 0 : at[operand->index[i] - 'a']);
  return offset;
}

static void
draw_operand(Operand *operand, const int64_t *extent)
{
  int axes = (int)draw(MOST_AXES + 1);
  memset(operand, 0, sizeof *operand);
  for (int i = 0; i < axes; i++) {
    char letter = (char)('a' + draw(LETTERS));
    const char *before = strchr(operand->index, letter);
    if (before && strchr(before + 1, letter)) break; /* twice is a diagonal; more is rare enough */
    operand->index[i] = letter;
    operand->extent[i] = draw(8) && !before ? extent[letter - 'a'] : before ? operand->extent[before - operand->index] : 1;
  }
  for (int64_t i = 0; i < elements(operand); i++) operand->values[i] = (int)draw(7) - 3;
}

/* The result by the definition, in the order of its indices; how many numbers it has. */
static int64_t
sum_over_all(const Operand *operands, int count, const char *result, const int64_t *extent, double *sums)
{
  int64_t at[LETTERS] = {0}, size = 1;
  for (const char *c = result; *c; c++) size *= extent[*c - 'a'];
  for (int64_t i = 0; i < size; i++) sums[i] = 0;
  for (bool is_more = true; is_more;) {
    double product = 1;
    int64_t offset = 0;
    for (int k = 0; k < count; k++) product *= operands[k].values[place(&operands[k], at)];
    for (const char *c = result; *c; c++) offset = offset * extent[*c - 'a'] + at[*c - 'a'];
    sums[offset] += product;
    is_more = false;
    for (int i = 0; i < LETTERS && !is_more; i++) {
      if (++at[i] < extent[i]) is_more = true;
      else at[i] = 0;
    }
  }
  return size;
}

/* Extents as the operands have them: 1 where none is longer. */
static void
find_extents(const Operand *operands, int count, int64_t *extent)
{
  for (int i = 0; i < LETTERS; i++) extent[i] = 1;
  for (int k = 0; k < count; k++)
    for (size_t i = 0; i < strlen(operands[k].index); i++)
      if (operands[k].extent[i] > extent[operands[k].index[i] - 'a']) extent[operands[k].index[i] - 'a'] = operands[k].extent[i];
}

/* Some of the indices that occur, in any order; or, for an equation without an arrow, those that occur once. */
static bool
draw_result(const Operand *operands, int count, char *result)
{
  int seen[LETTERS] = {0}, length = 0;
  bool is_spelled = draw(4) > 0;
  for (int k = 0; k < count; k++)
    for (const char *c = operands[k].index; *c; c++) seen[*c - 'a']++;
  for (int i = 0; i < LETTERS; i++)
    if (is_spelled ? seen[i] && draw(2) : seen[i] == 1) result[length++] = (char)('a' + i);
  for (int i = length; is_spelled && i-- > 1;) {
    int other = (int)draw((uint32_t)i + 1);
    char swapped = result[i];
    result[i] = result[other];
    result[other] = swapped;
  }
  result[length] = 0;
  return is_spelled;
}

static const char *
write_net(Arena *arena, const Operand *operands, int count, const char *equation)
{
  const char *text = "<ir_version: 8, opset_import: [\"\" : 17]>\nnet (float[1,1] x) => (float[1,N] y)\n{\n", *list = "";
  for (int k = 0; k < count; k++) {
    const char *extents = "", *values = "";
    for (size_t i = 0; i < strlen(operands[k].index); i++)
      extents = arena_format(arena, "%s%s%lld", extents, i ? "," : "", (long long)operands[k].extent[i]);
    for (int64_t i = 0; i < elements(&operands[k]); i++) values = arena_format(arena, "%s%s%d", values, i ? "," : "", operands[k].values[i]);
    if (*extents) extents = arena_format(arena, "[%s]", extents);
    text = arena_format(arena, "%s  c%d = Constant <value = float%s {%s}> ()\n", text, k, extents, values);
    list = arena_format(arena, "%s%sc%d", list, k ? ", " : "", k);
  }
  return arena_format(arena, "%s  e = Einsum <equation = \"%s\"> (%s)\n  f = Flatten <axis = 0> (e)\n  y = Mul (x, f)\n}\n", text, equation, list);
}

/* Folded into a constant, which the product then reads. */
static bool
is_right(const char *text, const double *wanted, int64_t size, Arena *arena)
{
  Options options = {.scheme = "actnnc"};
  Program *program = parse_program("net", text, strlen(text), diagnostics_create(arena));
  bool is_good = program && specialize(program, &options) && program->order_count == 1;
  const Value *folded = is_good ? operand_value(program, node_at(program, program->order[0]), 1) : NULL;
  is_good = folded && folded->kind == VALUE_CONSTANT && folded->data_bytes == (size_t)size * sizeof(float);
  for (int64_t i = 0; is_good && i < size; i++) {
    float found;
    memcpy(&found, (const char *)folded->data + (size_t)i * sizeof found, sizeof found);
    is_good = (double)found == wanted[i];
  }
  if (program) program_destroy(program);
  return is_good;
}

static void
test_random_equations(void)
{
  static double wanted[1024];
  int tried = 0, right = 0;
  while (tried < EQUATIONS) {
    Operand operands[MOST_OPERANDS];
    int64_t extent[LETTERS];
    char result[LETTERS + 1];
    int count = 1 + (int)draw(MOST_OPERANDS);
    for (int i = 0; i < LETTERS; i++) extent[i] = 1 + draw(4);
    for (int k = 0; k < count; k++) draw_operand(&operands[k], extent);
    find_extents(operands, count, extent);
    bool is_diagonal_short = false; /* of a diagonal both axes must be as long as the index is elsewhere */
    for (int k = 0; k < count; k++)
      for (size_t i = 0; i < strlen(operands[k].index); i++)
        is_diagonal_short |= strchr(operands[k].index, operands[k].index[i]) != operands[k].index + i
                          && operands[k].extent[i] != extent[operands[k].index[i] - 'a'];
    bool is_spelled = draw_result(operands, count, result);
    if (is_diagonal_short) continue;
    Arena *arena = arena_create();
    const char *equation = "";
    for (int k = 0; k < count; k++) equation = arena_format(arena, "%s%s%s", equation, k ? "," : "", operands[k].index);
    if (is_spelled) equation = arena_format(arena, "%s%s%s", equation, draw(2) ? "->" : " -> ", result);
    int64_t size = sum_over_all(operands, count, result, extent, wanted);
    bool is_good = is_right(write_net(arena, operands, count, equation), wanted, size, arena);
    if (!is_good) printf("# '%s' is wrong\n", equation);
    tried++;
    right += is_good;
    arena_destroy(arena);
  }
  ok(right == tried, "%d of %d random equations are their sums", right, tried);
}

static void
test_nonsense(void)
{
  static const char *const equations[] = {"",          "ij",        "ij,jk,kl->il", "ijk,jk->i", "i.j,jk->ik", "..ij,jk->ik",  "....,jk->k",  "ij,jk->iz",
                                          "ij,jk->ii", "ij,jk-ik",  "ij,jk->i->k",  "ij,jk->ik,", "1j,jk->k",  "ij,j\xc3\xa9->i", "ij,jk>ik", ",",
                                          "ij,ik->jk", "ii,ij->ij", "...",          "->",        "ij,...->...ij", "abcdefghijklmnopq,jk->a"};
  static const Operand operands[2] = {{.index = "ij", .extent = {2, 3}}, {.index = "jk", .extent = {3, 4}}};
  FILE *nowhere = fopen("/dev/null", "w");
  if (!nowhere) exit(1);
  int refused = 0, count = (int)(sizeof equations / sizeof *equations);
  for (int i = 0; i < count; i++) {
    Arena *arena = arena_create();
    Options options = {.scheme = "actnnc"};
    Diagnostics *diagnostics = diagnostics_create(arena);
    diagnostics->stream = nowhere;
    const char *text = write_net(arena, operands, 2, equations[i]);
    Program *program = parse_program("net", text, strlen(text), diagnostics);
    bool is_refused = !program || !specialize(program, &options);
    bool is_meaningful = !strcmp(equations[i], "ij,...->...ij"); /* an ellipsis may stand for all axes */
    if (is_refused == is_meaningful) printf("# '%s' is %s\n", equations[i], is_refused ? "refused" : "taken");
    refused += is_refused != is_meaningful;
    if (program) program_destroy(program);
    arena_destroy(arena);
  }
  fclose(nowhere);
  ok(refused == count, "%d of %d equations that mean nothing are refused", refused, count);
}

int
main(void)
{
  test_random_equations();
  test_nonsense();
  return tap_done();
}
