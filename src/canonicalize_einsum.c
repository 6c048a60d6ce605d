/* canonicalize_einsum.c: Einsum as sums, transpositions, products element by element and of matrices, which have their gradients.
 *
 * An axis of an operand is an index. Indices that neither the result nor another operand has are summed away first; an index that an operand
 * has twice is its diagonal. Then operands are joined two at a time, from left to right: indices that both have and something later needs
 * count batches, those that nothing needs any more are summed over by the product, the others are its rows and columns. Batches keep their axes,
 * in the order of the result: attention that is spelled so is then what any other spelling makes of it. */
#include "rewrite.h"

#include <string.h>

/* Letters are indices 0 to 51; the axes of an ellipsis, counted from the right, those from 52 on. */
enum { ELLIPSIS = 52, INDICES = ELLIPSIS + ACTNN_MAX_RANK };

typedef uint64_t IndexSet;
#define ONE(index) ((IndexSet)1 << (index))

typedef struct Term {
  ValueId value;
  int rank;
  int index[ACTNN_MAX_RANK];
  int64_t extent[ACTNN_MAX_RANK];
} Term;

typedef struct Equation {
  Program *program;
  NodeId id;
  int64_t extent[INDICES]; /* 0: the index does not occur; otherwise one more than its extent */
  int order[INDICES];      /* of axes of one group: indices as the result has them, then those that it does not have */
} Equation;

static bool
refuse(const Equation *equation, const char *problem)
{
  return report_node(equation->program, equation->id, NULL, "equation '%.80s': %s",
                     string_attribute(node_at(equation->program, equation->id), "equation", ""), problem);
}

static IndexSet
indices_of(const Term *term)
{
  IndexSet set = 0;
  for (int i = 0; i < term->rank; i++) set |= ONE(term->index[i]);
  return set;
}

/* ---- the equation -------------------------------------------------------------------------------- */

/* Letters and the ellipsis of one term, up to a comma, an arrow or the end; `missing` axes are the ellipsis's, -1: as many as there
 * are. Advances *text. */
static bool
read_term(const Equation *equation, const char **text, int axes, int missing, Term *term)
{
  const char *from = *text;
  int letters = 0, dots = 0;
  const char *end = from + strcspn(from, ",-");
  for (const char *at = from; at < end; at++) {
    letters += *at != ' ' && *at != '.';
    dots += *at == '.';
  }
  if (missing < 0) missing = axes - letters;
  if (dots != 0 && dots != 3) return refuse(equation, "an ellipsis has three dots");
  if (missing < 0 || (!dots && axes >= 0 && missing != 0)) return refuse(equation, "a term does not have its operand's number of axes");
  term->rank = 0;
  for (const char *at = from; at < end; at++) {
    if (*at == ' ') continue;
    if (*at == '.') {
      if (strncmp(at, "...", 3)) return refuse(equation, "an ellipsis has three dots");
      at += 2;
      if (term->rank + missing > ACTNN_MAX_RANK) return refuse(equation, "too many axes");
      for (int i = missing; i-- > 0;) term->index[term->rank++] = ELLIPSIS + i;
      continue;
    }
    bool is_small = *at >= 'a' && *at <= 'z', is_capital = *at >= 'A' && *at <= 'Z';
    if (!is_small && !is_capital) return refuse(equation, "indices are letters");
    if (term->rank == ACTNN_MAX_RANK) return refuse(equation, "too many axes");
    term->index[term->rank++] = is_capital ? *at - 'A' : *at - 'a' + 26;
  }
  *text = end;
  return true;
}

/* Extents of an operand's axes; those of the same index agree, or are 1. */
static bool
measure(Equation *equation, Term *term)
{
  const Value *value = value_at(equation->program, term->value);
  for (int i = 0; i < term->rank; i++) {
    int64_t extent = term->extent[i] = value->shape.dim[i], *known = &equation->extent[term->index[i]];
    if (extent < 0) return refuse(equation, "the shape of an operand is not known");
    if (*known && *known != extent + 1 && *known != 2 && extent != 1) return refuse(equation, "an index has two extents");
    if (!*known || *known == 2) *known = extent + 1;
  }
  return true;
}

/* Without an arrow the result has the ellipsis's axes, then each letter that occurs once, in order. */
static bool
read_result(Equation *equation, const char *text, const Term *terms, uint32_t count, Term *result)
{
  int seen[INDICES] = {0}, most = 0;
  for (uint32_t t = 0; t < count; t++)
    for (int i = 0; i < terms[t].rank; i++) {
      seen[terms[t].index[i]]++;
      if (terms[t].index[i] >= ELLIPSIS && terms[t].index[i] - ELLIPSIS >= most) most = terms[t].index[i] - ELLIPSIS + 1;
    }
  if (*text == '-') {
    if (text[1] != '>') return refuse(equation, "an arrow is ->");
    text += 2;
    if (!read_term(equation, &text, -1, most, result)) return false;
    if (*text) return refuse(equation, "something follows the result");
  } else {
    result->rank = 0;
    for (int i = most; i-- > 0;) result->index[result->rank++] = ELLIPSIS + i;
    for (int i = 0; i < ELLIPSIS; i++) {
      if (seen[i] != 1) continue;
      if (result->rank == ACTNN_MAX_RANK) return refuse(equation, "too many axes");
      result->index[result->rank++] = i;
    }
  }
  IndexSet set = 0;
  for (int i = 0; i < result->rank; i++) {
    if (!seen[result->index[i]]) return refuse(equation, "the result has an index that no operand has");
    if (set & ONE(result->index[i])) return refuse(equation, "the result has an index twice");
    set |= ONE(result->index[i]);
  }
  return true;
}

