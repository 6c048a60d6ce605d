/* test_evaluator.c: the evaluator's numbers go to memory and back as IEEE 754 says, and what cannot be evaluated is told. */
#include "../../src/operators.h"
#include "../passes/reading.h"

#include <math.h>

static Reading *
begin(void)
{
  Reading *reading = start_reading();
  reading->program = program_create("test", reading->diagnostics);
  return reading;
}

/* ---- numbers ----------------------------------------------------------------------------------------- */

static const struct {
  double number;
  uint16_t half, bfloat;
} numbers[] = {
    {0, 0x0000, 0x0000},       {-0.0, 0x8000, 0x8000},         {1, 0x3C00, 0x3F80},
    {-2.5, 0xC100, 0xC020},    {65504, 0x7BFF, 0x4780},        {65519, 0x7BFF, 0x4780},
    {65520, 0x7C00, 0x4780},   {-1e30, 0xFC00, 0xF14A},        {1e39, 0x7C00, 0x7F80},
    {INFINITY, 0x7C00, 0x7F80}, {-INFINITY, 0xFC00, 0xFF80},   {0x1p-14, 0x0400, 0x3880},
    {0x1.ff8p-15, 0x03FF, 0x3880}, {0x1p-24, 0x0001, 0x3380},  {0x1.8p-25, 0x0001, 0x3340},
    {0x1p-25, 0x0000, 0x3300}, {1 + 0x1p-11, 0x3C00, 0x3F80},  {1 + 0x1.8p-10, 0x3C02, 0x3F80},
    {0x1p-130, 0x0000, 0x0008}, {1 + 0x1.8p-7, 0x3C0C, 0x3F82},
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static void
test_numbers(void)
{
  Reading *reading = begin();
  double real[NUMBERS];
  for (int i = 0; i < NUMBERS; i++) real[i] = numbers[i].number;
  Tensor tensor = {.type = ACTNN_F32, .shape = {1, {NUMBERS}}, .data = real}, back;
  const actnn_type types[] = {ACTNN_F16, ACTNN_BF16};
  for (int t = 0; t < 2; t++) {
    ValueId id = add_tensor_constant(reading->program, NULL, types[t], &tensor);
    const uint16_t *bits = value_at(reading->program, id)->data;
    bool is_read = constant_tensor(reading->program, id, reading->arena, &back);
    for (int i = 0; i < NUMBERS; i++) {
      uint16_t wanted = t ? numbers[i].bfloat : numbers[i].half;
      ok(bits[i] == wanted, "%s of %g is %04x, here %04x", type_name(types[t]), real[i], wanted, bits[i]);
    }
    ok(is_read && back.type == ACTNN_F32 && ((const double *)back.data)[2] == 1 && signbit(((const double *)back.data)[1])
           && isinf(((const double *)back.data)[9]),
       "%s is read back", type_name(types[t]));
  }
  const double nothing = NAN;
  Tensor one = {.type = ACTNN_F32, .shape = {0}, .data = (void *)&nothing};
  const actnn_type all[] = {ACTNN_F16, ACTNN_BF16, ACTNN_F32, ACTNN_F64};
  for (int t = 0; t < 4; t++) {
    ValueId id = add_tensor_constant(reading->program, NULL, all[t], &one);
    ok(constant_tensor(reading->program, id, reading->arena, &back) && isnan(*(const double *)back.data), "%s of no number is none",
       type_name(all[t]));
  }
  forget(reading);
}

static void
test_constants(void)
{
  static const float data[4] = {1, 2, 3, 4};
  Reading *reading = begin();
  Program *program = reading->program;
  Tensor tensor;
  const struct {
    const char *what;
    actnn_type type;
    Shape shape;
    const void *data;
    size_t bytes;
    bool is_read;
  } cases[] = {{"four numbers", ACTNN_F32, {1, {4}}, data, 16, true},       {"more than there are", ACTNN_F32, {1, {5}}, data, 16, false},
               {"none of none", ACTNN_F32, {1, {0}}, NULL, 0, true},        {"none where some should be", ACTNN_F32, {1, {4}}, NULL, 16, false},
               {"words", ACTNN_UNDEFINED, {1, {4}}, data, 16, false},       {"of no known shape", ACTNN_F32, {.rank = 1, .dim = {DIM_UNKNOWN}}, data, 16, false},
               {"beyond all memory", ACTNN_F32, {2, {1LL << 40, 1LL << 40}}, data, 16, false}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ValueId id = add_value(program, NULL, VALUE_CONSTANT, cases[i].type, cases[i].shape);
    value_at(program, id)->data = cases[i].data;
    value_at(program, id)->data_bytes = cases[i].bytes;
    ok(constant_tensor(program, id, reading->arena, &tensor) == cases[i].is_read, "a constant: %s", cases[i].what);
  }
  ok(!constant_tensor(program, NO_VALUE, reading->arena, &tensor), "what is absent is no constant");
  forget(reading);
}

/* ---- what cannot be evaluated -------------------------------------------------------------------------- */

static void
refuses(Reading *reading, NodeId node, const char *message, const char *what)
{
  Tensor results[4];
  bool is_evaluated = evaluate_node(reading->program, node, reading->arena, NULL, results);
  if (!ok(!is_evaluated && strstr(messages_of(reading), message), "%s: %s", what, message)) printf("# %s\n", messages_of(reading));
}

static void
test_refused(void)
{
  static const float data[4] = {1, 2, 3, 4};
  static const int64_t four = 4, nine = 9;
  Reading *reading = begin();
  Program *program = reading->program;
  Shape shape = {1, {4}}, unknown = {.rank = 1, .dim = {DIM_UNKNOWN}};
  ValueId x = add_constant(program, NULL, ACTNN_F32, shape, data, sizeof data);
  ValueId input = add_value(program, "input", VALUE_INPUT, ACTNN_F32, shape), untyped = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_UNDEFINED, shape);
  ValueId y = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, shape), open = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, unknown);
  ValueId far = add_constant(program, NULL, ACTNN_I64, (Shape){0}, &nine, 8);
  ValueId extent = add_constant(program, NULL, ACTNN_I64, (Shape){1, {1}}, &four, 8);
  ValueId pair[] = {x, x}, reshaped[] = {x, extent}, asked[] = {x, open}, gathered[] = {x, far};
  refuses(reading, add_node(program, PHASE_FORWARD, "", "Nonsense", "", &x, 1, &y, 1), "this operator cannot be evaluated", "an unknown operator");
  NodeId relu = add_node(program, PHASE_FORWARD, "", "Relu", "", &x, 1, &y, 1);
  Operator deaf = *node_at(program, relu)->operator;
  deaf.evaluate = NULL;
  node_at(program, relu)->operator = &deaf;
  refuses(reading, relu, "this operator cannot be evaluated", "an operator without an evaluation");
  refuses(reading, add_node(program, PHASE_FORWARD, "", "Relu", "", pair, 2, &y, 1), "more operands than are known", "two operands");
  refuses(reading, add_node(program, PHASE_FORWARD, "", "Relu", "", &input, 1, &y, 1), "is not known at compile time", "an input");
  refuses(reading, add_node(program, PHASE_FORWARD, "", "Reshape", "", asked, 2, &y, 1), "is not known", "a shape of no known rank");
  refuses(reading, add_node(program, PHASE_FORWARD, "", "Relu", "", &x, 1, &open, 1), "the type or shape of result 0 is not known",
          "a result's shape");
  refuses(reading, add_node(program, PHASE_FORWARD, "", "Relu", "", &x, 1, &untyped, 1), "the type or shape of result 0 is not known",
          "a result's type");
  NodeId gather = add_node(program, PHASE_FORWARD, "", "Gather", "", gathered, 2, &y, 1);
  refuses(reading, gather, "a value that is not allowed", "an index beyond");
  program->order_count = 0;
  NodeId good = add_node(program, PHASE_FORWARD, "", "Reshape", "", reshaped, 2, &y, 1);
  Tensor *tensors[32] = {NULL};
  ok(evaluate_program(program, 1 << PHASE_FORWARD, reading->arena, tensors) && tensors[y] && ((const double *)tensors[y]->data)[3] == 4,
     "a program is evaluated, by its constants");
  program->order[program->order_count - 1] = gather;
  ok(!evaluate_program(program, 1 << PHASE_FORWARD, reading->arena, tensors), "up to what cannot be");
  program->order[program->order_count - 1] = good;
  ValueId stash = add_value(program, NULL, VALUE_STASH, ACTNN_U8, shape);
  Tensor result;
  NodeId save = add_node(program, PHASE_FORWARD, "actnn", "QuantizeOnSave", "", &x, 1, &stash, 1);
  ok(evaluate_node(program, save, reading->arena, NULL, &result) && result.type == ACTNN_F32 && ((const double *)result.data)[1] == 2,
     "a code stands for what it codes");
  forget(reading);
}

