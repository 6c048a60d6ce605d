/* check_saves.c: the central invariant of a program: no backward node reads a forward activation but through a save and a
 * restore. What may be read as it is stands in a table of reasons. */
#include "check_program.h"
#include "joined.h"

#include <string.h>

enum { SAMPLE_ELEMENTS = 128, STATISTIC_ELEMENTS = 4096, STATISTIC_SHARE = 8 };

/* ---- what the reasons look up ------------------------------------------------------------------------ */

/* The save that a value is restored of; -1 when it is not restored. */
static int64_t
restored_save(const Program *program, ValueId id)
{
  const Value *value = value_at(program, id);
  const Node *node = value->producer == NO_NODE ? NULL : node_at(program, value->producer);
  bool is_restored = node && node->operator
                     && (!strcmp(node->operator->name, "DequantizeOnBackward") || !strcmp(node->operator->name, "DequantizeNormal")
                         || !strcmp(node->operator->name, "DequantizeAffine"));
  return is_restored ? int_attribute(node, "save", -1) : -1;
}

/* How a backward node reads its operands; one that reads a value twice is not linear in it. */
static void
note_readings(Check *check, const Node *node, bool *save_for_weights)
{
  const SaveTable *saves = check->program->saves;
  bool is_for_weights = !strcmp(node->operator_name, "ConvGradWeight")
                        || !strncmp(node->operator_name, "ProductGradWeight", strlen("ProductGradWeight"));
  for (uint32_t i = 0; i < node->operand_count; i++) {
    ValueId id = node->operands[i];
    bool is_bounded;
    if (id == NO_VALUE) continue;
    bool is_linear = may_read_codes(node) && node->operator && is_linear_in(node->operator, i, &is_bounded);
    for (uint32_t k = 0; k < i; k++) is_linear &= node->operands[k] != id;
    check->read_exactly[id] |= !is_linear;
    check->read_for_weights[id] |= is_for_weights;
    int64_t save = restored_save(check->program, id);
    if (saves && save >= 0 && save < saves->count) save_for_weights[save] |= is_for_weights;
  }
}

static bool
is_made(const Program *program, ValueId id)
{
  return id != NO_VALUE && value_at(program, id)->producer != NO_NODE;
}

uint32_t
check_find_lost_save(const Program *program)
{
  for (uint32_t i = 0; program->saves && i < program->saves->count; i++) {
    const Save *save = &program->saves->save[i];
    if (!is_made(program, save->stash)) return i;
    bool is_coded_row = save->value == NO_VALUE && coded_row_name(node_at(program, value_at(program, save->stash)->producer));
    if (!is_coded_row && !is_made(program, save->value)) return i;
  }
  return UINT32_MAX;
}

void
check_look_at_saves(Check *check)
{
  const Program *program = check->program;
  const SaveTable *saves = program->saves;
  size_t count = (size_t)program->value_count + 1;
  check->read_exactly = arena_array(check->scratch, count, sizeof *check->read_exactly);
  check->read_for_weights = arena_array(check->scratch, count, sizeof *check->read_for_weights);
  check->codes_for_weights_only = true;
  bool *save_for_weights = arena_array(check->scratch, (saves ? saves->count : 0) + 1u, sizeof *save_for_weights);
  check->is_coded = arena_array(check->scratch, count, sizeof *check->is_coded);
  for (uint32_t p = 0; p < program->order_count; p++) {
    const Node *node = node_at(program, program->order[p]);
    if (runs_after_forward(node)) note_readings(check, node, save_for_weights);
  }
  for (uint32_t i = 0; saves && i < saves->count; i++) check->codes_for_weights_only &= save_for_weights[i];
  for (uint32_t i = 0; saves && i < saves->count; i++)
    if (saves->save[i].value < program->value_count) check->is_coded[saves->save[i].value] = true;
}

/* ---- values that backward may read as they are ---------------------------------------------------------- */

/* A mean, a log-sum-exp, a bias: a vector, few in themselves, or few beside what they sum up. */
static bool
is_statistic(const Check *check, ValueId id)
{
  const Value *value = value_at(check->program, id);
  const Node *node = node_at(check->program, value->producer);
  int64_t elements, most = 0, count;
  if (!shape_elements(&value->shape, &elements)) return false;
  for (uint32_t i = 0; i < node->operand_count; i++) {
    const Value *operand = operand_value(check->program, node, i);
    bool is_data = operand && (operand->kind == VALUE_TEMPORARY || operand->kind == VALUE_INPUT);
    if (is_data && shape_elements(&operand->shape, &count) && count > most) most = count;
  }
  return value->shape.rank < 2 || elements <= STATISTIC_ELEMENTS || elements <= most / STATISTIC_SHARE;
}

/* Class probabilities and the like: a code's header would cost more than the code saves. */
static bool
is_small_in_a_sample(const Check *check, ValueId id)
{
  const Shape *shape = &value_at(check->program, id)->shape;
  int64_t elements;
  return shape->rank > 0 && shape->dim[0] > 0 && shape_elements(shape, &elements) && elements / shape->dim[0] < SAMPLE_ELEMENTS;
}

/* Ids, labels, positions and masks have no code but exact ones. */
static bool
is_not_float(const Check *check, ValueId id)
{
  actnn_type type = value_at(check->program, id)->type;
  return type != ACTNN_F32 && type != ACTNN_BF16;
}

/* Some reader's gradient is not linear in it (or only with a bias): coding it would bias the gradient. */
static bool
has_no_proof(const Check *check, ValueId id)
{
  return check->read_exactly[id];
}

/* At level 1 only the operands of convolutions and matrix products are coded; others may read their codes too. */
static bool
is_beyond_level(const Check *check, ValueId id)
{
  return check->codes_for_weights_only && !check->read_for_weights[id];
}

/* Forward values that backward may read as they are. */
static const struct {
  const char *name;
  bool (*allows)(const Check *check, ValueId id);
} exact_values[] = {
    {"statistic", is_statistic},
    {"small in a sample", is_small_in_a_sample},
    {"not a float", is_not_float},
    {"no proof of unbiasedness", has_no_proof},
    {"beyond the level", is_beyond_level},
};

static bool
is_forward_temporary(const Check *check, ValueId id)
{
  const Value *value = value_at(check->program, id);
  return value->kind == VALUE_TEMPORARY && value->producer != NO_NODE
         && node_at(check->program, value->producer)->phase == PHASE_FORWARD;
}

bool
check_saves_are_coded(Check *check, const Node *node, uint32_t position)
{
  (void)position;
  const SaveTable *saves = check->program->saves;
  if (!saves || !saves->is_complete || !saves->count || node->phase != PHASE_BACKWARD) return true;
  for (uint32_t i = 0; i < node->operand_count; i++) {
    ValueId id = node->operands[i];
    bool is_exact = false;
    if (id == NO_VALUE || !is_forward_temporary(check, id)) continue;
    for (size_t k = 0; !check->is_coded[id] && k < sizeof exact_values / sizeof *exact_values; k++)
      is_exact |= exact_values[k].allows(check, id);
    if (is_exact) continue;
    check->detail = arena_format(check->scratch, "%s%s", check_value_word(check, id),
                                 check->is_coded[id] ? ", which is coded as well" : "");
    return false;
  }
  return true;
}
