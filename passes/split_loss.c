/* split-loss: computes the loss over classes of many rows, and its gradient, some rows at a time.
 * needs: backward.  keeps: loss and gradients, up to rounding.  makes: of scores = Product(x, w), their loss and backward's way through both,
 * for each part of the rows in turn: scores, CrossEntropyRows (which leaves the scores' gradient in their place) and its products, which give
 * the gradient of x and add to that of w. All that is in forward, for a loss of one; backward multiplies by what the loss has (ScaleGradient).
 *
 * A language model has more classes than all its layers have features: scores, their logarithms and their gradient are then the peak of a
 * step, although each row's are of use to nobody else. Forward may make gradients because the loss is linear in its own: Liger's fused
 * cross entropy does so (Hsu et al. 2024, arXiv 2410.10989). x is read where it was made, so no code adds noise to what
 * goes on to every layer. Of the prediction the classes that win are left, and in evaluation each label's loss. */
#include "passes.h"

#include "../src/rewrite.h"

#include <string.h>

PassFunction split_loss, simplify;

enum {
  FEWEST_ROWS = 128,         /* of a part: products of fewer are slow */
  MOST_PARTS = 64,
  WORTH_SPLITTING = 16 << 20 /* bytes of scores */
};

/* A loss, and what its scores come from. */
typedef struct Head {
  NodeId loss, product;
  ValueId scores; /* the product's result, before it is reshaped to rows */
  ValueId x, w, bias, labels;
  int64_t rows, features, classes;
} Head;

/* The same, with its way through backward. */
typedef struct Trained {
  Head head;
  NodeId loss_gradient;
  NodeId of_x, of_w, of_bias; /* that make gradients; NO_NODE: there is none */
} Trained;

/* ---- finding them ------------------------------------------------------------------------------------------------- */

static bool
is_plain_product(const Program *program, NodeId id)
{
  if (!is_operator(program, id, "Product")) return false;
  const Node *node = node_at(program, id);
  return !int_attribute(node, "transA", 0) && operand_value(program, node, 0)->shape.rank >= 2
         && operand_value(program, node, 1)->shape.rank == 2;
}

/* `loss` is a loss over rows of scores that a product makes, and nothing else in its phase reads them. */
static bool
find_head(const Program *program, ValueId loss, const ReaderList *list, Head *head)
{
  NodeId id = loss == NO_VALUE ? NO_NODE : value_at(program, loss)->producer;
  if (!is_operator(program, id, "SoftmaxCrossEntropyLoss") || operand_id(node_at(program, id), 2) != NO_VALUE) return false;
  const Node *node = node_at(program, id);
  *head = (Head){.loss = id, .scores = operand_id(node, 0), .labels = operand_id(node, 1)};
  if (value_at(program, head->scores)->shape.rank != 2 || !strcmp(string_attribute(node, "reduction", "mean"), "none")) return false;
  head->rows = value_at(program, head->scores)->shape.dim[0];
  head->classes = value_at(program, head->scores)->shape.dim[1];
  for (;;) {
    head->product = value_at(program, head->scores)->producer;
    if (single_reader(program, list, head->scores) == NO_NODE || head->product == NO_NODE) return false;
    if (!is_view(node_at(program, head->product))) break;
    head->scores = operand_id(node_at(program, head->product), 0);
  }
  if (!is_plain_product(program, head->product)) return false;
  const Node *product = node_at(program, head->product);
  const Shape *scores = &value_at(program, head->scores)->shape, *x = &operand_value(program, product, 0)->shape;
  head->x = operand_id(product, 0);
  head->w = operand_id(product, 1);
  head->bias = operand_id(product, 2);
  head->features = x->dim[x->rank - 1];
  return head->rows > 0 && scores->dim[scores->rank - 1] == head->classes;
}

/* True of the scores, and of what shows them to the loss as rows. */
static bool
is_of_scores(const Program *program, const Head *head, ValueId value)
{
  ValueId at = operand_id(node_at(program, head->loss), 0);
  while (at != value && at != head->scores) at = operand_id(node_at(program, value_at(program, at)->producer), 0);
  return at == value;
}

/* Which gradient the node makes of the scores' gradient `dscores`. */
static NodeId *
slot_of(Trained *found, const Program *program, NodeId id, ValueId dscores)
{
  const Node *node = node_at(program, id), *product = node_at(program, found->head.product);
  if (operand_id(node, 0) != dscores || node->phase != PHASE_BACKWARD) return NULL;
  if (!strcmp(node->operator_name, "ProductGradWeight") && operand_id(node, 1) == found->head.x) return &found->of_w;
  if (!strcmp(node->operator_name, "SumTo") && found->head.bias != NO_VALUE) return &found->of_bias;
  bool is_of_x = is_plain_product(program, id) && operand_id(node, 1) == found->head.w && operand_id(node, 2) == NO_VALUE
                 && int_attribute(node, "transB", 0) == 1 - int_attribute(product, "transB", 0);
  return is_of_x ? &found->of_x : NULL;
}

