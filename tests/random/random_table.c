/* random_table.c: entries of the operator table in random graphs: each of an entry's tries, its floating operands fed by what the
 * graph computes. */
#include "random_graph.h"

#include <math.h>
#include <string.h>

/* Drawn are operators of ONNX's domain that have a gradient or a gradient of zero, and shapes to try. */
static bool
is_drawable(const Operator *operator)
{
  return !operator->domain[0] && operator->gradient && operator->tries && *operator->tries && !(operator->flags & FUNCTION);
}

static int64_t
count_drawable(void)
{
  int64_t count = 0;
  for (size_t i = 0; i < operator_count(); i++) count += is_drawable(operator_at(i));
  return count;
}

static const Operator *
drawable_at(int64_t number)
{
  for (size_t i = 0; i < operator_count(); i++)
    if (is_drawable(operator_at(i)) && number-- == 0) return operator_at(i);
  return NULL;
}

static unsigned
count_tries(const Operator *operator)
{
  unsigned count = 1;
  for (const char *at = operator->tries; (at = strchr(at, '|')) != NULL; at++) count++;
  return count;
}

/* The range of an operand's values, widened as little as the draws need. */
static void
range_of(const Tensor *tensor, double *low, double *high)
{
  int64_t count = 0;
  const double *data = tensor->data;
  shape_elements(&tensor->shape, &count);
  *low = *high = count ? data[0] : 0;
  for (int64_t i = 1; i < count; i++) {
    *low = fmin(*low, data[i]);
    *high = fmax(*high, data[i]);
  }
}

/* Something that the graph computes, of the shape of the try's operand and within its range. */
static ValueId
computed_operand(RandomGraph *graph, const Tensor *wanted)
{
  ValueId x = choose_value(graph, 1, 5);
  double low, high;
  range_of(wanted, &low, &high);
  x = x == NO_VALUE ? x : project(graph, x, wanted->shape);
  if (x == NO_VALUE || (low < -0.85 && high < 1)) return x;
  x = grow1(graph, "Sigmoid", x, "");
  x = grow2(graph, "Mul", x, new_number(graph, high - low), "");
  return x == NO_VALUE ? x : grow2(graph, "Add", x, new_number(graph, low), "");
}

/* What is no float: indices, masks. */
static ValueId
constant_operand(RandomGraph *graph, const Tensor *wanted)
{
  const char *name = arena_format(graph->program->arena, "k%u", graph->program->value_count);
  ValueId id = add_tensor_constant(graph->program, name, wanted->type, wanted);
  graph->tensor[id] = arena_allocate(graph->program->arena, sizeof(Tensor));
  return constant_tensor(graph->program, id, graph->program->arena, graph->tensor[id]) ? id : NO_VALUE;
}

/* A compile-time operand: real ones are floats in ONNX. */
static ValueId
copy_constant(RandomGraph *graph, const Program *from, ValueId id)
{
  const Value *value = value_at(from, id);
  Tensor tensor;
  if (!constant_tensor(from, id, graph->program->arena, &tensor)) return NO_VALUE;
  int64_t count = 0;
  shape_elements(&value->shape, &count);
  return add_tensor_constant(graph->program, arena_format(graph->program->arena, "k%u", graph->program->value_count),
                             value->type == ACTNN_F64 ? ACTNN_F32 : value->type, &tensor);
}

/* Attributes as the text that `grow` reads. */
static const char *
attributes_of(RandomGraph *graph, const char *text)
{
  const char *kept = "";
  char *copy = arena_text(graph->program->arena, text, strlen(text)), *rest = copy;
  for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;)
    if (strchr(word, '=') && strncmp(word, "range=", 6) && strncmp(word, "irange=", 7))
      kept = arena_format(graph->program->arena, "%s %s", kept, word);
  return kept;
}

static ValueId
operand_for(RandomGraph *graph, const Try *made, ValueId id, bool *is_computed)
{
  if (id == NO_VALUE) return NO_VALUE;
  if (value_at(made->program, id)->kind != VALUE_INPUT) return copy_constant(graph, made->program, id);
  uint32_t input = 0;
  while (made->program->inputs[input] != id) input++;
  const Tensor *wanted = &made->value[input];
  if (wanted->type != ACTNN_F32) return constant_operand(graph, wanted);
  if (*is_computed && draw_chance(graph, 0.6)) return given_parameter(graph, wanted);
  *is_computed = true;
  return computed_operand(graph, wanted);
}

/* A value that is no float goes on as what selects. */
static void
offer_result(RandomGraph *graph, ValueId y)
{
  if (y == NO_VALUE) return;
  if (value_at(graph->program, y)->type == ACTNN_F32) {
    offer(graph, y);
  } else if (value_at(graph->program, y)->type == ACTNN_BOOL) {
    ValueId a = choose_value(graph, 1, 5), b = new_parameter(graph, *shape_at(graph, y), 0, 0.7);
    a = a == NO_VALUE ? a : project(graph, a, *shape_at(graph, y));
    if (a != NO_VALUE && b != NO_VALUE) offer(graph, grow(graph, "Where", (ValueId[]){y, a, b}, 3, 1, ""));
  }
}

static void
grow_entry(RandomGraph *graph, const Operator *operator)
{
  unsigned index = (unsigned)draw(graph, count_tries(operator));
  Arena *scratch = arena_create();
  Diagnostics *diagnostics = diagnostics_create(scratch);
  diagnostics->quiet = true;
  Try made;
  if (make_try(operator, index, diagnostics, &made) == 1) {
    ValueId operands[40];
    const Node *node = node_at(made.program, made.node);
    bool is_computed = false, is_good = node->operand_count <= 40;
    for (uint32_t i = 0; i < node->operand_count && is_good; i++) {
      operands[i] = operand_for(graph, &made, node->operands[i], &is_computed);
      is_good = operands[i] != NO_VALUE || node->operands[i] == NO_VALUE;
    }
    if (is_good)
      offer_result(graph, grow(graph, operator->name, operands, node->operand_count, node->result_count,
                               attributes_of(graph, made.text)));
    program_destroy(made.program);
  }
  arena_destroy(scratch);
}

void
grow_table_entry(RandomGraph *graph)
{
  grow_entry(graph, drawable_at(draw(graph, count_drawable())));
}

void
grow_entry_in_turn(RandomGraph *graph)
{
  const Operator *operator = drawable_at((int64_t)(graph->number % (uint64_t)count_drawable()));
  uint32_t before = graph->pool_count;
  for (int tries = 0; tries < 8 && graph->pool_count == before; tries++) grow_entry(graph, operator);
}
