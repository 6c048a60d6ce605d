/* recompute: computes a run of forward nodes again in backward, instead of saving what backward reads of them.
 * needs: linearize-saves, linearize-attention.  keeps: every gradient, bit by bit.  makes: for each run that was chosen, copies of
 * its nodes in phase recompute, right before the first backward node that reads one of their results; those readers then read the
 * copies. What a copy reads from before its run stays as it is, exactly: what is computed from codes would not be linear in their noise.
 *
 * Forward is cut into blocks where few bytes go from one to the next. A run of blocks costs the bytes that go into it; a block that is in no
 * run costs what its codes take; and while backward goes through a run, what it had saved lies in memory all at once. The runs of the fewest
 * bytes, none of which frees more than a limit, are a shortest path over the cuts; work has a price, the highest at which the bytes that are
 * asked for are met. Which limit takes the least memory is found by trial (src/choose_recomputation.c). Recomputation between kept values is
 * Chen's (2016, arXiv 1604.06174); beside codes it is a choice for each block. */
#include "passes.h"

#include <stdlib.h>
#include <string.h>

PassFunction recompute, simplify;

enum { MOST_BLOCKS = 384, PRICES = 40 };
static const double LOW_PRICE = 1e-3; /* of all saved bytes for all operations */

/* A run of blocks. */
typedef struct Run {
  double kept;  /* bytes that go into it from before */
  double freed; /* bytes that backward reads of it */
  double work;  /* operations */
} Run;

typedef struct Recomputation {
  Program *program;
  const bool *read;   /* by value: backward reads it */
  NodeId *node;       /* forward, in its order */
  uint32_t *made_at;  /* by value: place in `node`; UINT32_MAX: not made in forward */
  uint32_t node_count;
  uint32_t *cut;      /* block b has the nodes cut[b] up to cut[b + 1] */
  uint32_t block_count;
  Run *run;           /* from block i up to block j, j included: run[i * block_count + j] */
  double freed, work; /* of all blocks */
  double coded_share; /* of the bytes of a saved value, as it is kept where it is not computed again */
} Recomputation;

/* Runs that are computed again: from block first[j] up to before j, or UINT32_MAX where block j - 1 is left as it is. */
typedef struct Choice {
  uint32_t *first;
  double bytes; /* that are left */
} Choice;

/* ---- blocks ------------------------------------------------------------------------------------------------- */

static void
list_forward(Recomputation *state)
{
  const Program *program = state->program;
  state->node = arena_array(program->arena, program->order_count + 1, sizeof *state->node);
  state->made_at = arena_array(program->arena, program->value_count + 1, sizeof *state->made_at);
  memset(state->made_at, 0xFF, (program->value_count + 1) * sizeof *state->made_at);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (node->phase != PHASE_FORWARD) continue;
    for (uint32_t k = 0; k < node->result_count; k++)
      if (node->results[k] != NO_VALUE) state->made_at[node->results[k]] = state->node_count;
    state->node[state->node_count++] = program->order[i];
  }
}

/* bytes[n]: of what forward nodes from n on read of those before n. */
static double *
bytes_across(const Recomputation *state)
{
  const Program *program = state->program;
  uint32_t *last = arena_array(program->arena, program->value_count + 1, sizeof *last);
  double *bytes = arena_array(program->arena, state->node_count + 2, sizeof *bytes), across = 0;
  for (uint32_t n = 0; n < state->node_count; n++) {
    const Node *node = node_at(program, state->node[n]);
    for (uint32_t k = 0; k < node->operand_count; k++)
      if (node->operands[k] != NO_VALUE) last[node->operands[k]] = n;
  }
  for (ValueId id = 0; id < program->value_count; id++) {
    if (state->made_at[id] == UINT32_MAX || last[id] <= state->made_at[id]) continue;
    bytes[state->made_at[id] + 1] += (double)value_bytes(program, id);
    bytes[last[id] + 1] -= (double)value_bytes(program, id);
  }
  for (uint32_t n = 0; n <= state->node_count; n++) bytes[n] = across += bytes[n];
  return bytes;
}