static bool
find_backward(const Program *program, const ReaderList *list, Trained *found)
{
  ValueId logarithms = result_id(node_at(program, found->head.loss), 1);
  NodeId exponential = logarithms == NO_VALUE ? NO_NODE : single_reader(program, list, logarithms);
  if (!is_operator(program, exponential, "Exp")) return false;
  found->loss_gradient = single_reader(program, list, result_id(node_at(program, exponential), 0));
  if (!is_operator(program, found->loss_gradient, "SoftmaxCrossEntropyGrad")) return false;
  ValueId dscores = result_id(node_at(program, found->loss_gradient), 0);
  for (NodeId next; (next = single_reader(program, list, dscores)) != NO_NODE && is_view(node_at(program, next));)
    dscores = result_id(node_at(program, next), 0);
  if (!shape_equal(&value_at(program, dscores)->shape, &value_at(program, found->head.scores)->shape)) return false;
  found->of_x = found->of_w = found->of_bias = NO_NODE;
  for (uint32_t r = list->first[dscores]; r < list->first[dscores + 1]; r++) {
    NodeId *slot = slot_of(found, program, program->order[list->reader[r]], dscores);
    if (!slot || *slot != NO_NODE) return false;
    *slot = program->order[list->reader[r]];
  }
  return found->of_x != NO_NODE || found->of_w != NO_NODE || found->of_bias != NO_NODE;
}

/* Parts of equal size, but for the last, in which scores take no more than about the weight's gradient does. */
static int64_t
rows_of_part(const Head *head)
{
  int64_t most = head->features > FEWEST_ROWS ? head->features : FEWEST_ROWS;
  if (most < head->rows / MOST_PARTS) most = head->rows / MOST_PARTS;
  int64_t parts = (head->rows + most - 1) / most;
  return (head->rows + parts - 1) / parts;
}

static bool
is_wanted(const Options *options, const Head *head)
{
  if (rows_of_part(head) >= head->rows) return false;
  if (options->split_loss) return !strcmp(options->split_loss, "always");
  return has_new_codes(options) && (double)head->rows * (double)head->classes * sizeof(float) >= WORTH_SPLITTING;
}

/* ---- making parts ------------------------------------------------------------------------------------------------ */

typedef struct Maker {
  Program *program;
  const Head *head;
  Phase phase;
  uint32_t position;
  Insertions *insertions;
} Maker;

/* A node whose attributes are still to come. */
static ValueId
begin(Maker *maker, const char *domain, const char *name, const ValueId *operands, size_t count)
{
  return insert_node(maker->program, maker->phase, maker->position, domain, name, maker->head->loss, operands, count, maker->insertions);
}

static NodeId
maker_node(const Maker *maker, ValueId value)
{
  return value_at(maker->program, value)->producer;
}

static ValueId
finish(Maker *maker, ValueId result)
{
  infer_node(maker->program, maker_node(maker, result));
  return result;
}

static ValueId
make(Maker *maker, const char *domain, const char *name, const ValueId *operands, size_t count)
{
  return finish(maker, begin(maker, domain, name, operands, count));
}

static ValueId
reshape(Maker *maker, ValueId value, const int64_t *dims, size_t rank)
{
  ValueId operands[] = {value, add_int64_constant(maker->program, dims, rank)};
  return make(maker, "", "Reshape", operands, 2);
}

/* Rows from `first` on. */
static ValueId
slice(Maker *maker, ValueId value, int64_t first, int64_t end)
{
  const int64_t axis = 0;
  ValueId operands[] = {value, add_int64_constant(maker->program, &first, 1), add_int64_constant(maker->program, &end, 1),
                        add_int64_constant(maker->program, &axis, 1)};
  return make(maker, "", "Slice", operands, 4);
}

static ValueId
multiply(Maker *maker, const char *name, const ValueId *operands, size_t count, int64_t transpose_b)
{
  ValueId result = begin(maker, "actnn", name, operands, count);
  set_int(maker->program, maker_node(maker, result), "transB", transpose_b);
  return finish(maker, result);
}

static ValueId
join(Maker *maker, const ValueId *parts, size_t count)
{
  ValueId result = begin(maker, "", "Concat", parts, count);
  set_int(maker->program, maker_node(maker, result), "axis", 0);
  return finish(maker, result);
}

