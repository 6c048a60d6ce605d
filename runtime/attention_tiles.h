/* attention_tiles.h: how a GPU's attention is cut into tiles, some rows of some leading indices each, and what it takes of the workspace: of a
 * tile the scores and, in backward, their gradients, which should stay in the GPU's cache from one kernel to the next. */
#ifndef ACTNN_ATTENTION_TILES_H
#define ACTNN_ATTENTION_TILES_H

#include "../src/operators/attention.h"
#include "bfloat.h"

enum {
  SCORE_BYTES = 16 << 20, /* of a tile, at most, and as many of their gradients; what is made of them for products of bfloat16 included */
  ATTENTION_UNIT = 8,     /* elements side by side that a thread takes; rows of scores begin at a multiple */
  ATTENTION_OPERANDS = 4, /* do, q, k, v */
  LEAST_ROWS = 16,        /* of a tile, however little room there is */
  CAUSAL_ROWS = 256,      /* of a tile above whose diagonal keys are left out, unless these are few of all */
  CAUSAL_TILES = 8,       /* of so many rows */
  CAUSAL_STEPS = 16       /* where the keys of a causal tile may end */
};

/* Places are bytes of the workspace. */
typedef struct AttentionTiles {
  int64_t heads, rows;    /* of a tile, but for the last ones, and none of leading indices that do not lie alike; */
  int64_t row_step;       /* elements from a row of scores to the next */
  int64_t key_step;       /* the keys of a tile end at a multiple; 0: a tile has all */
  bool is_narrow;         /* products are of bfloat16: scores stay floats, and what products read of them is made beside them */
  bool has_sums[2];       /* dk, dv: bfloat16 that is added up as floats over tiles of rows, and rounded last */
  bool is_copied[ATTENTION_OPERANDS];
  uint64_t copy[ATTENTION_OPERANDS], sum[2], bytes;
  uint64_t score[2], made[2]; /* scores and their gradients; probabilities and gradients for products, in their place where those are floats */
} AttentionTiles;

static inline int64_t
whole_units(int64_t count)
{
  return (count + ATTENTION_UNIT - 1) / ATTENTION_UNIT * ATTENTION_UNIT;
}

/* A number that shares `all` evenly among as few as such numbers of `most` would. */
static inline int64_t
even_share(int64_t all, int64_t most)
{
  int64_t count = (all + most - 1) / most;
  return (all + count - 1) / count;
}

static inline uint64_t
take_place(uint64_t *end, bool is_taken, int64_t count, size_t size)
{
  uint64_t place = *end;
  if (is_taken) *end += ((uint64_t)count * size + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  return place;
}

/* Where what is `never` adds nothing to a row with a score of usual size, keys above the diagonal are left out. */
static inline bool
attention_leaves_out(const Attention *attention)
{
  return attention->is_causal && attention->never <= -1e4;
}

/* Rows and leading indices of a tile that takes no more than about `limit` bytes, or the smallest there is. */
static inline void
shape_tiles(AttentionTiles *tiles, const Attention *attention, int buffers, uint64_t limit)
{
  int64_t row = buffers * tiles->row_step * (int64_t)(sizeof(float) + (tiles->is_narrow ? sizeof(bfloat_number) : 0));
  int64_t room = (int64_t)limit, most = attention->rows, sums = 0;
  if (attention_leaves_out(attention) && most > CAUSAL_ROWS)
    most = most / CAUSAL_TILES > CAUSAL_ROWS ? most / CAUSAL_TILES : CAUSAL_ROWS;
  if (tiles->has_sums[0]) sums += attention->keys * attention->inner * (int64_t)sizeof(float);
  if (tiles->has_sums[1]) sums += attention->keys * attention->columns * (int64_t)sizeof(float);
  if (most < attention->rows || most * row > room) { /* there are sums */
    int64_t fitting = (room - sums) / row;
    if (fitting < LEAST_ROWS) fitting = LEAST_ROWS;
    if (most > fitting) most = fitting;
  }
  tiles->rows = whole_units(even_share(attention->rows, most));
  if (tiles->rows >= attention->rows) {
    tiles->rows = attention->rows;
    tiles->has_sums[0] = tiles->has_sums[1] = false;
    sums = 0;
  }
  int64_t heads = room / (tiles->rows * row + sums), together = attention->beside > 1 ? attention->beside : attention->heads;
  tiles->heads = even_share(together, heads < 1 ? 1 : heads);
  if (!attention_leaves_out(attention) || attention->rows <= CAUSAL_ROWS) return;
  int64_t step = whole_units((attention->rows + CAUSAL_STEPS - 1) / CAUSAL_STEPS);
  tiles->key_step = tiles->rows > step ? tiles->rows : step;
}

/* Of a call with operands do, q, k, v or, without a gradient, without do: what products of them take, and no tiles yet. */
static inline AttentionTiles
attention_copies(const actnn_call *call, bool is_gradient)
{
  AttentionTiles tiles;
  size_t operands = is_gradient ? 4 : 3, results = is_gradient ? 3 : 1;
  memset(&tiles, 0, sizeof tiles);
  for (size_t i = 0; i < operands; i++) tiles.is_narrow |= bfloat_holds(&call->input[i]);
  for (size_t i = 0; i < results; i++) tiles.is_narrow |= call->output[i].data && bfloat_holds(&call->output[i]);
  for (size_t i = 0; i < operands; i++) {
    tiles.is_copied[i] = tiles.is_narrow && !bfloat_holds(&call->input[i]);
    tiles.copy[i] = take_place(&tiles.bytes, tiles.is_copied[i], element_count(&call->input[i]), sizeof(bfloat_number));
  }
  return tiles;
}

/* The same, with tiles in a workspace of so many bytes. Half of that is left to the library. */
static inline AttentionTiles
attention_tiles(const actnn_call *call, const Attention *attention, bool is_gradient, uint64_t workspace_bytes)
{
  AttentionTiles tiles = attention_copies(call, is_gradient);
  int buffers = is_gradient ? 2 : 1;
  for (size_t i = 0; i < 2 && is_gradient; i++) tiles.has_sums[i] = call->output[i + 1].data && bfloat_holds(&call->output[i + 1]);
  tiles.row_step = whole_units(attention->keys);
  uint64_t limit = workspace_bytes > tiles.bytes ? (workspace_bytes - tiles.bytes) / 2 : 0, most = (uint64_t)buffers * SCORE_BYTES;
  shape_tiles(&tiles, attention, buffers, limit < most ? limit : most);
  int64_t scores = tiles.heads * tiles.rows * tiles.row_step;
  for (int i = 0; i < buffers; i++) {
    tiles.score[i] = take_place(&tiles.bytes, true, scores, sizeof(float));
    tiles.made[i] = tiles.is_narrow ? take_place(&tiles.bytes, true, scores, sizeof(bfloat_number)) : tiles.score[i];
  }
  for (size_t i = 0; i < 2; i++) {
    int64_t width = i == 0 ? attention->inner : attention->columns;
    tiles.sum[i] = take_place(&tiles.bytes, tiles.has_sums[i], tiles.heads * attention->keys * width, sizeof(float));
  }
  return tiles;
}

#endif