/* One cut in each of a number of stretches of forward, where the fewest bytes cross it. */
static void
cut_into_blocks(Recomputation *state)
{
  const double *across = bytes_across(state);
  uint32_t stretches = state->node_count < MOST_BLOCKS ? state->node_count : MOST_BLOCKS;
  state->cut = arena_array(state->program->arena, stretches + 2, sizeof *state->cut);
  for (uint32_t s = 1; s < stretches; s++) {
    uint32_t from = (uint32_t)((uint64_t)s * state->node_count / stretches), best = from;
    uint32_t to = (uint32_t)((uint64_t)(s + 1) * state->node_count / stretches);
    for (uint32_t n = from; n < to; n++)
      if (across[n] < across[best]) best = n;
    state->cut[++state->block_count] = best;
  }
  state->cut[++state->block_count] = state->node_count;
}

static double
elements_of(const Value *value)
{
  int64_t elements = 0;
  if (value) shape_elements(&value->shape, &elements);
  return (double)elements;
}

/* Operations of a node, about: products and convolutions by their sums, everything else by what it writes, which costs time for memory. */
static double
work_of(const Program *program, const Node *node)
{
  enum { AN_ELEMENT = 16 };
  const Value *x = operand_value(program, node, 0), *w = operand_value(program, node, 1);
  double elements = elements_of(result_value(program, node, 0));
  const char *name = node->operator_name;
  bool is_product = !strcmp(name, "Product") || !strcmp(name, "MatMul") || !strcmp(name, "Gemm");
  if (is_product && x && x->shape.rank > 0) {
    int axis = x->shape.rank - 1 - (x->shape.rank > 1 && int_attribute(node, "transA", 0));
    return 2 * elements * (double)x->shape.dim[axis];
  }
  if (!strcmp(name, "Conv") && w && w->shape.rank > 0 && w->shape.dim[0]) return 2 * elements * elements_of(w) / (double)w->shape.dim[0];
  if (!strcmp(name, "ConvTranspose") && w && w->shape.rank > 0 && w->shape.dim[0])
    return 2 * elements_of(x) * elements_of(w) / (double)w->shape.dim[0];
  return AN_ELEMENT * elements;
}

/* Takes the nodes of one block more into a run that begins at node `start`. is_counted: by value, it goes into the run already. */
static void
add_block(const Recomputation *state, uint32_t block, uint32_t start, uint32_t *counted_for, Run *run)
{
  const Program *program = state->program;
  for (uint32_t n = state->cut[block]; n < state->cut[block + 1]; n++) {
    const Node *node = node_at(program, state->node[n]);
    run->work += work_of(program, node);
    for (uint32_t k = 0; k < node->operand_count; k++) {
      ValueId x = node->operands[k];
      if (x == NO_VALUE || state->made_at[x] >= start || counted_for[x] == start + 1) continue;
      counted_for[x] = start + 1;
      run->kept += (double)value_bytes(program, x);
    }
    for (uint32_t k = 0; k < node->result_count; k++)
      if (node->results[k] != NO_VALUE && state->read[node->results[k]]) run->freed += (double)value_bytes(program, node->results[k]);
  }
}

static void
measure_runs(Recomputation *state)
{
  const Program *program = state->program;
  state->run = arena_array(program->arena, (size_t)state->block_count * state->block_count + 1, sizeof *state->run);
  uint32_t *counted_for = arena_array(program->arena, program->value_count + 1, sizeof *counted_for);
  for (uint32_t i = 0; i < state->block_count; i++) {
    Run run = {0};
    for (uint32_t j = i; j < state->block_count; j++) {
      add_block(state, j, state->cut[i], counted_for, &run);
      state->run[(size_t)i * state->block_count + j] = run;
    }
    state->freed += state->run[(size_t)i * state->block_count + i].freed;
    state->work += state->run[(size_t)i * state->block_count + i].work;
  }
}

/* ---- which runs ----------------------------------------------------------------------------------------------- */

