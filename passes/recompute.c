/* recompute: computes a run of forward nodes again in backward, instead of saving what backward reads of them.
 * needs: linearize-saves, linearize-attention.  keeps: every gradient, bit by bit.  makes: for each run that was chosen, copies of
 * its nodes in phase recompute, right before the first backward node that reads one of their results; those readers then read the
 * copies. What a copy reads from before its run stays as it is, exactly: what is computed from codes would not be linear in their noise.
 *
 * Forward is cut into blocks where few bytes go from one to the next. A run of blocks costs the bytes that go into it; a block that is in no
 * run costs what its codes take; and while backward goes through a run, what it had saved lies in memory all at once. The runs of the fewest
 * bytes, none of which frees more than a limit, are a shortest path over the cuts; work has a price, the highest at which the bytes that are
 * asked for are met. A run that frees up to twice as much is parted: its first part is computed for the second, and after backward has been
 * through that, once more. Which limit takes the least memory is found by trial (src/choose_recomputation.c). Recomputation between kept values is
 * Chen's (2016, arXiv 1604.06174); beside codes it is a choice for each block. */
#include "recompute.h"

#include <string.h>

PassFunction recompute, simplify;

enum { MOST_BLOCKS = 384, PRICES = 40 };
static const double LOW_PRICE = 1e-3; /* of all saved bytes for all operations */

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

/* How many matrices there are. */
static double
leading_elements(const Value *value)
{
  double count = 1;
  for (int i = 0; i + 2 < value->shape.rank; i++) count *= (double)value->shape.dim[i];
  return count;
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
  if (!strcmp(name, "Attention") && result_value(program, node, 1))
    return 2 * elements_of(result_value(program, node, 1)) * (elements_of(w) + elements_of(operand_value(program, node, 2)))
           / leading_elements(w);
  if (!strcmp(name, "Conv") && w && w->shape.rank > 0 && w->shape.dim[0]) return 2 * elements * elements_of(w) / (double)w->shape.dim[0];
  if (!strcmp(name, "ConvTranspose") && w && w->shape.rank > 0 && w->shape.dim[0])
    return 2 * elements_of(x) * elements_of(w) / (double)w->shape.dim[0];
  return AN_ELEMENT * elements;
}

/* Takes the nodes of one block more into a run that begins at node `start`. counted_for: by value, 1 + the start of the run that it was last
 * counted for. */
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
      *run_of(state, i, j + 1) = run;
    }
    state->freed += run_of(state, i, i + 1)->freed;
    state->work += run_of(state, i, i + 1)->work;
  }
}

/* ---- which runs ----------------------------------------------------------------------------------------------- */

/* Parts runs that free more than `limit` in two, at the first place where what lies in memory again stays below it: what the second part
 * reads of the first, and what either frees. The first part is then computed once more before the second. */
static void
part_runs(const Recomputation *state, double limit)
{
  for (uint32_t i = 0; i < state->block_count; i++)
    for (uint32_t j = i + 1; j <= state->block_count; j++) {
      Run *run = run_of(state, i, j);
      run->split = 0;
      if (run->freed <= limit || run->freed > 2 * limit) continue;
      for (uint32_t m = i + 1; m < j && !run->split && run_of(state, i, m)->freed <= limit; m++) {
        const Run *first = run_of(state, i, m), *second = run_of(state, m, j);
        if (second->kept + (first->freed > second->freed ? first->freed : second->freed) <= limit) run->split = m;
      }
    }
}

static double
run_cost(const Recomputation *state, uint32_t first, uint32_t end, double price)
{
  const Run *run = run_of(state, first, end);
  return run->kept + price * (run->work + (run->split ? run_of(state, first, run->split)->work : 0));
}

/* The runs of the fewest bytes, an operation counted as `price` bytes, none of which has more than `limit` in memory at once. best:
 * scratch. */
static void
choose_runs(const Recomputation *state, double limit, double price, double *best, Choice *choice)
{
  for (uint32_t j = 1; j <= state->block_count; j++) {
    best[j] = best[j - 1] + state->coded_share * run_of(state, j - 1, j)->freed;
    choice->first[j] = UINT32_MAX;
    for (uint32_t i = j; i-- > 0 && run_of(state, i, j)->freed <= 2 * limit;) {
      const Run *run = run_of(state, i, j);
      if (run->freed <= 0 || (run->freed > limit && !run->split)) continue;
      double cost = best[i] + run_cost(state, i, j, price);
      if (cost >= best[j]) continue;
      best[j] = cost;
      choice->first[j] = i;
    }
  }
  choice->bytes = 0;
  for (uint32_t j = state->block_count; j > 0;) {
    bool is_run = choice->first[j] != UINT32_MAX;
    uint32_t first = is_run ? choice->first[j] : j - 1;
    choice->bytes += is_run ? run_of(state, first, j)->kept : state->coded_share * run_of(state, first, j)->freed;
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
  part_runs(state, limit);
  for (int i = 0; i < PRICES && budget > 0; i++) {
    double price = (low + high) / 2;
    choose_runs(state, limit, price, best, choice);
    if (choice->bytes <= budget) low = price;
    else high = price;
  }
  choose_runs(state, limit, budget > 0 ? low : LOW_PRICE * high, best, choice);
}

/* ---- the pass ------------------------------------------------------------------------------------------------------ */

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
