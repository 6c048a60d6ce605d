/* recognize: spells as one operator what exporters write as several.
 * needs: simplify.  keeps: values, up to rounding.  makes: Gelu (both forms), Swish, Mish or HardSwish of the elementwise nodes that
 * compute it; a product's own transB where a Transpose of the last two axes alone feeds it, and its bias where an Add follows; a guarded
 * Softmax of one whose NaN become zero. Backward then reads one slope, and not every step on the way; a transposed weight is no value to be
 * saved; libraries add a bias as they write; and a row without probabilities has no gradient that is NaN.
 *
 * Exporters spell an activation in many ways, so what nodes compute is compared, not how: a cone of elementwise nodes whose only
 * leaves are one value and scalar constants is a function of one number. It is evaluated at points that tell activations
 * apart. Only analytic operators are looked through, which cannot agree there and differ elsewhere. */
#include "passes.h"

#include "../src/rewrite.h"

#include <math.h>
#include <string.h>

PassFunction recognize, simplify;

enum { MOST_CONE_NODES = 16, PROBES = 135 };

typedef struct Cone {
  Program *program;
  ValueId x;
  NodeId node[MOST_CONE_NODES]; /* operands first */
  double (*value)[PROBES]; /* by node: its result at each point */
  uint32_t count;
} Cone;

/* From -8 to 8 in steps of an eighth, and far out. */
static double
probe(int index)
{
  static const double far[] = {-60, -20, -11, 11, 20, 60};
  return index < 129 ? -8 + index / 8.0 : far[index - 129];
}

static bool
is_analytic(const Node *node)
{
  static const char *const names[] = {"Add", "Sub", "Mul", "Div", "Pow", "Neg", "Erf", "Tanh",
                                      "Sigmoid", "Exp", "Softplus", "Reciprocal", "HardSigmoid"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(node->operator_name, names[i])) return !node->domain[0] && node->phase == PHASE_FORWARD;
  return false;
}

static bool
is_scalar_constant(const Program *program, ValueId value)
{
  double real;
  return constant_real(program, value, &real);
}

/* Collects what computes `value` from cone->x; false when something else is needed too. */
static bool
collect(Cone *cone, ValueId value)
{
  if (value == cone->x || is_scalar_constant(cone->program, value)) return true;
  NodeId id = value_at(cone->program, value)->producer;
  if (id == NO_NODE || cone->count == MOST_CONE_NODES || !is_analytic(node_at(cone->program, id))) return false;
  for (uint32_t i = 0; i < cone->count; i++)
    if (cone->node[i] == id) return true;
  const Node *node = node_at(cone->program, id);
  for (uint32_t k = 0; k < node->operand_count; k++)
    if (node->operands[k] == NO_VALUE || !collect(cone, node->operands[k])) return false;
  if (cone->count == MOST_CONE_NODES) return false;
  cone->node[cone->count++] = id;
  return shape_equal(&value_at(cone->program, value)->shape, &value_at(cone->program, cone->x)->shape);
}

/* Nothing but the cone reads what it computes on the way to its last node. */
static bool
is_closed(const Cone *cone, const uint32_t *uses)
{
  for (uint32_t i = 0; i + 1 < cone->count; i++) {
    ValueId value = result_id(node_at(cone->program, cone->node[i]), 0);
    uint32_t inside = 0;
    for (uint32_t j = 0; j < cone->count; j++) {
      const Node *reader = node_at(cone->program, cone->node[j]);
      for (uint32_t k = 0; k < reader->operand_count; k++) inside += reader->operands[k] == value;
    }
    if (uses[value] != inside || value_at(cone->program, value)->is_output) return false;
  }
  return true;
}

/* An operand at all points. */
static const double *
points_of(const Cone *cone, ValueId value, uint32_t before, double *room)
{
  double constant;
  for (uint32_t i = 0; i < before; i++)
    if (result_id(node_at(cone->program, cone->node[i]), 0) == value) return cone->value[i];
  bool is_constant = value != cone->x && constant_real(cone->program, value, &constant);
  for (int p = 0; p < PROBES; p++) room[p] = is_constant ? constant : probe(p);
  return room;
}