/* The runs of the fewest bytes, an operation counted as `price` bytes, none of which frees more than `limit`. best: scratch. */
static void
choose_runs(const Recomputation *state, double limit, double price, double *best, Choice *choice)
{
  for (uint32_t j = 1; j <= state->block_count; j++) {
    best[j] = best[j - 1] + state->coded_share * state->run[(size_t)(j - 1) * state->block_count + j - 1].freed;
    choice->first[j] = UINT32_MAX;
    for (uint32_t i = j; i-- > 0;) {
      const Run *run = &state->run[(size_t)i * state->block_count + j - 1];
      if (run->freed > limit) break;
      double cost = best[i] + run->kept + price * run->work;
      if (run->freed <= 0 || cost >= best[j]) continue;
      best[j] = cost;
      choice->first[j] = i;
    }
  }
  choice->bytes = 0;
  for (uint32_t j = state->block_count; j > 0;) {
    bool is_run = choice->first[j] != UINT32_MAX;
    uint32_t first = is_run ? choice->first[j] : j - 1;
    const Run *run = &state->run[(size_t)first * state->block_count + j - 1];
    choice->bytes += is_run ? run->kept : state->coded_share * run->freed;
    j = first;
  }
}

/* budget > 0: the least work that leaves no more bytes than that; if nothing does, the fewest bytes. budget 0: the fewest bytes, at a low
 * price of work. */
static void
choose(const Recomputation *state, double limit, double budget, Choice *choice)
{
  double *best = arena_array(state->program->arena, state->block_count + 1, sizeof *best);
  double low = 0, high = state->work > 0 ? state->freed / state->work : 0;
  for (int i = 0; i < PRICES && budget > 0; i++) {
    double price = (low + high) / 2;
    choose_runs(state, limit, price, best, choice);
    if (choice->bytes <= budget) low = price;
    else high = price;
  }
  choose_runs(state, limit, budget > 0 ? low : LOW_PRICE * high, best, choice);
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

typedef struct Copies {
  bool *is_kept;   /* by value: some copy reads it as forward made it */
  bool *is_wanted; /* by node of forward: copied */
  ValueId *copy;   /* by value; NO_VALUE */
  Insertions insertions;
} Copies;

/* Statistics over the samples are few and take a pass over all of them; running ones move on once. */
static void
keep_statistics(const Node *node, Copies *copies)
{
  for (uint32_t k = 3; k <= 4 && !strcmp(node->operator_name, "BatchNorm"); k++)
    if (result_id(node, k) != NO_VALUE) copies->is_kept[node->results[k]] = true;
}

static NodeId
apply_statistics(Program *program, NodeId original, const ValueId *operands, ValueId y)
{
  const Node *node = node_at(program, original);
  const ValueId known[] = {operands[0], operands[1], operands[2], node->results[3], node->results[4]};
  return add_node(program, PHASE_RECOMPUTE, "actnn", "BatchNormApply", node->name, known, 5, &y, 1);
}

/* Which nodes of a run are needed again, and what they read from before it. */
static void
find_wanted(const Recomputation *state, uint32_t from, uint32_t to, bool *is_wanted_value, Copies *copies)
{
  const Program *program = state->program;
  for (uint32_t n = to; n-- > from;) {
    const Node *node = node_at(program, state->node[n]);
    keep_statistics(node, copies);
    for (uint32_t k = 0; k < node->result_count; k++) {
      ValueId y = node->results[k];
      if (y != NO_VALUE && !copies->is_kept[y]) copies->is_wanted[n] |= state->read[y] || is_wanted_value[y];
    }
    for (uint32_t k = 0; copies->is_wanted[n] && k < node->operand_count; k++) {
      ValueId x = node->operands[k];
      if (x == NO_VALUE || state->made_at[x] == UINT32_MAX) continue;
      if (state->made_at[x] < from) copies->is_kept[x] = true;
      else is_wanted_value[x] = true;
    }
  }
}

static NodeId
copy_node(Program *program, NodeId original, Copies *copies)
{
  const Node node = *node_at(program, original);
  ValueId *operands = arena_array(program->arena, node.operand_count + 1, sizeof *operands);
  ValueId *results = arena_array(program->arena, node.result_count + 1, sizeof *results);
  for (uint32_t k = 0; k < node.operand_count; k++) {
    ValueId x = node.operands[k];
    operands[k] = x == NO_VALUE || copies->copy[x] == NO_VALUE || copies->is_kept[x] ? x : copies->copy[x];
  }
  for (uint32_t k = 0; k < node.result_count; k++) {
    results[k] = NO_VALUE;
    if (node.results[k] == NO_VALUE) continue;
    const Value y = *value_at(program, node.results[k]);
    copies->copy[node.results[k]] = results[k] = add_value(program, NULL, VALUE_TEMPORARY, y.type, y.shape);
  }
  bool has_statistics = !strcmp(node.operator_name, "BatchNorm");
  NodeId made = has_statistics ? apply_statistics(program, original, operands, results[0])
                               : add_node(program, PHASE_RECOMPUTE, node.domain, node.operator_name, node.name, operands, node.operand_count,
                                          results, node.result_count);
  program->order_count--; /* add_node appended it */
  for (uint32_t k = 0; k < node.attribute_count && !has_statistics; k++) set_attribute(program, made, node.attributes[k]);
  node_at(program, made)->origin = node.origin == NO_NODE ? original : node.origin;
  return made;
}

/* Backward reads copies where there are some; the position of the first node that does, by place in `node` of what it reads. */
static void
read_copies(const Recomputation *state, const Copies *copies, uint32_t *first_reader)
{
  const Program *program = state->program;
  for (uint32_t i = program->order_count; i-- > 0;) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; runs_after_forward(node) && k < node->operand_count; k++) {
      ValueId x = node->operands[k];
      if (x == NO_VALUE || state->made_at[x] == UINT32_MAX || copies->is_kept[x] || !copies->is_wanted[state->made_at[x]]) continue;
      node->operands[k] = copies->copy[x];
      first_reader[state->made_at[x]] = i;
    }
  }
}

