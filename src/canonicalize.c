/* canonicalize.c: rewrites that move an attribute to an operand or the other way, or only change a name. What
 * changes how something is computed is in canonicalize_compute.c.
 *
 * A node is rewritten in place, so that its name, its results and its line stay; what it needs beforehand is
 * inserted in front of it. */
#include "canonicalize.h"

#include "rewrite.h"

#include <stdarg.h>
#include <string.h>

/* ---- what rewrites are made of ------------------------------------------------------------------ */

/* The last node of the order moves to right before `id`. */
static void
move_last_before(Program *program, NodeId id)
{
  uint32_t last = program->order_count - 1, position = last;
  NodeId moved = program->order[last];
  while (position > 0 && program->order[position] != id) position--;
  memmove(&program->order[position + 1], &program->order[position], (last - position) * sizeof *program->order);
  program->order[position] = moved;
}

ValueId
make_before(Program *program, NodeId id, const char *domain, const char *operator_name, const ValueId *operands,
            size_t count)
{
  ValueId result = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_UNDEFINED, (Shape){.rank = -1});
  Node like = *node_at(program, id);
  NodeId made = add_node(program, like.phase, domain, operator_name, like.name, operands, count, &result, 1);
  node_at(program, made)->line = like.line;
  node_at(program, made)->origin = like.origin != NO_NODE ? like.origin : id;
  move_last_before(program, id);
  return result;
}

NodeId
maker_of(const Program *program, ValueId value)
{
  return value_at(program, value)->producer;
}

void
become(Program *program, NodeId id, const char *domain, const char *operator_name, const ValueId *operands,
       size_t count)
{
  Node *node = node_at(program, id);
  node->operator= find_operator(domain, operator_name);
  node->domain = domain;
  node->operator_name = operator_name; /* both are string literals of the rewrites */
  node->operands = arena_array(program->arena, count ? count : 1, sizeof *operands);
  if (count) memcpy(node->operands, operands, count * sizeof *operands);
  node->operand_count = (uint32_t)count;
}

void
drop_attributes(Program *program, NodeId id, ...)
{
  va_list names;
  va_start(names, id);
  for (const char *name; (name = va_arg(names, const char *)) != NULL;) remove_attribute(program, id, name);
  va_end(names);
}

bool
is_floating_value(const Value *value)
{
  return value && (value->type == ACTNN_F32 || value->type == ACTNN_F64 || value->type == ACTNN_F16 ||
                   value->type == ACTNN_BF16);
}

/* An attribute that later opsets made an operand. */
static bool
attribute_to_operand(Program *program, NodeId id, const char *name, uint32_t operand)
{
  const Node *node = node_at(program, id);
  const Attribute *a = find_attribute(node, name);
  if (!a) return true;
  if (operand_id(node, operand) == NO_VALUE) {
    ValueId value = NO_VALUE;
    int64_t count = (int64_t)a->count;
    if (a->kind == ATTRIBUTE_INTS) value = add_int64_constant(program, a->ints, a->count);
    if (a->kind == ATTRIBUTE_INT) value = add_int64_constant(program, &a->i, 1);
    if (a->kind == ATTRIBUTE_FLOAT) value = add_scalar_constant(program, a->f);
    if (a->kind == ATTRIBUTE_FLOATS)
      value = add_constant(program, NULL, ACTNN_F64, shape_of(1, &count), a->floats, a->count * sizeof(double));
    if (value == NO_VALUE) return report_node(program, id, NULL, "attribute '%s' holds no numbers", name);
    set_operand(program, id, operand, value);
  }
  remove_attribute(program, id, name);
  return true;
}

/* ---- rewrites ----------------------------------------------------------------------------------- */

