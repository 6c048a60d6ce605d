/* attention_shapes.c: shape rules of attention and of its gradient. */
#include "attention.h"
#include "window_shapes.h"

ShapeRule infer_attention, infer_attention_gradient;

typedef struct AttentionShapes {
  Shape o, lse;
} AttentionShapes;

/* What lies with so many leading axes inside of rows, with its leading axes first. */
static Shape
leading_first(Shape shape, int inside)
{
  Shape made = shape;
  for (int i = 0; i < shape.rank; i++) made.dim[i] = shape.dim[attention_axis(shape.rank, inside, i)];
  return made;
}

/* The other way round. */
static Shape
leading_inside(Shape shape, int inside)
{
  Shape made = shape;
  for (int i = 0; i < shape.rank; i++) made.dim[attention_axis(shape.rank, inside, i)] = shape.dim[i];
  return made;
}

/* How many leading axes q, k, v and o have inside of their rows. */
typedef struct Insides {
  int q, k, v, o;
} Insides;

static bool
read_insides(Program *program, NodeId id, int rank, Insides *insides)
{
  static const char *const names[] = {"inside_q", "inside_k", "inside_v", "inside_o"};
  int *to[] = {&insides->q, &insides->k, &insides->v, &insides->o}, several = 0;
  const Node *node = node_at(program, id);
  for (int i = 0; i < 4; i++) {
    int64_t inside = int_attribute(node, names[i], 0);
    if (inside < 0 || inside > rank - 2)
      return report_node(program, id, NULL, "%s is %lld, of %d leading axes", names[i], (long long)inside, rank - 2);
    if (inside && several && inside != several)
      return report_node(program, id, NULL, "%s is %lld, where others have %d", names[i], (long long)inside, several);
    *to[i] = (int)inside;
    several = inside ? (int)inside : several;
  }
  if (insides->k && !int_attribute(node, "transB", 0))
    return report_node(program, id, NULL, "inside_k is %d, but k does not have a row for each key (transB)", insides->k);
  return true;
}

/* Of q, k, v from operand `first` on, and of the mask in operand `mask`. */
static bool
attention_shapes(Program *program, NodeId id, uint32_t first, uint32_t mask, AttentionShapes *made)
{
  const Node *node = node_at(program, id);
  const Value *blocked = operand_value(program, node, mask);
  Shape q = operand_value(program, node, first)->shape, k = operand_value(program, node, first + 1)->shape;
  Shape v = operand_value(program, node, first + 2)->shape, both;
  int rank = q.rank, transposes = int_attribute(node, "transB", 0) != 0;
  Insides insides;
  if (rank < 2 || k.rank != rank || v.rank != rank)
    return report_node(program, id, NULL, "q, k and v must have the same number of axes, two or more; they have %d, %d and %d", q.rank, k.rank,
                       v.rank);
  if (!read_insides(program, id, rank, &insides)) return false;
  q = leading_first(q, insides.q);
  v = leading_first(v, insides.v);
  int64_t keys = v.dim[rank - 2];
  Shape keys_wanted = q, values_wanted = q;
  keys_wanted.dim[rank - 2] = transposes ? keys : q.dim[rank - 1];
  keys_wanted.dim[rank - 1] = transposes ? q.dim[rank - 1] : keys;
  values_wanted.dim[rank - 2] = keys;
  values_wanted.dim[rank - 1] = v.dim[rank - 1];
  keys_wanted = leading_inside(keys_wanted, insides.k);
  values_wanted = leading_inside(values_wanted, insides.v);
  if (!expect_shape(program, id, first + 1, &keys_wanted) || !expect_shape(program, id, first + 2, &values_wanted)) return false;
  Shape scores = q;
  scores.dim[rank - 1] = keys;
  if (int_attribute(node, "causal", 0) && keys != q.dim[rank - 2])
    return report_node(program, id, NULL, "causal attention of %lld rows has %lld keys", (long long)q.dim[rank - 2], (long long)keys);
  if (blocked && blocked->type != ACTNN_BOOL && blocked->type != ACTNN_F32)
    return report_node(program, id, NULL, "a mask must be of bool or float");
  if (blocked && (!shape_broadcast(&blocked->shape, &scores, &both) || !shape_equal(&both, &scores)))
    return report_node(program, id, NULL, "a mask of %s does not broadcast to %s", shape_text(program->arena, blocked->type, &blocked->shape),
                       shape_text(program->arena, ACTNN_F32, &scores));
  made->o = made->lse = q;
  made->o.dim[rank - 1] = v.dim[rank - 1];
  made->lse.dim[rank - 1] = 1;
  made->o = leading_inside(made->o, insides.o);
  made->lse = leading_inside(made->lse, insides.o);
  return true;
}

static bool
check_ratio(Program *program, NodeId id, uint32_t operand)
{
  double ratio;
  ValueId value = operand_id(node_at(program, id), operand);
  if (value != NO_VALUE && constant_real(program, value, &ratio) && !(ratio >= 0 && ratio <= 1))
    return report_node(program, id, NULL, "ratio %g is not in [0, 1]", ratio);
  return true;
}

bool
infer_attention(Program *program, NodeId id)
{
  AttentionShapes made;
  if (!expect_floats(program, id, 3) || !attention_shapes(program, id, 0, 3, &made) || !check_ratio(program, id, 4)) return false;
  actnn_type type = operand_value(program, node_at(program, id), 0)->type;
  return set_result_type(program, id, 0, type, &made.o) && set_result_type(program, id, 1, ACTNN_F32, &made.lse);
}

bool
infer_attention_gradient(Program *program, NodeId id)
{
  AttentionShapes made;
  if (!expect_floats(program, id, 6) || !attention_shapes(program, id, 1, 6, &made) || !check_ratio(program, id, 7)) return false;
  if (!expect_shape(program, id, 0, &made.o) || !expect_shape(program, id, 4, &made.lse) || !expect_shape(program, id, 5, &made.lse))
    return false;
  for (uint32_t i = 0; i < 3; i++) {
    const Value *operand = operand_value(program, node_at(program, id), i + 1);
    Shape shape = operand->shape;
    if (!set_result_type(program, id, i, operand->type, &shape)) return false;
  }
  const Value *mask = operand_value(program, node_at(program, id), 6);
  if (result_id(node_at(program, id), 3) == NO_VALUE) return true;
  if (!mask || mask->type != ACTNN_F32) return report_node(program, id, NULL, "only a mask of float has a gradient");
  Shape shape = mask->shape;
  return set_result_type(program, id, 3, mask->type, &shape);
}
