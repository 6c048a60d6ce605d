/* attention.h: what the files attention*.cu share: tiles, and the products of a tile. */
#ifndef ACTNN_CUDA_ATTENTION_H
#define ACTNN_CUDA_ATTENTION_H

#include "libraries.h"

extern "C" {
#include "attention_tiles.h"
}

typedef struct Tile {
  int64_t head, heads, row, rows, keys; /* keys: from the first on */
} Tile;

/* The tile that begins with these. */
static inline Tile
tile_at(const Attention &attention, const AttentionTiles &tiles, int64_t head, int64_t row)
{
  Tile tile = {head, attention.heads - head, row, attention.rows - row, attention.keys};
  if (attention.beside > 1 && tile.heads > attention.beside - head % attention.beside)
    tile.heads = attention.beside - head % attention.beside;
  if (tile.heads > tiles.heads)
    tile.heads = tiles.heads;
  if (tile.rows > tiles.rows)
    tile.rows = tiles.rows;
  if (tiles.key_step && row + tile.rows < attention.rows) {
    int64_t keys = (row + tile.rows + tiles.key_step - 1) / tiles.key_step * tiles.key_step;
    tile.keys = keys < tile.keys ? keys : tile.keys;
  }
  return tile;
}

/* run(tile) of all of them until one fails, and last(the first leading index, how many) behind those of the same leading indices. */
template <typename Run, typename Last>
static int
for_tiles(const Attention &attention, const AttentionTiles &tiles, Run run, Last last)
{
  for (int64_t head = 0, heads; head < attention.heads; head += heads) {
    heads = tile_at(attention, tiles, head, 0).heads;
    for (int64_t row = (attention.rows - 1) / tiles.rows * tiles.rows; row >= 0; row -= tiles.rows) {
      int failed = run(tile_at(attention, tiles, head, row));
      if (failed)
        return failed;
    }
    int failed = last(head, heads);
    if (failed)
      return failed;
  }
  return 0;
}

typedef enum AttentionProduct { SCORES, OUTPUT, PROBABILITY_GRADIENT, VALUE_GRADIENT, QUERY_GRADIENT, KEY_GRADIENT } AttentionProduct;

/* What computes a call. Tiles are what they were while the trainer prepared. */
struct gpu_attention {
  AttentionTiles tiles;
  bool is_fused; /* there are none, but for copies of operands */
  struct ShapedProduct *product;
  size_t count, capacity;
};

/* While preparing: makes what computes a product for this tile and all of its shape, unless it is there; y_is_narrow: into bfloat16. 0, 1 with a
 * message, or DEVICE_DECLINES. */
int gpu_make_tile_product(actnn *trainer, struct gpu_attention *made, const Attention &attention, const Tile &tile, AttentionProduct which,
                          bool y_is_narrow);
/* The product of this tile; operands and the result from where its own begin. 0, or 1 with a message. */
int gpu_multiply_tile(actnn *trainer, const struct gpu_attention *made, const Attention &attention, const Tile &tile, AttentionProduct which,
                      const void *a, const void *b, void *y);

#endif