static void
order_indices(Equation *equation, const Term *result)
{
  int count = 0;
  for (int i = 0; i < result->rank; i++) equation->order[count++] = result->index[i];
  for (int index = 0; index < INDICES; index++)
    if (!(indices_of(result) & ONE(index))) equation->order[count++] = index;
}

/* ---- nodes --------------------------------------------------------------------------------------- */

static void
make(Equation *equation, Term *term, const char *operator_name, const ValueId *operands, size_t count)
{
  term->value = make_before(equation->program, equation->id, "", operator_name, operands, count);
}

static void
reshape(Equation *equation, Term *term, const int64_t *extents, int rank)
{
  ValueId operands[] = {term->value, add_int64_constant(equation->program, extents, (size_t)rank)};
  make(equation, term, "Reshape", operands, 2);
  set_int(equation->program, maker_of(equation->program, term->value), "allowzero", 1);
}

/* Axis i of what follows is axis from[i]. */
static void
transpose(Equation *equation, Term *term, const int *from)
{
  int64_t perm[ACTNN_MAX_RANK];
  Term old = *term;
  bool is_same = true;
  for (int i = 0; i < term->rank; i++) {
    perm[i] = from[i];
    is_same &= from[i] == i;
    term->index[i] = old.index[from[i]];
    term->extent[i] = old.extent[from[i]];
  }
  if (is_same) return;
  make(equation, term, "Transpose", &old.value, 1);
  set_ints(equation->program, maker_of(equation->program, term->value), "perm", perm, (size_t)term->rank);
}

/* Sums over the axes whose index is not in `kept`, and over those of extent 1 whose index is longer elsewhere. */
static void
sum_away(Equation *equation, Term *term, IndexSet kept)
{
  int64_t axes[ACTNN_MAX_RANK];
  size_t count = 0;
  int rank = 0;
  for (int i = 0; i < term->rank; i++) {
    if (!(kept & ONE(term->index[i])) || (term->extent[i] == 1 && equation->extent[term->index[i]] != 2)) {
      axes[count++] = i;
      continue;
    }
    term->index[rank] = term->index[i];
    term->extent[rank++] = term->extent[i];
  }
  term->rank = rank;
  if (!count) return;
  ValueId operands[] = {term->value, add_int64_constant(equation->program, axes, count)};
  make(equation, term, "ReduceSum", operands, 2);
  set_int(equation->program, maker_of(equation->program, term->value), "keepdims", 0);
}

/* An index that a term has twice: both axes at the end and as one, of which every n + 1st element is the diagonal's. */
static bool
take_diagonals(Equation *equation, Term *term)
{
  for (int i = 0; i < term->rank; i++)
    for (int j = i + 1; j < term->rank; j++) {
      if (term->index[i] != term->index[j]) continue;
      int64_t n = term->extent[i];
      if (n != term->extent[j] || n > INT32_MAX) return refuse(equation, "a diagonal needs two axes of one extent");
      int from[ACTNN_MAX_RANK], rank = 0;
      for (int k = 0; k < term->rank; k++)
        if (k != i && k != j) from[rank++] = k;
      from[rank] = i;
      from[rank + 1] = j;
      transpose(equation, term, from);
      int64_t flat[ACTNN_MAX_RANK], end = n * n, step = n + 1, start = 0, axis = rank;
      memcpy(flat, term->extent, sizeof flat);
      flat[rank] = end;
      reshape(equation, term, flat, rank + 1);
      ValueId operands[] = {term->value, add_int64_constant(equation->program, &start, 1), add_int64_constant(equation->program, &end, 1),
                            add_int64_constant(equation->program, &axis, 1), add_int64_constant(equation->program, &step, 1)};
      make(equation, term, "Slice", operands, 5);
      term->rank = rank + 1;
      return take_diagonals(equation, term);
    }
  return true;
}

/* Brings the axes of each group together, in the order of the groups. */
static void
order_axes(Equation *equation, Term *term, const IndexSet *groups, int group_count)
{
  int from[ACTNN_MAX_RANK], rank = 0;
  for (int g = 0; g < group_count; g++)
    for (int k = 0; k < INDICES; k++)
      for (int i = 0; i < term->rank; i++)
        if (term->index[i] == equation->order[k] && groups[g] & ONE(equation->order[k])) from[rank++] = i;
  transpose(equation, term, from);
}

