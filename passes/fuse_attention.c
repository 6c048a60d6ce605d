/* fuse-attention: spells attention as one operator, whose backward computes the probabilities again from exact q and k.
 * needs: recognize.  keeps: values, up to rounding, and dropout's draws.  makes: of O = Dropout(Softmax(mask(scale * q k))) v, each step of
 * which but the two products may be missing: Attention(q, k, v, mask), and nothing of the extents of the scores is ever whole in memory
 * (FlashAttention, Dao et al. 2022, arXiv 2205.14135). A mask that follows from constants and blocks all above the
 * diagonal and nothing else becomes an attribute; of two masks, as where positions have numbers of their own under it, one is made otherwise.
 * The outer may see scores with other leading axes.
 *
 * Whether this pass is to change anything is found out before (src/choose_attention.c). */
#include "passes.h"

#include "../src/constant_folding.h"
#include "../src/rewrite.h"

#include <math.h>
#include <string.h>

PassFunction fuse_attention, simplify;

static const double BLOCKS = -10000, SWALLOWS = -1e30; /* a number that blocks; one that a score changes nothing of when it is added */

/* What is found, from the last product to the first. */
typedef struct Chain {
  Program *program;
  const uint32_t *uses;
  KnownValues *known; /* masks */
  NodeId product;     /* of probabilities and v */
  NodeId dropout;     /* NO_NODE */
  Shape scores, view; /* view: as a mask sees scores, whose leading axes it may divide otherwise, as Swin's does into images and windows */
  ValueId q, k, v, mask, added; /* mask: NO_VALUE; added: floats that scores had before the mask, NO_VALUE */
  ValueId blocking;             /* the number `never` that a mask of bool has */
  bool transposes_k, transposes_v, is_guarded, is_inverse; /* is_inverse: blocked where the mask is true */
  double scale, never;
} Chain;

/* The forward node of that name by which a value is made for one reader alone; NULL. */
static const Node *
made_by(const Chain *chain, ValueId value, const char *name)
{
  if (value == NO_VALUE) return NULL;
  const Value *made = value_at(chain->program, value);
  if (made->producer == NO_NODE || made->is_output || chain->uses[value] != 1 || !is_operator(chain->program, made->producer, name)) return NULL;
  const Node *node = node_at(chain->program, made->producer);
  return node->phase == PHASE_FORWARD && result_id(node, 0) == value ? node : NULL;
}

static bool
is_plain_product(const Node *product)
{
  return operand_id(product, 2) == NO_VALUE && !int_attribute(product, "transA", 0);
}

static bool
is_viewed(const Chain *chain)
{
  return !shape_equal(&chain->view, &chain->scores);
}

/* How many of the last axes are the same in both views. */
static int
axes_alike(const Chain *chain)
{
  const Shape *a = &chain->scores, *b = &chain->view;
  int count = 0;
  while (count < a->rank && count < b->rank && a->dim[a->rank - 1 - count] == b->dim[b->rank - 1 - count]) count++;
  return count;
}

/* What is added to scores in one view is so in the other. */
static bool
fits_both(const Chain *chain, ValueId value)
{
  const Shape *shape = &value_at(chain->program, value)->shape;
  for (int i = 0; i + axes_alike(chain) < shape->rank; i++)
    if (shape->dim[i] != 1 && is_viewed(chain)) return false;
  return true;
}

/* q k, alike but for the last two axes; neither is broadcast. */
static bool
find_scores(Chain *chain, ValueId scores)
{
  const Node *product = made_by(chain, scores, "Product");
  if (!product || !is_plain_product(product)) return false;
  chain->q = operand_id(product, 0);
  chain->k = operand_id(product, 1);
  chain->transposes_k = int_attribute(product, "transB", 0) != 0;
  const Shape *q = &value_at(chain->program, chain->q)->shape, *k = &value_at(chain->program, chain->k)->shape;
  const Shape *v = &value_at(chain->program, chain->v)->shape;
  if (q->rank < 2 || k->rank != q->rank || v->rank != q->rank || !shape_equal(&value_at(chain->program, scores)->shape, &chain->scores))
    return false;
  for (int i = 0; i + 2 < q->rank; i++)
    if (k->dim[i] != q->dim[i] || v->dim[i] != q->dim[i]) return false;
  return true;
}