static void
evaluate_cone(Cone *cone)
{
  static const int64_t extent[] = {PROBES};
  cone->value = arena_array(cone->program->arena, cone->count, sizeof *cone->value);
  for (uint32_t i = 0; i < cone->count; i++) {
    const Node *node = node_at(cone->program, cone->node[i]);
    double room[2][PROBES];
    actnn_view input[2], output = {.data = cone->value[i], .type = ACTNN_F32, .rank = 1, .dim = extent};
    actnn_attribute *attributes;
    size_t count = call_attributes(cone->program, node, &attributes);
    for (uint32_t k = 0; k < node->operand_count && k < 2; k++) {
      const double *points = points_of(cone, node->operands[k], i, room[k]);
      if (points != room[k]) memcpy(room[k], points, sizeof room[k]);
      input[k] = (actnn_view){.data = room[k], .type = ACTNN_F32, .rank = 1, .dim = extent};
    }
    node->operator->evaluate(&(actnn_call){.output_count = 1, .input_count = node->operand_count, .attribute_count = count,
                                           .output = &output, .input = input, .attribute = attributes});
  }
}

/* ---- the activations that are known ---------------------------------------------------------------- */

typedef struct Activation {
  const char *name;
  const char *approximate; /* Gelu */
  bool has_alpha;          /* Swish */
} Activation;

static const Activation activations[] = {{"Gelu", "none", false}, {"Gelu", "tanh", false}, {"Swish", NULL, true},
                                         {"Mish", NULL, false},  {"HardSwish", NULL, false}};

/* x * sigmoid(alpha * x) is sigmoid(alpha) at 1. */
static double
alpha_of(const double *value)
{
  double at_one = value[72];
  return at_one > 0 && at_one < 1 ? log(at_one / (1 - at_one)) : 0;
}

static bool
computes(const Cone *cone, const Activation *activation, double alpha)
{
  static const int64_t extent[] = {PROBES};
  const double *value = cone->value[cone->count - 1];
  double x[PROBES], y[PROBES];
  actnn_view input = {.data = x, .type = ACTNN_F32, .rank = 1, .dim = extent}, output = input;
  actnn_attribute attribute = {.kind = activation->has_alpha ? ACTNN_REAL : ACTNN_ABSENT, .f = alpha, .text = activation->approximate};
  output.data = y;
  for (int p = 0; p < PROBES; p++) x[p] = probe(p);
  find_operator("", activation->name)->evaluate(&(actnn_call){.output_count = 1, .input_count = 1, .attribute_count = 1,
                                                              .output = &output, .input = &input, .attribute = &attribute});
  for (int p = 0; p < PROBES; p++)
    if (!(fabs(value[p] - y[p]) <= 1e-6 * (1 + fabs(y[p])))) return false;
  return true;
}

/* Rewrites the cone's last node if it is an activation of cone->x. */
static bool
spell(Cone *cone)
{
  NodeId root = cone->node[cone->count - 1];
  evaluate_cone(cone);
  double alpha = alpha_of(cone->value[cone->count - 1]);
  for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
    const Activation *activation = &activations[i];
    if (!computes(cone, activation, alpha)) continue;
    become(cone->program, root, "", activation->name, &cone->x, 1);
    if (activation->approximate) set_string(cone->program, root, "approximate", activation->approximate);
    if (activation->has_alpha) set_float(cone->program, root, "alpha", fabs(alpha - 1) < 1e-6 ? 1 : alpha);
    return true;
  }
  return false;
}

/* Tries, as the one operand, each value that the nodes behind `root` read. */
static void
find_activation(Program *program, NodeId root, const uint32_t *uses)
{
  ValueId seen[MOST_CONE_NODES * 2];
  uint32_t count = 0;
  seen[count++] = result_id(node_at(program, root), 0);
  for (uint32_t i = 0; i < count; i++) {
    NodeId id = value_at(program, seen[i])->producer;
    if (i > 0) {
      Cone cone = {.program = program, .x = seen[i]};
      if (uses[seen[i]] > 1 && collect(&cone, seen[0]) && is_closed(&cone, uses) && spell(&cone)) return;
    }
    if (id == NO_NODE || !is_analytic(node_at(program, id))) continue;
    const Node *node = node_at(program, id);
    for (uint32_t k = 0; k < node->operand_count; k++) {
      bool is_new = node->operands[k] != NO_VALUE && count < MOST_CONE_NODES * 2 && !is_scalar_constant(program, node->operands[k]);
      for (uint32_t j = 0; is_new && j < count; j++) is_new = seen[j] != node->operands[k];
      if (is_new) seen[count++] = node->operands[k];
    }
  }
}

/* ---- products ------------------------------------------------------------------------------------------ */

