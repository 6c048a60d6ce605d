/* code-where-made: has a coder make the value that it codes, where it alone reads it: normalized rows, which are then never in memory.
 * needs: joined nodes.  keeps: every other result; codes, but where the value was held as bfloat16, which is now coded before it is rounded;
 * the arena does not grow.  makes: QuantizeOnSave of what a row of elementwise.def reads, its steps those of join-pointwise;
 * program->identity and uncompressed_bytes of before.
 *
 * The coder moves to where the row stood: what that reads is there, and nothing lives longer for it. Nodes are joined before, so that gaps
 * between buffers, which may be others then, never decide against that. */
#include "passes.h"

#include "../src/operators/pointwise_steps.h"
#include "../src/program_identity.h"
#include "../src/text.h"

#include <string.h>

PassFunction code_where_made;

/* A coder, and the row that makes what it codes. */
typedef struct Coding {
  NodeId coder, row;
} Coding;

typedef struct Finder {
  const Program *program;
  ReaderList readers;
  bool *is_named; /* by value: outputs, and what a trainer reads */
} Finder;

static Finder
look_around(const Program *program)
{
  Finder finder = {.program = program, .readers = list_readers(program)};
  finder.is_named = arena_array(program->arena, program->value_count + 1u, sizeof *finder.is_named);
  const NamedResults named = named_results(program);
  for (uint32_t i = 0; i < program->output_count; i++) finder.is_named[program->outputs[i]] = true;
  for (size_t i = 0; i < NAMED_RESULTS; i++)
    if (named.value[i] != NO_VALUE) finder.is_named[named.value[i]] = true;
  return finder;
}

/* What a coder may make a value of: a tensor that lies as it does, and few numbers for its rows. */
static bool
makes_rows(const Program *program, const Node *node, const Value *value)
{
  int row = pointwise_row_named(node->operator_name, strlen(node->operator_name));
  if (row < 0 || !may_be_coded_row(row) || node->operand_count != (uint32_t)pointwise_row_at(row)->operands) return false;
  const Value *x = operand_value(program, node, 0), *first = operand_value(program, node, 1);
  if (!x || (x->type != ACTNN_F32 && x->type != ACTNN_BF16) || x->layout != ACTNN_PLAIN || value->layout != ACTNN_PLAIN) return false;
  if (!shape_equal(&x->shape, &value->shape) || x->shape.rank < 1) return false;
  for (uint32_t k = 1; k < node->operand_count; k++) {
    const Value *other = operand_value(program, node, k);
    if (!other || other->type != ACTNN_F32 || other->layout != ACTNN_PLAIN || !shape_equal(&other->shape, &first->shape)) return false;
    if (!numbers_stand_for(&x->shape, &other->shape) || other->shape.dim[x->shape.rank - 1] != 1) return false;
    for (uint32_t j = 0; j < k; j++)
      if (operand_id(node, j) == operand_id(node, k)) return false;
  }
  return true;
}

/* The row that makes what a node codes for it alone. */
static bool
find_coding(const Finder *finder, NodeId id, Coding *coding)
{
  const Program *program = finder->program;
  const Node *node = node_at(program, id);
  if (!is_operator(program, id, "QuantizeOnSave") || find_attribute(node, "steps")) return false;
  int64_t number = int_attribute(node, "save", -1);
  if (number < 0 || number >= program->saves->count) return false;
  const Save *save = &program->saves->save[number];
  ValueId value = operand_id(node, 0);
  const Value *coded = value_at(program, value);
  *coding = (Coding){id, coded->producer};
  if (save->value != value || (save->spacing != ACTNN_EVEN_LEVELS && save->spacing != ACTNN_FIXED_LEVELS)) return false;
  if (coding->row == NO_NODE || coded->name || coded->updates != NO_VALUE || finder->is_named[value]) return false;
  const Node *row = node_at(program, coding->row);
  return row->phase == node->phase && single_reader(program, &finder->readers, value) == id && makes_rows(program, row, coded);
}

