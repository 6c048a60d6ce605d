/* linearize-attention: the gradient of softmax in attention reads the probabilities once.
 * needs: linearize-saves.  keeps: gradients.  makes: of SoftmaxGrad(dP, P), where P alone feeds (through Dropout or not) a product
 * O = P V: SoftmaxGradAlong(dP, along, P) with along = rowsum(dO * O), where O is the value that backward reads for the next
 * layer's weight gradient, and the product is moved back as its gradient was.
 *
 * dS = P * (dP - rowsum(dP * P)) is quadratic in P, and so biased for a coded P. But rowsum(dP * P) = rowsum(dO * O): with
 * D = m * P what dropout leaves of P and dD = dO V', dP = m * dD, so sum_k dP P = sum_k dD D = dO V' D' = dO O' row by row. O has a
 * code of its own, whose errors are independent of P's: then dS is linear in each (compression.md, section 4, case 6). What
 * dropout leaves of P is replayed from P where the gradient of V needs it, so that one code of P serves both products.
 *
 * The gradient of attention in one operator has that row sum from the start. There, too, it is then taken of the O that backward reads. */
#include "passes.h"

#include <string.h>

PassFunction linearize_attention, simplify;

enum { MOST_MOVES = 8 };

/* What belongs together. */
typedef struct Attention {
  NodeId gradient;           /* SoftmaxGrad, or the product dO * O */
  ValueId p, d, o;           /* probabilities, what dropout leaves of them (p itself without), result of the product */
  ValueId d_o;               /* gradient of o */
  NodeId replay;             /* DropoutReplay of d's gradient; NO_NODE */
  ValueId kept, d_kept;      /* o moved to where backward reads it anyway, and the gradient there; o and d_o otherwise */
  NodeId move[MOST_MOVES];   /* what moved the gradient of `kept` to that of o, last first */
  uint32_t moves;
} Attention;

/* The one forward node that reads a value; NO_NODE when there are none or several. */
static NodeId
forward_reader(const Program *program, ValueId value)
{
  NodeId found = NO_NODE;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (node->phase != PHASE_FORWARD) continue;
    for (uint32_t k = 0; k < node->operand_count; k++) {
      if (node->operands[k] != value) continue;
      if (found != NO_NODE) return NO_NODE;
      found = program->order[i];
    }
  }
  return found;
}

static NodeId
producer_of(const Program *program, ValueId value)
{
  return value_at(program, value)->producer;
}

/* True when the product's gradient for operand 0 is the node `id`, which is read by the softmax's side alone. */
static bool
is_gradient_of_product(const Program *program, NodeId id, NodeId product)
{
  if (!is_operator(program, id, "Product")) return false;
  const Node *gradient = node_at(program, id), *forward = node_at(program, product);
  return gradient->origin == product && operand_id(gradient, 1) == operand_id(forward, 1) && operand_id(gradient, 2) == NO_VALUE
         && operand_id(forward, 2) == NO_VALUE && !int_attribute(forward, "transA", 0) && !int_attribute(gradient, "transA", 0)
         && int_attribute(gradient, "transB", 0) == 1 - int_attribute(forward, "transB", 0)
         && shape_equal(&result_value(program, gradient, 0)->shape, &operand_value(program, forward, 0)->shape);
}

/* Finds dropout and product on either side. */
static bool
find_product(const Program *program, Attention *found)
{
  const Node *softmax_gradient = node_at(program, found->gradient);
  ValueId incoming = operand_id(softmax_gradient, 0);
  NodeId reader = forward_reader(program, found->p), maker = producer_of(program, incoming);
  found->d = found->p;
  found->replay = NO_NODE;
  if (is_operator(program, reader, "Dropout")) {
    found->d = result_id(node_at(program, reader), 0);
    if (!is_operator(program, maker, "DropoutReplay") || node_at(program, maker)->origin != reader) return false;
    found->replay = maker;
    maker = producer_of(program, operand_id(node_at(program, maker), 0));
    reader = forward_reader(program, found->d);
  }
  if (!is_operator(program, reader, "Product") || operand_id(node_at(program, reader), 0) != found->d
      || operand_id(node_at(program, reader), 1) == found->d || !is_gradient_of_product(program, maker, reader))
    return false;
  found->o = result_id(node_at(program, reader), 0);
  found->d_o = operand_id(node_at(program, maker), 0);
  return shape_equal(&value_at(program, found->o)->shape, &value_at(program, found->d_o)->shape);
}

static bool
is_move(const Node *node)
{
  static const char *const names[] = {"Reshape", "Transpose", "TransposeInverse", "Squeeze", "Unsqueeze", "Flatten"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(node->operator_name, names[i])) return true;
  return false;
}

/* Follows o forward, and its gradient back, through what only moves elements, up to a value that backward reads anyway. */
static void
find_kept(const Program *program, Attention *found, const bool *read_by_backward)
{
  ValueId value = found->o, gradient = found->d_o;
  uint32_t moves = 0;
  found->kept = found->o;
  found->d_kept = found->d_o;
  found->moves = 0;
  while (!read_by_backward[value] && moves < MOST_MOVES) {
    NodeId forward = forward_reader(program, value), back = producer_of(program, gradient);
    if (forward == NO_NODE || back == NO_NODE || !is_move(node_at(program, forward)) || !is_move(node_at(program, back))) return;
    if (node_at(program, back)->origin != forward || node_at(program, back)->phase != PHASE_BACKWARD) return;
    found->move[moves++] = back;
    value = result_id(node_at(program, forward), 0);
    gradient = operand_id(node_at(program, back), 0);
    if (!shape_equal(&value_at(program, value)->shape, &value_at(program, gradient)->shape)) return;
  }
  if (!read_by_backward[value]) return;
  found->kept = value;
  found->d_kept = gradient;
  found->moves = moves;
}

