/* absorb-transposes: has attention read q, k and v where products have left them, and write its result where the next product reads it.
 * needs: fuse-attention.  keeps: values, and dropout's draws.  makes: of Attention(Transpose(q), ..), where that Transpose only moves heads in
 * front of rows for it alone, Attention<inside_q>(q, ..), and likewise of k, which then has a row for each key, of v, and of a Transpose that moves
 * heads of the result back. Backward follows from that: gradients lie as what they are of.
 *
 * A Transpose reads and writes everything once, and its gradient does so again: around attention that is four times each. */
#include "passes.h"

#include "../src/operators/attention.h"
#include "../src/rewrite.h"

PassFunction absorb_transposes, simplify;

enum { Q, K, V };
static const char *const INSIDE[] = {"inside_q", "inside_k", "inside_v"};

typedef struct Search {
  Program *program;
  ReaderList readers;
  NodeId attention;
  int inside; /* leading axes that operands found so far have inside of rows; 0: none has */
} Search;

static bool
is_read_once(const Search *search, ValueId value)
{
  return single_reader(search->program, &search->readers, value) != NO_NODE && !value_at(search->program, value)->is_output;
}

/* How many leading axes lie inside of rows in what becomes [.., rows, columns] by a Transpose of these axes; -1: it moves something else, or
 * more of them than other operands have. */
static int
inside_of(const Search *search, const int64_t *perm, int rank)
{
  for (int inside = 0; inside <= rank - 2; inside++) {
    bool is_so = !inside || !search->inside || inside == search->inside;
    for (int axis = 0; axis < rank && is_so; axis++) is_so = perm[axis] == attention_axis(rank, inside, axis);
    if (is_so) return inside;
  }
  return -1;
}

/* The axes of a Transpose of so many, each of them once; NULL: it is none, or a text has it otherwise. */
static const int64_t *
axes_of(const Program *program, NodeId id, int rank)
{
  const int64_t *perm;
  unsigned seen = 0;
  if (!is_operator(program, id, "Transpose") || ints_attribute(node_at(program, id), "perm", &perm) != (size_t)rank) return NULL;
  for (int i = 0; i < rank; i++) seen |= perm[i] >= 0 && perm[i] < rank ? 1u << perm[i] : 0;
  return seen + 1 == 1u << rank ? perm : NULL;
}

/* The Transpose that makes an operand for the attention alone; its axes. NULL: there is none. */
static const Node *
transpose_before(const Search *search, uint32_t operand, int64_t *perm)
{
  const Program *program = search->program;
  ValueId value = operand_id(node_at(program, search->attention), operand);
  NodeId maker = value_at(program, value)->producer;
  int rank = value_at(program, value)->shape.rank;
  const int64_t *axes = maker != NO_NODE && is_read_once(search, value) ? axes_of(program, maker, rank) : NULL;
  for (int i = 0; axes && i < rank; i++) perm[i] = axes[i];
  return axes ? node_at(program, maker) : NULL;
}

static void
absorb_operand(Search *search, uint32_t operand)
{
  Program *program = search->program;
  const Node *attention = node_at(program, search->attention);
  int64_t perm[ACTNN_MAX_RANK];
  const Node *transpose = int_attribute(attention, INSIDE[operand], 0) ? NULL : transpose_before(search, operand, perm);
  if (!transpose) return;
  int rank = operand_value(program, attention, operand)->shape.rank;
  bool turns = operand == K && !int_attribute(attention, "transB", 0);
  if (turns) {
    int64_t last = perm[rank - 1];
    perm[rank - 1] = perm[rank - 2];
    perm[rank - 2] = last;
  }
  int inside = inside_of(search, perm, rank);
  if (inside < 0) return;
  search->inside = inside ? inside : search->inside;
  node_at(program, search->attention)->operands[operand] = operand_id(transpose, 0);
  if (inside) set_int(program, search->attention, INSIDE[operand], inside);
  if (turns) set_int(program, search->attention, "transB", 1);
}

/* What the Transpose behind the result makes, the attention does; is_absorbed says so by the node's number. */
static void
absorb_result(const Search *search, bool *is_absorbed)
{
  Program *program = search->program;
  ValueId o = result_id(node_at(program, search->attention), 0);
  NodeId reader = single_reader(program, &search->readers, o);
  if (int_attribute(node_at(program, search->attention), "inside_o", 0) || !is_read_once(search, o)) return;
  int rank = value_at(program, o)->shape.rank;
  const int64_t *axes = axes_of(program, reader, rank);
  int64_t back[ACTNN_MAX_RANK];
  for (int i = 0; axes && i < rank; i++) back[axes[i]] = i;
  int inside = axes ? inside_of(search, back, rank) : -1;
  if (inside <= 0) return;
  ValueId lies = result_id(node_at(program, reader), 0);
  set_result(program, search->attention, 0, lies);
  set_int(program, search->attention, "inside_o", inside);
  is_absorbed[reader] = true;
}

bool
absorb_transposes(Program *program, const Options *options)
{
  bool *is_absorbed = arena_array(program->arena, program->node_count + 1u, sizeof *is_absorbed);
  bool *is_kept = arena_array(program->arena, program->order_count + 1u, sizeof *is_kept);
  for (uint32_t i = 0; i < program->order_count; i++) {
    NodeId id = program->order[i];
    if (!is_operator(program, id, "Attention") || node_at(program, id)->phase != PHASE_FORWARD) continue;
    Search search = {.program = program, .readers = list_readers(program), .attention = id};
    for (uint32_t k = Q; k <= V; k++) absorb_operand(&search, k);
    absorb_result(&search, is_absorbed);
    if (!infer_node(program, id)) return false;
  }
  for (uint32_t i = 0; i < program->order_count; i++) is_kept[i] = !is_absorbed[program->order[i]];
  keep_in_order(program, is_kept);
  return simplify(program, options);
}