/* A Constant is the value it makes. */
static bool
rewrite_constant(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Attribute *a;
  ValueId value = NO_VALUE, result = result_id(node, 0);
  if ((a = find_attribute(node, "value")) != NULL && a->kind == ATTRIBUTE_TENSOR) {
    value = a->tensor;
  } else if ((a = find_attribute(node, "value_int")) != NULL) {
    value = add_constant(program, NULL, ACTNN_I64, shape_of(0, NULL), &a->i, sizeof a->i);
  } else if ((a = find_attribute(node, "value_ints")) != NULL) {
    value = add_int64_constant(program, a->ints, a->count);
  } else if ((a = find_attribute(node, "value_float")) != NULL) {
    value = add_scalar_constant(program, a->f);
  } else if ((a = find_attribute(node, "value_floats")) != NULL) {
    int64_t count = (int64_t)a->count;
    float *floats = arena_array(program->arena, a->count + 1, sizeof *floats);
    for (size_t i = 0; i < a->count; i++) floats[i] = (float)a->floats[i];
    value = add_constant(program, NULL, ACTNN_F32, shape_of(1, &count), floats, a->count * sizeof *floats);
  }
  Value *constant = value == NO_VALUE ? NULL : value_at(program, value);
  int64_t elements;
  if (constant && !constant->data && !constant->data_bytes && shape_elements(&constant->shape, &elements) && !elements) constant->data = "";
  if (!constant || result == NO_VALUE || !constant->data)
    return report_node(program, id, NULL, "it holds no number or list of numbers");
  Value *made = value_at(program, result);
  made->kind = VALUE_CONSTANT;
  made->type = constant->type;
  made->shape = constant->shape;
  made->data = constant->data;
  made->data_bytes = constant->data_bytes;
  for (uint32_t position = 0; position < program->order_count; position++)
    if (program->order[position] == id) {
      remove_from_order(program, position);
      break;
    }
  return true;
}

static bool
rewrite_axes(Program *program, NodeId id)
{
  return attribute_to_operand(program, id, "axes", 1);
}

static bool
rewrite_slice(Program *program, NodeId id)
{
  static const char *const names[] = {"starts", "ends", "axes"};
  for (uint32_t i = 0; i < 3; i++)
    if (!attribute_to_operand(program, id, names[i], i + 1)) return false;
  return true;
}

static bool
rewrite_split(Program *program, NodeId id)
{
  return attribute_to_operand(program, id, "split", 1);
}

static bool
rewrite_pad(Program *program, NodeId id)
{
  return attribute_to_operand(program, id, "pads", 1) && attribute_to_operand(program, id, "paddings", 1)
         && attribute_to_operand(program, id, "value", 2);
}

static bool
rewrite_reshape(Program *program, NodeId id)
{
  return attribute_to_operand(program, id, "shape", 1);
}

static bool
rewrite_tile(Program *program, NodeId id)
{
  return attribute_to_operand(program, id, "repeats", 1);
}

static bool
rewrite_top_k(Program *program, NodeId id)
{
  return attribute_to_operand(program, id, "k", 1);
}

static bool
rewrite_concat(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  if (!find_attribute(node, "axis")) set_int(program, id, "axis", 1); /* opset 1's default */
  return true;
}

/* Before opset 12 a Dropout has no training mode that could be asked for, and the standard lets it do nothing. */
static bool
rewrite_dropout(Program *program, NodeId id)
{
  static const unsigned char no = 0;
  int64_t version = opset_version(program, "");
  if (version == 0 || version >= 12) return true;
  if (!find_attribute(node_at(program, id), "ratio") && operand_id(node_at(program, id), 2) != NO_VALUE)
    return true;
  warn(program->diagnostics, program->source,
       "Dropout '%s' of opset %lld has no training mode and drops nothing; export with opset 12 or later",
       safe_name(program->arena, node_at(program, id)->name), (long long)version);
  if (!attribute_to_operand(program, id, "ratio", 1)) return false;
  set_operand(program, id, 2, add_constant(program, NULL, ACTNN_BOOL, shape_of(0, NULL), &no, 1));
  return true;
}

/* Bounds that are constants become attributes; others are taken by Max and Min. */
static bool
rewrite_clip(Program *program, NodeId id)
{
  static const char *const names[] = {"min", "max"}, *const operators[] = {"Max", "Min"};
  const Node *node = node_at(program, id);
  if (node->operand_count < 2) return true;
  ValueId bound[2] = {operand_id(node, 1), operand_id(node, 2)}, x = operand_id(node, 0);
  bool is_constant = true;
  double value[2] = {0, 0};
  for (int i = 0; i < 2; i++) is_constant &= bound[i] == NO_VALUE || constant_real(program, bound[i], &value[i]);
  if (is_constant) {
    for (int i = 0; i < 2; i++)
      if (bound[i] != NO_VALUE) set_float(program, id, names[i], value[i]);
    become(program, id, "", "Clip", &x, 1);
    return true;
  }
  if (bound[0] != NO_VALUE && bound[1] != NO_VALUE) {
    x = make_before(program, id, "", "Max", (ValueId[]){x, bound[0]}, 2);
    bound[0] = NO_VALUE;
  }
  int last = bound[0] != NO_VALUE ? 0 : 1;
  become(program, id, "", operators[last], (ValueId[]){x, bound[last]}, 2);
  return true;
}