static void
copy_runs(const Recomputation *state, const Choice *choice)
{
  Program *program = state->program;
  uint32_t value_count = program->value_count;
  Copies copies = {.is_kept = arena_array(program->arena, value_count + 1, sizeof(bool))};
  bool *is_wanted_value = arena_array(program->arena, value_count + 1, sizeof *is_wanted_value);
  uint32_t *first_reader = arena_array(program->arena, state->node_count + 1, sizeof *first_reader);
  copies.is_wanted = arena_array(program->arena, state->node_count + 1, sizeof *copies.is_wanted);
  copies.copy = arena_array(program->arena, value_count + 1, sizeof *copies.copy);
  memset(copies.copy, 0xFF, (value_count + 1) * sizeof *copies.copy);
  memset(first_reader, 0xFF, (state->node_count + 1) * sizeof *first_reader);
  NodeId *made = arena_array(program->arena, state->node_count + 1, sizeof *made);
  /* The last run first: what it reads of earlier ones is kept, and then need not be computed again. */
  for (uint32_t j = state->block_count; j > 0; j = choice->first[j] == UINT32_MAX ? j - 1 : choice->first[j])
    if (choice->first[j] != UINT32_MAX) find_wanted(state, state->cut[choice->first[j]], state->cut[j], is_wanted_value, &copies);
  for (uint32_t n = 0; n < state->node_count; n++)
    if (copies.is_wanted[n]) made[n] = copy_node(program, state->node[n], &copies);
  read_copies(state, &copies, first_reader);
  for (uint32_t j = state->block_count; j > 0; j = choice->first[j] == UINT32_MAX ? j - 1 : choice->first[j]) {
    uint32_t from = choice->first[j] == UINT32_MAX ? state->cut[j] : state->cut[choice->first[j]], first = UINT32_MAX;
    for (uint32_t n = from; n < state->cut[j]; n++)
      if (first_reader[n] < first) first = first_reader[n];
    for (uint32_t n = from; n < state->cut[j]; n++)
      if (copies.is_wanted[n]) insert_before(program, &copies.insertions, first, made[n]);
  }
  apply_insertions(program, &copies.insertions);
}

bool
recompute(Program *program, const Options *options)
{
  if (!options->most_recomputed) return true;
  Recomputation state = {.program = program, .read = values_read_by_backward(program), .coded_share = 1};
  list_forward(&state);
  if (!state.node_count) return true;
  cut_into_blocks(&state);
  measure_runs(&state);
  if (options->coded_bytes && state.freed > 0) state.coded_share = (double)options->coded_bytes / state.freed;
  Choice choice = {.first = arena_array(program->arena, state.block_count + 1, sizeof *choice.first)};
  choose(&state, (double)options->most_recomputed, (double)options->saved_budget, &choice);
  copy_runs(&state, &choice);
  program->uncompressed_bytes = options->uncompressed_bytes;
  return simplify(program, options); /* what forward made for backward alone */
}