/* The same, times or over a number. */
static bool
find_scaled(Chain *chain, ValueId scores)
{
  const Node *node;
  chain->scale = 1;
  if ((node = made_by(chain, scores, "Mul"))) {
    bool comes_first = constant_real(chain->program, operand_id(node, 0), &chain->scale);
    if (!comes_first && !constant_real(chain->program, operand_id(node, 1), &chain->scale)) return false;
    scores = operand_id(node, comes_first);
  } else if ((node = made_by(chain, scores, "Div"))) {
    if (!constant_real(chain->program, operand_id(node, 1), &chain->scale) || chain->scale == 0) return false;
    chain->scale = 1 / chain->scale;
    scores = operand_id(node, 0);
  }
  return isfinite(chain->scale) && find_scores(chain, scores);
}

/* The same, with floats added. */
static bool
find_added(Chain *chain, ValueId scores)
{
  const Node *node;
  chain->added = NO_VALUE;
  if (is_viewed(chain)) {
    if (!(node = made_by(chain, scores, "Reshape"))) return false;
    scores = operand_id(node, 0);
  }
  if (!(node = made_by(chain, scores, "Add"))) return find_scaled(chain, scores);
  for (uint32_t i = 0; i < 2; i++) {
    chain->added = operand_id(node, i);
    bool may_be_added = value_at(chain->program, chain->added)->type == ACTNN_F32 && fits_both(chain, chain->added);
    if (may_be_added && find_scaled(chain, operand_id(node, 1 - i))) return true;
  }
  return false;
}

/* mask ? scores : never, or the other way round. */
static bool
find_selected(Chain *chain, const Node *where)
{
  chain->mask = operand_id(where, 0);
  chain->is_inverse = constant_real(chain->program, operand_id(where, 1), &chain->never);
  if (!chain->is_inverse && !constant_real(chain->program, operand_id(where, 2), &chain->never)) return false;
  chain->blocking = operand_id(where, chain->is_inverse ? 1 : 2);
  return value_at(chain->program, chain->mask)->type == ACTNN_BOOL && find_added(chain, operand_id(where, chain->is_inverse ? 2 : 1));
}

static bool
find_masked(Chain *chain, ValueId scores)
{
  const Node *node;
  chain->mask = chain->added = NO_VALUE;
  chain->view = chain->scores;
  if ((node = made_by(chain, scores, "Reshape"))) {
    scores = operand_id(node, 0);
    chain->view = value_at(chain->program, scores)->shape;
    if (axes_alike(chain) < 2 || chain->view.rank < 2) return false;
  }
  if ((node = made_by(chain, scores, "Where"))) return find_selected(chain, node);
  if (!(node = made_by(chain, scores, "Add"))) return !is_viewed(chain) && find_scaled(chain, scores);
  for (uint32_t i = 0; i < 2; i++) {
    chain->mask = operand_id(node, i);
    if (value_at(chain->program, chain->mask)->type == ACTNN_F32 && find_added(chain, operand_id(node, 1 - i))) return true;
  }
  return false;
}

static bool
find_chain(Chain *chain, NodeId id)
{
  const Node *product = node_at(chain->program, id);
  if (product->phase != PHASE_FORWARD || strcmp(product->operator_name, "Product") || !is_plain_product(product)) return false;
  ValueId probabilities = operand_id(product, 0);
  chain->product = id;
  chain->v = operand_id(product, 1);
  chain->transposes_v = int_attribute(product, "transB", 0) != 0;
  const Node *node = made_by(chain, probabilities, "Dropout");
  chain->dropout = node ? value_at(chain->program, probabilities)->producer : NO_NODE;
  if (node && result_id(node, 1) != NO_VALUE && (chain->uses[result_id(node, 1)] || result_value(chain->program, node, 1)->is_output)) return false;
  if (node) probabilities = operand_id(node, 0);
  if (!(node = made_by(chain, probabilities, "Softmax"))) return false;
  const Value *p = value_at(chain->program, probabilities);
  int64_t axis = int_attribute(node, "axis", -1);
  chain->scores = p->shape;
  chain->is_guarded = int_attribute(node, "guarded", 0) != 0;
  return p->type == ACTNN_F32 && (axis == -1 || axis == p->shape.rank - 1) && find_masked(chain, operand_id(node, 0));
}

/* ---- masks --------------------------------------------------------------------------------------------- */