static bool
rewrite_cast_like(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  const Value *target = operand_value(program, node, 1);
  if (!target) return report_node(program, id, NULL, "operand 'target_type' is missing");
  int64_t type = target->type;
  ValueId x = operand_id(node, 0);
  become(program, id, "", "Cast", &x, 1);
  set_int(program, id, "to", type);
  return true;
}

static bool
rewrite_scatter(Program *program, NodeId id)
{
  Node copy = *node_at(program, id);
  become(program, id, "", "ScatterElements", copy.operands, copy.operand_count);
  return true;
}

typedef struct Rewrite {
  const char *name;
  RewriteFunction *apply;
} Rewrite;

static const Rewrite rewrites[] = {
    {"BatchNormalization", rewrite_batch_normalization},
    {"CastLike", rewrite_cast_like},
    {"Clip", rewrite_clip},
    {"Concat", rewrite_concat},
    {"Constant", rewrite_constant},
    {"Dropout", rewrite_dropout},
    {"Einsum", rewrite_einsum},
    {"Gemm", rewrite_gemm},
    {"GlobalMaxPool", rewrite_global_max_pool},
    {"GroupNormalization", rewrite_group_normalization},
    {"LogSoftmax", rewrite_softmax},
    {"MatMul", rewrite_matmul},
    {"Max", rewrite_variadic},
    {"MaxPool", rewrite_max_pool},
    {"Mean", rewrite_variadic},
    {"Min", rewrite_variadic},
    {"Pad", rewrite_pad},
    {"Pow", rewrite_power},
    {"ReduceL1", rewrite_axes},
    {"ReduceL2", rewrite_axes},
    {"ReduceLogSum", rewrite_axes},
    {"ReduceLogSumExp", rewrite_axes},
    {"ReduceMax", rewrite_axes},
    {"ReduceMean", rewrite_axes},
    {"ReduceMin", rewrite_axes},
    {"ReduceProd", rewrite_axes},
    {"ReduceSum", rewrite_axes},
    {"ReduceSumSquare", rewrite_axes},
    {"Reshape", rewrite_reshape},
    {"Resize", rewrite_resize},
    {"Scatter", rewrite_scatter},
    {"Slice", rewrite_slice},
    {"Softmax", rewrite_softmax},
    {"Split", rewrite_split},
    {"Squeeze", rewrite_axes},
    {"Sum", rewrite_variadic},
    {"Tile", rewrite_tile},
    {"TopK", rewrite_top_k},
    {"Unsqueeze", rewrite_axes},
    {"Upsample", rewrite_upsample},
};

static RewriteFunction *
rewrite_of(const char *domain, const char *name)
{
  if (domain[0] && strcmp(domain, "ai.onnx")) return NULL;
  for (size_t i = 0; i < sizeof rewrites / sizeof *rewrites; i++)
    if (!strcmp(rewrites[i].name, name)) return rewrites[i].apply;
  return NULL;
}

const char *
spelling_at(size_t number)
{
  return number < sizeof rewrites / sizeof *rewrites ? rewrites[number].name : NULL;
}

bool
is_spelling(const char *domain, const char *operator_name)
{
  return rewrite_of(domain, operator_name) != NULL;
}

/* Every node that draws gets its own stream. */
static void
number_draws(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  if (!node->operator|| !(node->operator->flags & RANDOM) || find_attribute(node, "random_id")) return;
  for (uint32_t i = 0; i < node->operator->attribute_count; i++)
    if (!strcmp(node->operator->attributes[i].name, "random_id")) {
      set_int(program, id, "random_id", (int64_t)id + 1);
      return;
    }
}

bool
canonicalize_node(Program *program, NodeId id)
{
  const Node *node = node_at(program, id);
  RewriteFunction *rewrite = rewrite_of(node->domain, node->operator_name);
  number_draws(program, id);
  return !rewrite || rewrite(program, id);
}
