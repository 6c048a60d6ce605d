/* inserted.c: evaluation of what passes insert: exact copies. */
#include "evaluation.h"

int EVALUATE(copy)(const actnn_call *call);
int EVALUATE(Pointwise)(const actnn_call *call);
int EVALUATE(quantize_on_save)(const actnn_call *call);
int EVALUATE(nothing)(const actnn_call *call);
int EVALUATE(positive)(const actnn_call *call);
int EVALUATE(dequantize_affine)(const actnn_call *call);
int EVALUATE(select_packed)(const actnn_call *call);
int EVALUATE(multiply_coded)(const actnn_call *call);
int EVALUATE(fill)(const actnn_call *call);

int
EVALUATE(copy)(const actnn_call *call)
{
  int64_t count = element_count(&call->input[0]);
  for (int64_t i = 0; i < count; i++) store_element(&call->output[0], i, load_element(&call->input[0], i));
  return 0;
}

/* With steps, those of what the row makes. */
int
EVALUATE(quantize_on_save)(const actnn_call *call)
{
  actnn_call row = *call;
  if (call->attribute_count < 2 || call->attribute[1].kind != ACTNN_TEXT) return EVALUATE(copy)(call);
  row.attribute++;
  row.attribute_count--;
  return EVALUATE(Pointwise)(&row);
}

/* Scale and b lie along the last axes. */
int
EVALUATE(dequantize_affine)(const actnn_call *call)
{
  const actnn_view *scale = &call->input[1], *b = optional_input(call, 2);
  int64_t count = element_count(&call->input[0]);
  for (int64_t i = 0; i < count; i++) {
    double y = load_element(&call->input[0], i) * load_element(scale, i % element_count(scale));
    store_element(&call->output[0], i, b ? y + load_element(b, i % element_count(b)) : y);
  }
  return 0;
}

int
EVALUATE(positive)(const actnn_call *call)
{
  int64_t count = element_count(&call->input[0]);
  for (int64_t i = 0; i < count; i++) store_element(&call->output[0], i, load_element(&call->input[0], i) > 0);
  return 0;
}

int
EVALUATE(select_packed)(const actnn_call *call)
{
  int64_t count = element_count(&call->input[0]);
  for (int64_t i = 0; i < count; i++)
    store_element(&call->output[0], i, load_element(&call->input[1], i) != 0 ? load_element(&call->input[0], i) : 0);
  return 0;
}

int
EVALUATE(multiply_coded)(const actnn_call *call)
{
  int64_t count = element_count(&call->input[0]);
  for (int64_t i = 0; i < count; i++)
    store_element(&call->output[0], i, load_element(&call->input[0], i) * load_element(&call->input[1], i));
  return 0;
}

int
EVALUATE(nothing)(const actnn_call *call)
{
  (void)call;
  return 0;
}

/* Attribute 2: the elements in row-major order, or one for all. */
int
EVALUATE(fill)(const actnn_call *call)
{
  const actnn_attribute *values = &call->attribute[2];
  int64_t count = element_count(&call->output[0]);
  for (int64_t i = 0; i < count; i++)
    store_element(&call->output[0], i, values->count == 1 ? values->reals[0] : values->reals[i]);
  return 0;
}
