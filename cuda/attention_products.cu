/* attention_products.cu: the products of attention's tiles (attention.h), each a stack of matrices, one a leading index. */
#include "attention.h"

extern "C" {
#include "product_library.h"
}

/* What computes a product for tiles of this shape. */
typedef struct ShapedProduct {
  AttentionProduct which;
  int64_t heads, rows, keys;
  struct gpu_product *product;
} ShapedProduct;

void
gpu_drop_attention(struct gpu_attention *made)
{
  if (!made)
    return;
  for (size_t i = 0; i < made->count; i++)
    gpu_drop_product(made->product[i].product);
  free(made->product);
  free(made);
}

static ShapedProduct *
find_product(const struct gpu_attention *made, AttentionProduct which, const Tile &tile)
{
  for (size_t i = 0; i < made->count; i++) {
    ShapedProduct *one = &made->product[i];
    if (one->which == which && one->heads == tile.heads && one->rows == tile.rows && one->keys == tile.keys)
      return one;
  }
  return NULL;
}

enum { TILE_STEPS = 3 };

/* An operand's matrices, one a leading index, and the steps in elements from one tile to the next. */
typedef struct TileMatrix {
  library_matrix matrix;
  int64_t step[TILE_STEPS];
} TileMatrix;

static TileMatrix
tile_matrix(int64_t batch, int64_t row, int64_t column)
{
  TileMatrix made;
  memset(&made, 0, sizeof made);
  made.matrix.batch[0] = batch;
  made.matrix.row = row;
  made.matrix.column = column;
  return made;
}

/* Of an operand or result; tile_rows: of the tile, 0 where each tile has all. */
static TileMatrix
matrix_of_rows(const HeadRows &rows, int64_t tile_heads, int64_t tile_rows)
{
  int64_t head_step = rows.beside > 1 ? rows.inner_step : rows.outer_step;
  TileMatrix made = tile_matrix(head_step, rows.row_step, 1);
  made.step[0] = tile_heads * head_step;
  made.step[1] = tile_rows * rows.row_step;
  made.step[2] = rows.beside > 1 ? rows.outer_step : 0;
  return made;
}

static TileMatrix
turned(TileMatrix matrix)
{
  int64_t row = matrix.matrix.row;
  matrix.matrix.row = matrix.matrix.column;
  matrix.matrix.column = row;
  return matrix;
}

typedef struct TileProduct {
  TileMatrix a, b, y;
  int64_t rows, inner, columns;
} TileProduct;

/* Where rows would lie without others beside them, as sums do in the workspace. */
static HeadRows
apart(const HeadRows &rows)
{
  return HeadRows{1, rows.outer_step / rows.beside, 0, rows.row_step / rows.beside};
}

static TileProduct
describe_tile(const Attention &attention, const AttentionTiles &tiles, const Tile &tile, AttentionProduct which)
{
  int64_t inner = attention.inner, columns = attention.columns, heads = tiles.heads;
  TileMatrix q = matrix_of_rows(attention.q, heads, tiles.rows), o = matrix_of_rows(attention.o, heads, tiles.rows);
  bool sums_k = which == KEY_GRADIENT && tiles.has_sums[0], sums_v = which == VALUE_GRADIENT && tiles.has_sums[1];
  TileMatrix k = matrix_of_rows(sums_k ? apart(attention.k) : attention.k, heads, 0);
  TileMatrix v = matrix_of_rows(sums_v ? apart(attention.v) : attention.v, heads, 0);
  if (attention.transposes_k)
    k = turned(k);
  TileMatrix scores = tile_matrix(tiles.rows * tiles.row_step, tiles.row_step, 1);
  switch (which) {
  case SCORES: return TileProduct{q, k, scores, tile.rows, inner, tile.keys};
  case OUTPUT: return TileProduct{scores, v, o, tile.rows, tile.keys, columns};
  case PROBABILITY_GRADIENT: return TileProduct{o, turned(v), scores, tile.rows, columns, tile.keys};
  case VALUE_GRADIENT: return TileProduct{turned(scores), o, v, tile.keys, tile.rows, columns};
  case QUERY_GRADIENT: return TileProduct{scores, turned(k), q, tile.rows, tile.keys, inner};
  default:
    return attention.transposes_k ? TileProduct{turned(scores), q, turned(k), tile.keys, tile.rows, inner}
                                  : TileProduct{turned(q), scores, k, inner, tile.rows, tile.keys};
  }
}

int
gpu_make_tile_product(actnn *trainer, struct gpu_attention *made, const Attention &attention, const Tile &tile, AttentionProduct which,
                      bool y_is_narrow)
{
  const AttentionTiles &tiles = made->tiles;
  if (find_product(made, which, tile))
    return 0;
  TileProduct wanted = describe_tile(attention, tiles, tile, which);
  library_product shape;
  memset(&shape, 0, sizeof shape);
  shape.batch_rank = 1;
  shape.batch[0] = tile.heads;
  shape.rows = wanted.rows;
  shape.inner = wanted.inner;
  shape.columns = wanted.columns;
  shape.a = wanted.a.matrix;
  shape.b = wanted.b.matrix;
  shape.y = wanted.y.matrix;
  shape.y.is_narrow = y_is_narrow;
  const product_steps steps = {TILE_STEPS, wanted.a.step, wanted.b.step, wanted.y.step};
  struct gpu_product *product = NULL;
  int failed = gpu_make_product(trainer, &shape, tiles.is_narrow, tiles.bytes, &steps, &product);
  if (failed)
    return failed;
  ShapedProduct *added = gpu_add_element(trainer, &made->product, &made->count, &made->capacity);
  if (!added) {
    gpu_drop_product(product);
    return 1;
  }
  *added = ShapedProduct{which, tile.heads, tile.rows, tile.keys, product};
  return 0;
}

int
gpu_multiply_tile(actnn *trainer, const struct gpu_attention *made, const Attention &attention, const Tile &tile, AttentionProduct which,
                  const void *a, const void *b, void *y)
{
  bool is_scaled = which == SCORES || which == QUERY_GRADIENT || which == KEY_GRADIENT;
  bool adds = (which == VALUE_GRADIENT || which == KEY_GRADIENT) && tile.row + tile.rows < attention.rows;
  product_sum sum = {is_scaled ? (float)attention.scale : 1, adds ? y : NULL, NULL};
  return gpu_multiply(trainer, find_product(made, which, tile)->product, a, b, y, sum);
}