static const char *
steps_of(const Program *program, const Node *row)
{
  Text steps = {.arena = program->arena};
  text_append(&steps, "y0=%s(", row->operator_name);
  for (uint32_t k = 0; k < row->operand_count; k++) text_append(&steps, "%sx%u", k ? "," : "", k);
  text_append(&steps, ")");
  return steps.bytes;
}

static void
code_row(Program *program, const Coding *coding)
{
  const Node *row = node_at(program, coding->row);
  Node *coder = node_at(program, coding->coder);
  coder->name = row->name;
  coder->operands = row->operands;
  coder->operand_count = row->operand_count;
  program->saves->save[int_attribute(coder, "save", 0)].value = NO_VALUE;
  set_string(program, coding->coder, "steps", steps_of(program, row));
}

/* Coders stand where the rows stood, which are there no more. */
static void
reorder(Program *program, const Coding *found, uint32_t count)
{
  NodeId *instead = arena_array(program->arena, program->node_count + 1u, sizeof *instead);
  bool *is_row = arena_array(program->arena, program->node_count + 1u, sizeof *is_row);
  bool *is_kept = arena_array(program->arena, program->order_count + 1u, sizeof *is_kept);
  for (NodeId id = 0; id < program->node_count; id++) instead[id] = id;
  for (uint32_t i = 0; i < count; i++) {
    instead[found[i].row] = found[i].coder;
    instead[found[i].coder] = found[i].row;
    is_row[found[i].row] = true;
  }
  for (uint32_t i = 0; i < program->order_count; i++) {
    program->order[i] = instead[program->order[i]];
    is_kept[i] = !is_row[program->order[i]];
  }
  keep_in_order(program, is_kept);
}

static Coding *
find_codings(const Program *program, uint32_t *count)
{
  const Finder finder = look_around(program);
  Coding *found = arena_array(program->arena, program->saves->count + 1u, sizeof *found);
  *count = 0;
  for (uint32_t i = 0; i < program->order_count; i++)
    if (find_coding(&finder, program->order[i], &found[*count])) ++*count;
  return found;
}

static void
put_back(Program *program, const Coding *found, uint32_t count, const Node *coders, const NodeId *order, uint32_t order_count)
{
  for (uint32_t i = 0; i < count; i++) {
    ValueId value = coders[i].operands[0];
    *node_at(program, found[i].coder) = coders[i];
    value_at(program, value)->producer = found[i].row;
    program->saves->save[int_attribute(&coders[i], "save", 0)].value = value;
  }
  memcpy(program->order, order, order_count * sizeof *order);
  program->order_count = order_count;
}

/* As many as fit into `most` bytes of arena, which gaps between buffers may rarely not allow: all, or each half by itself. Whether there are
 * any. */
static bool
code_rows(Program *program, const Options *options, const Coding *found, uint32_t count, uint64_t most)
{
  uint32_t order_count = program->order_count;
  NodeId *order = arena_array(program->arena, order_count, sizeof *order);
  Node *coders = arena_array(program->arena, count, sizeof *coders);
  memcpy(order, program->order, order_count * sizeof *order);
  for (uint32_t i = 0; i < count; i++) coders[i] = *node_at(program, found[i].coder);
  for (uint32_t i = 0; i < count; i++) code_row(program, &found[i]);
  reorder(program, found, count);
  if (planned_bytes(program, options) <= most) return true;
  put_back(program, found, count, coders, order, order_count);
  if (count == 1) return false;
  bool is_coded = code_rows(program, options, found, count / 2, most);
  return code_rows(program, options, found + count / 2, count - count / 2, most) || is_coded;
}

bool
code_where_made(Program *program, const Options *options)
{
  uint32_t count;
  if (!program->saves) return true;
  const Coding *found = find_codings(program, &count);
  if (!count) return true;
  uint64_t saved, uncompressed = program->uncompressed_bytes, identity = program->identity;
  if (!identity) program->identity = program_identity(program);
  if (!uncompressed) count_saved_bytes(program, &saved, &program->uncompressed_bytes);
  if (code_rows(program, options, found, count, planned_bytes(program, options))) return true;
  program->uncompressed_bytes = uncompressed;
  program->identity = identity;
  return true;
}