static void
cannot_code(Reading *reading, NodeId coder, const char *steps, ValueId first, ValueId second, uint32_t operands, const char *message)
{
  Node *node = node_at(reading->program, coder);
  node->operands[1] = first;
  node->operands[2] = second;
  node->operand_count = operands;
  if (steps) set_string(reading->program, coder, "steps", steps);
  else remove_attribute(reading->program, coder, "steps");
  ok(!infer_node(reading->program, coder) && strstr(messages_of(reading), message), "no code of %s of %u operands: %s", steps ? steps : "no row", operands,
     message);
}

/* A code stands for what its row makes of its operands, which have a float for each of the first one's rows. */
static void
test_coded_rows(void)
{
  static const float data[6] = {1, 2, 3, 4, 5, 6}, mean[2] = {1, 4}, factor[2] = {2, 3};
  static const char no_float[] = "does not have a float for each of operand 0's rows";
  Reading *reading = begin();
  Program *program = reading->program;
  Shape shape = {2, {2, 3}}, numbers = {2, {2, 1}};
  ValueId operands[] = {add_constant(program, NULL, ACTNN_F32, shape, data, sizeof data), add_constant(program, NULL, ACTNN_F32, numbers, mean, sizeof mean),
                        add_constant(program, NULL, ACTNN_F32, numbers, factor, sizeof factor)};
  ValueId stash = add_value(program, NULL, VALUE_STASH, ACTNN_UNDEFINED, (Shape){.rank = -1});
  ValueId one = add_scalar_constant(program, 1), narrow = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_BF16, numbers);
  ValueId first_axis = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){2, {1, 3}}), mean_id = operands[1], factor_id = operands[2];
  NodeId coder = add_node(program, PHASE_FORWARD, "actnn", "QuantizeOnSave", "", operands, 3, &stash, 1);
  Tensor result;
  set_string(program, coder, "steps", "y0=Standardize(x0,x1,x2)");
  ok(infer_node(program, coder) && value_at(program, stash)->type == ACTNN_U8 && shape_equal(&value_at(program, stash)->shape, &shape),
     "a code has the extents of its rows");
  ok(evaluate_node(program, coder, reading->arena, NULL, &result) && ((const double *)result.data)[2] == 4 && ((const double *)result.data)[5] == 6,
     "and stands for them");
  cannot_code(reading, coder, "y0=Relu(x0)", mean_id, factor_id, 1, "no coder makes these");
  cannot_code(reading, coder, "y0=Mul(x0,x1)", mean_id, factor_id, 3, "3 operands, its steps another number");
  cannot_code(reading, coder, NULL, mean_id, factor_id, 2, "2 operands, its steps another number");
  cannot_code(reading, coder, "y0=Standardize(x0,x1,x2)", one, one, 3, no_float);
  cannot_code(reading, coder, "y0=Standardize(x0,x1,x2)", mean_id, operands[0], 3, no_float);
  cannot_code(reading, coder, "y0=Standardize(x0,x1,x2)", narrow, narrow, 3, no_float);
  cannot_code(reading, coder, "y0=Standardize(x0,x1,x2)", first_axis, first_axis, 3, no_float);
  cannot_code(reading, coder, "y0=Standardize(x0,x1,x2)", NO_VALUE, factor_id, 3, no_float);
  forget(reading);
}

int
main(void)
{
  test_numbers();
  test_constants();
  test_refused();
  test_coded_rows();
  return tap_done();
}