static bool
swaps_last_axes(const Node *node)
{
  const int64_t *perm;
  size_t rank = ints_attribute(node, "perm", &perm);
  if (strcmp(node->operator_name, "Transpose") || rank < 2) return false;
  for (size_t i = 0; i + 2 < rank; i++)
    if (perm[i] != (int64_t)i) return false;
  return perm[rank - 1] == (int64_t)rank - 2;
}

static void
transpose_by_attribute(Program *program, NodeId id)
{
  ValueId b = operand_id(node_at(program, id), 1);
  NodeId maker = b == NO_VALUE ? NO_NODE : value_at(program, b)->producer;
  if (maker == NO_NODE || node_at(program, maker)->phase != PHASE_FORWARD || !swaps_last_axes(node_at(program, maker))) return;
  set_operand(program, id, 1, operand_id(node_at(program, maker), 0));
  set_int(program, id, "transB", 1 - int_attribute(node_at(program, id), "transB", 0));
}

/* Turns an Add of a row to what a product alone makes into the product. */
static void
take_bias(Program *program, NodeId id, const uint32_t *uses)
{
  for (uint32_t k = 0; k < 2; k++) {
    const Node *node = node_at(program, id);
    const Value *y = result_value(program, node, 0), *made = operand_value(program, node, k), *bias = operand_value(program, node, 1 - k);
    if (!y || !made || !bias) return;
    const Node *product = made->producer == NO_NODE ? NULL : node_at(program, made->producer);
    bool is_product = product && !strcmp(product->operator_name, "Product") && product->phase == PHASE_FORWARD;
    if (!is_product || operand_id(product, 2) != NO_VALUE || uses[operand_id(node, k)] != 1 || made->is_output) continue;
    bool is_row = bias->shape.rank == 1 && made->shape.rank > 1 && bias->shape.dim[0] == made->shape.dim[made->shape.rank - 1];
    if (!is_row || bias->type != made->type || !shape_equal(&y->shape, &made->shape)) continue;
    const bool transpose_a = int_attribute(product, "transA", 0), transpose_b = int_attribute(product, "transB", 0);
    ValueId operands[] = {operand_id(product, 0), operand_id(product, 1), operand_id(node, 1 - k)};
    become(program, id, "actnn", "Product", operands, 3);
    if (transpose_a) set_int(program, id, "transA", 1);
    if (transpose_b) set_int(program, id, "transB", 1);
    return;
  }
}

/* ---- softmax --------------------------------------------------------------------------------------------- */

/* The forward node of that name which makes a value for so many readers; NULL. */
static const Node *
made_for(const Program *program, const uint32_t *uses, ValueId value, uint32_t count, const char *name)
{
  if (value == NO_VALUE || uses[value] != count || value_at(program, value)->is_output) return NULL;
  NodeId maker = value_at(program, value)->producer;
  return is_operator(program, maker, name) && node_at(program, maker)->phase == PHASE_FORWARD ? node_at(program, maker) : NULL;
}

/* Where(IsNaN(p), 0, p) of p = Softmax(x). */
static void
guard_softmax(Program *program, NodeId id, const uint32_t *uses)
{
  const Node *where = node_at(program, id);
  ValueId p = operand_id(where, 2);
  const Node *softmax = made_for(program, uses, p, 2, "Softmax"), *test = made_for(program, uses, operand_id(where, 0), 1, "IsNaN");
  double zero;
  if (!softmax || !test || operand_id(test, 0) != p || !constant_real(program, operand_id(where, 1), &zero) || zero != 0) return;
  if (!shape_equal(&value_at(program, p)->shape, &result_value(program, where, 0)->shape)) return;
  ValueId x = operand_id(softmax, 0);
  int64_t axis = int_attribute(softmax, "axis", -1);
  become(program, id, "", "Softmax", &x, 1);
  set_int(program, id, "axis", axis);
  set_int(program, id, "guarded", 1);
}

bool
recognize(Program *program, const Options *options)
{
  const uint32_t *uses = count_uses(program);
  for (uint32_t i = program->order_count; i-- > 0;) {
    NodeId id = program->order[i];
    const Node *node = node_at(program, id);
    if (node->phase != PHASE_FORWARD) continue;
    if (is_operator(program, id, "Add")) take_bias(program, id, uses);
    if (!strcmp(node->operator_name, "Product")) transpose_by_attribute(program, id);
    if (!strcmp(node->operator_name, "Where")) guard_softmax(program, id, uses);
    bool may_be = is_analytic(node) && (!strcmp(node->operator_name, "Mul") || !strcmp(node->operator_name, "Div"));
    if (may_be) find_activation(program, id, uses);
  }
  return simplify(program, options);
}