/* The product of the extents of a term's axes whose index is in a set; -1 when it cannot be addressed. */
static int64_t
elements_of(const Term *term, IndexSet set)
{
  Shape shape = {.rank = 0};
  int64_t elements;
  for (int i = 0; i < term->rank; i++)
    if (set & ONE(term->index[i])) shape.dim[shape.rank++] = term->extent[i];
  return shape_elements(&shape, &elements) ? elements : -1;
}

/* A term as matrices: its axes of batches, which come first, and two more; where that were too many, batches as one axis. */
static void
make_matrices(Equation *equation, Term *term, IndexSet batch, int64_t batches, int64_t rows, int64_t columns)
{
  int64_t extents[ACTNN_MAX_RANK + 2];
  int rank = 0;
  while (rank < term->rank && batch & ONE(term->index[rank])) {
    extents[rank] = term->extent[rank];
    rank++;
  }
  if (rank + 2 > ACTNN_MAX_RANK) extents[0] = batches, rank = 1;
  extents[rank++] = rows;
  extents[rank++] = columns;
  reshape(equation, term, extents, rank);
}

/* Joins b to a; kept: what the result or a later operand needs. */
static bool
join(Equation *equation, Term *a, Term *b, IndexSet kept)
{
  sum_away(equation, a, kept | indices_of(b));
  sum_away(equation, b, kept | indices_of(a));
  IndexSet both = indices_of(a) & indices_of(b), batch = both & kept, summed = both & ~kept;
  IndexSet rows = indices_of(a) & ~both, columns = indices_of(b) & ~both;
  Term result = {.rank = 0};
  order_axes(equation, a, (IndexSet[]){batch, rows, summed}, 3);
  order_axes(equation, b, (IndexSet[]){batch, summed, columns}, 3);
  for (int i = 0; i < a->rank + b->rank; i++) {
    const Term *of = i < a->rank ? a : b;
    int at = i < a->rank ? i : i - a->rank;
    if (!(ONE(of->index[at]) & (i < a->rank ? batch | rows : columns))) continue;
    if (result.rank == ACTNN_MAX_RANK) return refuse(equation, "a part of it has too many axes");
    result.index[result.rank] = of->index[at];
    result.extent[result.rank++] = of->extent[at];
  }
  int64_t batches = elements_of(a, batch), height = elements_of(a, rows), depth = elements_of(a, summed), width = elements_of(b, columns);
  if (batches < 0 || height < 0 || depth < 0 || width < 0) return refuse(equation, "its parts are too large");
  make_matrices(equation, a, batch, batches, height, depth);
  make_matrices(equation, b, batch, batches, depth, width);
  /* Where nothing is summed over, depth is 1 and a product element by element, broadcast, does it. */
  make(equation, &result, summed ? "MatMul" : "Mul", (ValueId[]){a->value, b->value}, 2);
  reshape(equation, &result, result.extent, result.rank);
  *a = result;
  return true;
}

bool
rewrite_einsum(Program *program, NodeId id)
{
  const Node node = *node_at(program, id);
  Equation equation = {.program = program, .id = id};
  const char *text = string_attribute(&node, "equation", "");
  Term result = {.rank = 0}, *terms = arena_array(program->arena, node.operand_count + 1, sizeof *terms);
  for (uint32_t t = 0; t < node.operand_count; t++) {
    const Value *value = operand_value(program, &node, t);
    if (!value || !is_floating_value(value)) return refuse(&equation, "operands are tensors of floats");
    if (value->shape.rank < 0) return refuse(&equation, "the shape of an operand is not known");
    terms[t].value = operand_id(&node, t);
    if (t && *text++ != ',') return refuse(&equation, "there are fewer terms than operands");
    if (!read_term(&equation, &text, value->shape.rank, -1, &terms[t]) || !measure(&equation, &terms[t])) return false;
  }
  if (!node.operand_count || *text == ',') return refuse(&equation, "there are more terms than operands");
  if (!read_result(&equation, text, terms, node.operand_count, &result)) return false;
  order_indices(&equation, &result);
  for (uint32_t t = 0; t < node.operand_count; t++)
    if (!take_diagonals(&equation, &terms[t])) return false;
  for (uint32_t t = 1; t < node.operand_count; t++) {
    IndexSet kept = indices_of(&result);
    for (uint32_t later = t + 1; later < node.operand_count; later++) kept |= indices_of(&terms[later]);
    if (!join(&equation, &terms[0], &terms[t], kept)) return false;
  }
  sum_away(&equation, &terms[0], indices_of(&result));
  int from[ACTNN_MAX_RANK];
  for (int i = 0; i < result.rank; i++)
    for (int k = 0; k < terms[0].rank; k++)
      if (terms[0].index[k] == result.index[i]) from[i] = k;
  if (terms[0].rank != result.rank) return refuse(&equation, "an index of the result is shorter than elsewhere");
  transpose(&equation, &terms[0], from);
  drop_attributes(program, id, "equation", NULL);
  become(program, id, "", "Identity", &terms[0].value, 1);
  return true;
}