static bool
is_false(const Value *mask, int64_t element)
{
  return mask->type == ACTNN_BOOL && !((const unsigned char *)mask->data)[element];
}

static bool
is_true(const Value *mask, int64_t element)
{
  return mask->type == ACTNN_BOOL && ((const unsigned char *)mask->data)[element];
}

static bool
is_zero(const Value *mask, int64_t element)
{
  return mask->type == ACTNN_F32 && ((const float *)mask->data)[element] == 0;
}

/* The number that the mask has right of the first row's diagonal, so low that a score added to it changes nothing. */
static bool
is_swallowing(const Value *mask, int64_t element)
{
  return mask->type == ACTNN_F32 && ((const float *)mask->data)[element] <= SWALLOWS
         && ((const float *)mask->data)[element] == ((const float *)mask->data)[1];
}

/* What is true of the mask above the diagonal and up to it. */
static bool
find_causal(Chain *chain, bool *is_pure)
{
  int64_t extent = chain->scores.dim[chain->scores.rank - 1];
  *is_pure = false;
  if (extent < 2 || extent != chain->scores.dim[chain->scores.rank - 2]) return false;
  const Value *mask = known_value(chain->known, chain->program, chain->mask);
  if (!mask) return false;
  if (mask->type == ACTNN_BOOL) {
    *is_pure = holds_of_triangle(mask, extent, false, chain->is_inverse ? is_false : is_true);
    return chain->never <= BLOCKS && holds_of_triangle(mask, extent, true, chain->is_inverse ? is_true : is_false);
  }
  *is_pure = holds_of_triangle(mask, extent, false, is_zero);
  if (!*is_pure || !holds_of_triangle(mask, extent, true, is_swallowing)) return false;
  chain->never = ((const float *)mask->data)[1];
  return true;
}

/* True where the mask is false: of a constant another constant. */
static ValueId
inverse_of(const Chain *chain, NodeId like, uint32_t position, Insertions *insertions)
{
  Program *program = chain->program;
  const Value *mask = value_at(program, chain->mask);
  int64_t elements;
  if (mask->kind != VALUE_CONSTANT || !mask->data || !shape_elements(&mask->shape, &elements)) {
    ValueId inverse = insert_node(program, PHASE_FORWARD, position, "", "Not", like, &chain->mask, 1, insertions);
    infer_node(program, value_at(program, inverse)->producer);
    return inverse;
  }
  unsigned char *inverse = arena_allocate(program->arena, (size_t)elements + 1);
  for (int64_t i = 0; i < elements; i++) inverse[i] = !((const unsigned char *)mask->data)[i];
  return add_constant(program, NULL, ACTNN_BOOL, mask->shape, inverse, (size_t)elements);
}

/* Of two masks a bool one other than the diagonal's is added; what it blocks must come out as it did. */
static bool
may_be_joined(Chain *chain)
{
  bool is_pure = false, is_selected = chain->added != NO_VALUE && value_at(chain->program, chain->mask)->type == ACTNN_BOOL;
  return !is_selected || chain->never <= SWALLOWS || (find_causal(chain, &is_pure) && is_pure);
}

/* One mask of floats of two: what was added first, and the mask, or where that is bool what lets no score through. */
static ValueId
join_masks(const Chain *chain, uint32_t position, Insertions *insertions)
{
  Program *program = chain->program;
  bool selects = value_at(program, chain->mask)->type == ACTNN_BOOL;
  ValueId selected[] = {chain->mask, chain->is_inverse ? chain->blocking : chain->added, chain->is_inverse ? chain->added : chain->blocking};
  ValueId terms[] = {chain->added, chain->mask};
  ValueId joined = selects ? insert_node(program, PHASE_FORWARD, position, "", "Where", chain->product, selected, 3, insertions)
                           : insert_node(program, PHASE_FORWARD, position, "", "Add", chain->product, terms, 2, insertions);
  infer_node(program, value_at(program, joined)->producer);
  return joined;
}

/* [.., S, E] of v [.., E, S]. */
static ValueId
transpose_of(const Chain *chain, uint32_t position, Insertions *insertions)
{
  Program *program = chain->program;
  int64_t perm[ACTNN_MAX_RANK];
  int rank = value_at(program, chain->v)->shape.rank;
  for (int i = 0; i < rank; i++) perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
  ValueId transpose = insert_node(program, PHASE_FORWARD, position, "", "Transpose", chain->product, &chain->v, 1, insertions);
  NodeId maker = value_at(program, transpose)->producer;
  set_ints(program, maker, "perm", perm, (size_t)rank);
  infer_node(program, maker);
  return transpose;
}

