/* attention_shapes.c: shape rules of attention and of its gradient. */
#include "window_shapes.h"

ShapeRule infer_attention, infer_attention_gradient;

typedef struct AttentionShapes {
  Shape o, lse;
} AttentionShapes;

/* Of q, k, v from operand `first` on, and of the mask in operand `mask`. */
static bool
attention_shapes(Program *program, NodeId id, uint32_t first, uint32_t mask, AttentionShapes *made)
{
  const Node *node = node_at(program, id);
  const Value *blocked = operand_value(program, node, mask);
  Shape q = operand_value(program, node, first)->shape, k = operand_value(program, node, first + 1)->shape;
  Shape v = operand_value(program, node, first + 2)->shape, both;
  int rank = q.rank, transposes = int_attribute(node, "transB", 0) != 0;
  if (rank < 2 || k.rank != rank || v.rank != rank)
    return report_node(program, id, NULL, "q, k and v must have the same number of axes, two or more; they have %d, %d and %d", q.rank, k.rank,
                       v.rank);
  int64_t keys = v.dim[rank - 2];
  Shape keys_wanted = q, values_wanted = q;
  keys_wanted.dim[rank - 2] = transposes ? keys : q.dim[rank - 1];
  keys_wanted.dim[rank - 1] = transposes ? q.dim[rank - 1] : keys;
  values_wanted.dim[rank - 2] = keys;
  values_wanted.dim[rank - 1] = v.dim[rank - 1];
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