static ValueId
sum_all(Maker *maker, ValueId value)
{
  ValueId result = begin(maker, "", "ReduceSum", &value, 1);
  set_int(maker->program, maker_node(maker, result), "keepdims", 0);
  return finish(maker, result);
}

/* What the parts make, part by part. */
typedef struct Parts {
  ValueId *loss, *winner, *dx; /* of each part */
  ValueId dw, dbias;           /* of all parts so far */
  size_t count;
} Parts;

/* Scores of a part, and what CrossEntropyRows makes of them; their gradient. */
static ValueId
add_rows(Maker *maker, Parts *parts, ValueId x, ValueId labels)
{
  Program *program = maker->program;
  const Head *head = maker->head;
  ValueId factors[] = {x, head->w, head->bias};
  int64_t transpose_b = int_attribute(node_at(program, head->product), "transB", 0);
  ValueId scores = multiply(maker, "Product", factors, head->bias == NO_VALUE ? 2 : 3, transpose_b);
  ValueId rows[] = {scores, labels}, dscores = begin(maker, "actnn", "CrossEntropyRows", rows, 2);
  NodeId node = maker_node(maker, dscores);
  const Attribute *ignored = find_attribute(node_at(program, head->loss), "ignore_index");
  if (ignored) set_int(program, node, "ignore_index", ignored->i);
  for (uint32_t k = 1; k < 3; k++) set_result(program, node, k, add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, (Shape){.rank = -1}));
  infer_node(program, node);
  parts->loss[parts->count] = result_id(node_at(program, node), 1);
  parts->winner[parts->count] = result_id(node_at(program, node), 2);
  return dscores;
}

/* A sum that has one term more; NO_VALUE: none yet. */
static ValueId
add_to(Maker *maker, ValueId sum, ValueId term)
{
  ValueId terms[] = {sum, term};
  return sum == NO_VALUE ? term : make(maker, "", "Add", terms, 2);
}

static void
add_gradients(Maker *maker, Parts *parts, const Trained *found, ValueId x, ValueId dscores)
{
  Program *program = maker->program;
  int64_t transpose_b = int_attribute(node_at(program, maker->head->product), "transB", 0);
  if (found->of_x != NO_NODE) {
    ValueId factors[] = {dscores, maker->head->w};
    parts->dx[parts->count] = multiply(maker, "Product", factors, 2, 1 - transpose_b);
  }
  if (found->of_w != NO_NODE) {
    ValueId factors[] = {dscores, x, operand_id(node_at(program, found->of_w), 2)};
    parts->dw = add_to(maker, parts->dw, multiply(maker, "ProductGradWeight", factors, 3, transpose_b));
  }
  if (found->of_bias != NO_NODE) {
    ValueId terms[] = {dscores, operand_id(node_at(program, found->of_bias), 1)};
    parts->dbias = add_to(maker, parts->dbias, make(maker, "actnn", "SumTo", terms, 2));
  }
}

/* All parts; found: what backward makes of them, NULL in evaluation. */
static Parts
make_parts(Maker *maker, const Trained *found)
{
  const Head *head = maker->head;
  Arena *arena = maker->program->arena;
  int64_t each = rows_of_part(head), rows[] = {head->rows, head->features};
  size_t most = (size_t)((head->rows + each - 1) / each);
  Parts parts = {.loss = arena_array(arena, most, sizeof *parts.loss), .winner = arena_array(arena, most, sizeof *parts.winner),
                 .dx = arena_array(arena, most, sizeof *parts.dx), .dw = NO_VALUE, .dbias = NO_VALUE};
  ValueId all = value_at(maker->program, head->x)->shape.rank == 2 ? head->x : reshape(maker, head->x, rows, 2);
  for (int64_t first = 0; first < head->rows; first += each, parts.count++) {
    int64_t end = first + each < head->rows ? first + each : head->rows;
    ValueId x = slice(maker, all, first, end);
    ValueId dscores = add_rows(maker, &parts, x, slice(maker, head->labels, first, end));
    if (found) add_gradients(maker, &parts, found, x, dscores);
  }
  return parts;
}

/* ---- putting them in place ---------------------------------------------------------------------------------------- */