static bool
is_read_elsewhere(const Program *program, ValueId value, NodeId reader)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; runs_after_forward(node) && program->order[i] != reader && k < node->operand_count; k++)
      if (node->operands[k] == value) return true;
  }
  return false;
}

/* The product dO * O in the gradient of attention in one operator, where O can be had from what backward reads anyway. */
static bool
find_fused(const Program *program, NodeId id, bool *read_by_backward, Attention *found)
{
  const Node *node = node_at(program, id);
  if (node->phase != PHASE_BACKWARD || strcmp(node->operator_name, "Mul") || !is_operator(program, node->origin, "Attention")) return false;
  *found = (Attention){.gradient = id, .d_o = operand_id(node, 0), .o = operand_id(node, 1)};
  if (found->o != result_id(node_at(program, node->origin), 0)) return false;
  read_by_backward[found->o] = is_read_elsewhere(program, found->o, id);
  find_kept(program, found, read_by_backward);
  return found->moves > 0;
}

static bool
find_attention(const Program *program, NodeId id, const bool *read_by_backward, Attention *found)
{
  const Node *node = node_at(program, id);
  if (node->phase != PHASE_BACKWARD || strcmp(node->operator_name, "SoftmaxGrad")) return false;
  *found = (Attention){.gradient = id, .p = operand_id(node, 1)};
  int64_t last = value_at(program, found->p)->shape.rank - 1, axis = int_attribute(node, "axis", -1);
  if ((axis != last && axis != -1) || !is_operator(program, producer_of(program, found->p), "Softmax")) return false;
  if (!find_product(program, found)) return false;
  find_kept(program, found, read_by_backward);
  return true;
}

/* The same node on another first operand, in front of the one at `position`; its result. */
static ValueId
insert_copy(Program *program, uint32_t position, NodeId original, ValueId operand, Insertions *insertions)
{
  const Node node = *node_at(program, original);
  ValueId *operands = arena_array(program->arena, node.operand_count, sizeof *operands);
  memcpy(operands, node.operands, node.operand_count * sizeof *operands);
  operands[0] = operand;
  ValueId result = insert_node(program, PHASE_BACKWARD, position, node.domain, node.operator_name, original, operands, node.operand_count,
                               insertions);
  NodeId copy = value_at(program, result)->producer;
  for (uint32_t i = 0; i < node.attribute_count; i++) set_attribute(program, copy, node.attributes[i]);
  infer_node(program, copy);
  return result;
}

/* dO * O, multiplied where O is kept, and moved to where the gradient of O is. */
static ValueId
multiply_kept(Program *program, uint32_t position, const Attention *found, Insertions *insertions)
{
  ValueId factors[] = {found->d_kept, found->kept};
  ValueId product = insert_node(program, PHASE_BACKWARD, position, "", "Mul", found->gradient, factors, 2, insertions);
  infer_node(program, value_at(program, product)->producer);
  for (uint32_t i = found->moves; i-- > 0;) product = insert_copy(program, position, found->move[i], product, insertions);
  return product;
}

/* rowsum(dO * O) */
static ValueId
sum_along(Program *program, uint32_t position, const Attention *found, Insertions *insertions)
{
  ValueId product = multiply_kept(program, position, found, insertions);
  int64_t axis = value_at(program, product)->shape.rank - 1;
  ValueId operands[] = {product, add_int64_constant(program, &axis, 1)};
  ValueId sum = insert_node(program, PHASE_BACKWARD, position, "", "ReduceSum", found->gradient, operands, 2, insertions);
  set_int(program, value_at(program, sum)->producer, "keepdims", 1);
  infer_node(program, value_at(program, sum)->producer);
  return sum;
}

/* What dropout leaves of the probabilities is made again from them for each backward reader. */
static void
replay_dropout(Program *program, const Attention *found, Insertions *insertions)
{
  for (uint32_t i = 0; found->replay != NO_NODE && i < program->order_count; i++) {
    NodeId reader = program->order[i];
    for (uint32_t k = 0; node_at(program, reader)->phase == PHASE_BACKWARD && k < node_at(program, reader)->operand_count; k++)
      if (operand_id(node_at(program, reader), k) == found->d)
        set_operand(program, reader, k, insert_copy(program, i, found->replay, found->p, insertions));
  }
}

static void
rewrite_gradient(Program *program, uint32_t position, const Attention *found, Insertions *insertions)
{
  ValueId along = sum_along(program, position, found, insertions);
  ValueId operands[] = {operand_id(node_at(program, found->gradient), 0), along, found->p};
  Node *node = node_at(program, found->gradient);
  node->operator_name = "SoftmaxGradAlong";
  node->operator = find_operator("actnn", node->operator_name);
  node->operands = arena_array(program->arena, 3, sizeof *operands);
  memcpy(node->operands, operands, sizeof operands);
  node->operand_count = 3;
  remove_attribute(program, found->gradient, "axis");
}

bool
linearize_attention(Program *program, const Options *options)
{
  Insertions insertions = {0};
  bool *read = values_read_by_backward(program);
  for (uint32_t i = 0; i < program->order_count; i++) {
    Attention found;
    NodeId id = program->order[i];
    if (find_fused(program, id, read, &found)) {
      replace_uses(program, result_id(node_at(program, id), 0), multiply_kept(program, i, &found, &insertions));
    } else if (codes_derived_values(options) && find_attention(program, id, read, &found)) {
      rewrite_gradient(program, i, &found, &insertions);
      replay_dropout(program, &found, &insertions);
    }
  }
  apply_insertions(program, &insertions);
  return !program->diagnostics->errors && simplify(program, options); /* products that were moved are read no more */
}