static ValueId
reshaped(const Chain *chain, ValueId value, const Shape *shape, uint32_t position, Insertions *insertions)
{
  Program *program = chain->program;
  ValueId operands[] = {value, add_int64_constant(program, shape->dim, (size_t)shape->rank)};
  ValueId result = insert_node(program, PHASE_FORWARD, position, "", "Reshape", chain->product, operands, 2, insertions);
  infer_node(program, value_at(program, result)->producer);
  return result;
}

/* q, k or v with the leading axes that the mask's view has. */
static ValueId
in_view(const Chain *chain, ValueId value, uint32_t position, Insertions *insertions)
{
  Shape own = value_at(chain->program, value)->shape, shape = chain->view;
  for (int i = 1; i <= 2; i++) shape.dim[shape.rank - i] = own.dim[own.rank - i];
  return is_viewed(chain) ? reshaped(chain, value, &shape, position, insertions) : value;
}

/* ---- the operator ------------------------------------------------------------------------------------------ */

static bool
fuse_chain(Chain *chain, uint32_t position, Insertions *insertions)
{
  Program *program = chain->program;
  ValueId operands[] = {chain->q, chain->k, chain->v, NO_VALUE, NO_VALUE, NO_VALUE};
  size_t count = 3;
  if (chain->transposes_v) operands[2] = transpose_of(chain, position, insertions);
  for (int i = 0; i < 3; i++) operands[i] = in_view(chain, operands[i], position, insertions);
  bool is_pure = false, is_causal = chain->mask != NO_VALUE && find_causal(chain, &is_pure);
  if (chain->added != NO_VALUE) {
    operands[3] = is_causal && is_pure ? chain->added : join_masks(chain, position, insertions);
    count = 4;
  } else if (chain->mask != NO_VALUE && !(is_causal && is_pure)) {
    operands[3] = chain->is_inverse ? inverse_of(chain, chain->product, position, insertions) : chain->mask;
    count = 4;
  }
  if (chain->dropout != NO_NODE) {
    const Node *dropout = node_at(program, chain->dropout);
    operands[4] = operand_id(dropout, 1);
    operands[5] = operand_id(dropout, 2);
    count = 6;
  }
  NodeId attention = chain->product;
  if (is_viewed(chain)) {
    ValueId result = insert_node(program, PHASE_FORWARD, position, "actnn", "Attention", chain->product, operands, count, insertions);
    attention = value_at(program, result)->producer;
    Shape shape = result_value(program, node_at(program, chain->product), 0)->shape;
    ValueId viewed[] = {result, add_int64_constant(program, shape.dim, (size_t)shape.rank)};
    become(program, chain->product, "", "Reshape", viewed, 2);
  } else {
    become(program, chain->product, "actnn", "Attention", operands, count);
  }
  drop_attributes(program, chain->product, "transA", "transB", NULL);
  set_int(program, attention, "transB", chain->transposes_k);
  set_float(program, attention, "scale", chain->scale);
  set_float(program, attention, "never", chain->never);
  set_int(program, attention, "causal", is_causal);
  if (chain->is_guarded) set_int(program, attention, "guarded", 1);
  if (chain->dropout != NO_NODE) set_int(program, attention, "random_id", int_attribute(node_at(program, chain->dropout), "random_id", 0));
  ValueId sums = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){.rank = -1});
  value_at(program, sums)->producer = attention;
  set_result(program, attention, 1, sums);
  return infer_node(program, attention) && infer_node(program, chain->product);
}

bool
fuse_attention(Program *program, const Options *options)
{
  if (options->attention && !strcmp(options->attention, "separate")) return true;
  Insertions insertions = {0};
  const uint32_t *uses = count_uses(program);
  KnownValues known = start_knowing();
  bool is_good = true;
  for (uint32_t i = 0; i < program->order_count && is_good; i++) {
    Chain chain = {.program = program, .uses = uses, .known = &known};
    is_good = !find_chain(&chain, program->order[i]) || !may_be_joined(&chain) || fuse_chain(&chain, i, &insertions);
  }
  arena_destroy(known.arena);
  if (!is_good) return false;
  apply_insertions(program, &insertions);
  return simplify(program, options);
}