/* What the sum of losses is divided by: the number of labels that count. NO_VALUE: nothing. */
static ValueId
count_labels(Maker *maker)
{
  Program *program = maker->program;
  const Node *loss = node_at(program, maker->head->loss);
  const Attribute *ignored = find_attribute(loss, "ignore_index");
  if (strcmp(string_attribute(loss, "reduction", "mean"), "mean") != 0) return NO_VALUE;
  bool is_short = value_at(program, maker->head->labels)->type == ACTNN_I32;
  if (!ignored || (is_short && ignored->i != (int32_t)ignored->i)) return add_scalar_constant(program, (double)maker->head->rows);
  int32_t number = (int32_t)ignored->i;
  const void *data = is_short ? (const void *)&number : (const void *)&ignored->i;
  ValueId pair[] = {maker->head->labels, add_constant(program, NULL, is_short ? ACTNN_I32 : ACTNN_I64, shape_of(0, NULL), data,
                                                      is_short ? sizeof number : sizeof ignored->i)};
  ValueId equal = make(maker, "", "Equal", pair, 2), counts = make(maker, "", "Not", &equal, 1);
  ValueId ones = begin(maker, "", "Cast", &counts, 1);
  set_int(program, maker_node(maker, ones), "to", ACTNN_F32);
  return sum_all(maker, finish(maker, ones));
}

/* The loss's node divides the parts' sum; its result stays. */
static void
become_sum(Maker *maker, ValueId losses, ValueId count)
{
  Program *program = maker->program;
  NodeId id = maker->head->loss;
  ValueId operands[] = {count == NO_VALUE ? losses : sum_all(maker, losses), count};
  drop_attributes(program, id, "ignore_index", "reduction", NULL);
  become(program, id, "", count == NO_VALUE ? "ReduceSum" : "Div", operands, count == NO_VALUE ? 1 : 2);
  if (count == NO_VALUE) set_int(program, id, "keepdims", 0);
  node_at(program, id)->result_count = 1;
}

static void
scale(Program *program, NodeId id, ValueId gradient, ValueId factor)
{
  ValueId operands[] = {gradient, factor};
  if (id == NO_NODE) return;
  while (node_at(program, id)->attribute_count > 0) {
    const char *name = node_at(program, id)->attributes[0].name;
    remove_attribute(program, id, name);
  }
  become(program, id, "actnn", "ScaleGradient", operands, 2);
  infer_node(program, id);
}

/* An output that has the scores has the classes that win instead. */
static void
replace_outputs(Program *program, const Head *head, ValueId winners)
{
  for (uint32_t i = 0; i < program->output_count; i++) {
    if (!is_of_scores(program, head, program->outputs[i])) continue;
    value_at(program, program->outputs[i])->is_output = false;
    value_at(program, winners)->is_output = true;
    program->outputs[i] = winners;
  }
}

static void
split_training(Program *program, const Trained *found, Insertions *insertions)
{
  Maker maker = {program, &found->head, PHASE_FORWARD, position_of(program, found->head.loss), insertions};
  ValueId count = count_labels(&maker), dloss = operand_id(node_at(program, found->loss_gradient), 0);
  Parts parts = make_parts(&maker, found);
  ValueId dx = NO_VALUE, losses = join(&maker, parts.loss, parts.count);
  program->prediction = join(&maker, parts.winner, parts.count);
  replace_outputs(program, &found->head, program->prediction);
  if (found->of_x != NO_NODE) {
    const Shape shape = value_at(program, found->head.x)->shape;
    dx = join(&maker, parts.dx, parts.count);
    if (shape.rank != 2) dx = reshape(&maker, dx, shape.dim, (size_t)shape.rank);
  }
  become_sum(&maker, losses, count);
  maker.phase = PHASE_BACKWARD;
  maker.position = position_of(program, found->loss_gradient);
  ValueId share[] = {dloss, count}, factor = count == NO_VALUE ? dloss : make(&maker, "", "Div", share, 2);
  scale(program, found->of_x, dx, factor);
  scale(program, found->of_w, parts.dw, factor);
  scale(program, found->of_bias, parts.dbias, factor);
}

static void
split_evaluation(Program *program, const Head *head, Insertions *insertions)
{
  Maker maker = {program, head, PHASE_EVALUATE, position_of(program, head->loss), insertions};
  ValueId count = count_labels(&maker);
  Parts parts = make_parts(&maker, NULL);
  program->evaluation_losses = join(&maker, parts.loss, parts.count);
  program->evaluation_output = join(&maker, parts.winner, parts.count);
  become_sum(&maker, program->evaluation_losses, count);
}

bool
split_loss(Program *program, const Options *options)
{
  const ReaderList list = list_readers(program);
  Trained found;
  Head evaluated;
  Insertions insertions = {0};
  if (!find_head(program, program->loss, &list, &found.head) || !find_backward(program, &list, &found)
      || !find_head(program, program->evaluation_loss, &list, &evaluated))
    return true;
  if (!is_of_scores(program, &found.head, program->prediction) || !is_of_scores(program, &evaluated, program->evaluation_output)) return true;
  if (!is_wanted(options, &found.head)) return true;
  split_training(program, &found, &insertions);
  split_evaluation(program, &evaluated, &insertions);
  apply_insertions(program, &insertions);
  return !program->diagnostics->errors && simplify(program, options);
}
