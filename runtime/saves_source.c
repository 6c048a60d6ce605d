/* saves_source.c: what a coder codes: a value that lies in memory, or rows that it makes itself of one (making.h). */
#include "saves_state.h"

/* How many elements of x side by side share a number; 0: it does not have one for each of x's rows. */
static int64_t
elements_a_number(const actnn_view *x, const actnn_view *other)
{
  int axis = 0;
  int64_t each = 1;
  if (other->type != ACTNN_F32 || other->layout != ACTNN_PLAIN || x->layout != ACTNN_PLAIN || other->rank != x->rank)
    return 0;
  while (axis < x->rank && other->dim[axis] == x->dim[axis])
    axis++;
  for (; axis < x->rank && other->dim[axis] == 1; axis++)
    each *= x->dim[axis];
  return axis == x->rank ? each : 0;
}

int
saves_find_source(const actnn_call *call, saves_source *source)
{
  source->value = &call->input[0];
  source->is_made = call->attribute_count > 1 && call->attribute[1].kind == ACTNN_TEXT;
  if (!source->is_made)
    return 0;
  const char *wrong = parse_coded_row(call->attribute[1].text, &source->steps);
  if (wrong)
    return actnn_fail(call->trainer, "QuantizeOnSave: its steps cannot be coded: %s", wrong);
  if (call->input_count != (size_t)source->steps.operands)
    return actnn_fail(call->trainer, "QuantizeOnSave: its steps are of %d operands", source->steps.operands);
  const pointwise_step *step = source->steps.step;
  source->making = (actnn_making){.loop = actnn_row_loop_of(step->row), .attribute = step->attribute, .others = source->steps.operands - 1};
  for (int k = 0; k < source->making.others; k++) {
    int64_t each = elements_a_number(source->value, &call->input[k + 1]);
    if (!each || (k && each != source->making.each))
      return actnn_fail(call->trainer, "QuantizeOnSave: operand %d does not have a float for each of operand 0's rows", k + 1);
    source->making.each = each;
    source->making.other[k] = call->input[k + 1].data;
  }
  return 0;
}
