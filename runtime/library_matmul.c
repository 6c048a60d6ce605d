/* library_matmul.c: matrix products described to oneDNN. Transposition and broadcasting are steps in memory, so that
 * nothing is copied. */
#include "library_primitive.h"

#include <errno.h>
#include <string.h>

/* A matrix whose batch axes are `batch`, or 1 where it is broadcast. */
static library_descriptor
describe_matrix(const library_product *product, const library_matrix *matrix, int64_t rows, int64_t columns, bool is_narrow)
{
  dnnl_dims_t dim, step;
  int rank = product->batch_rank + 2;
  dim[rank - 1] = columns;
  dim[rank - 2] = rows;
  step[rank - 1] = matrix->column;
  step[rank - 2] = matrix->row;
  int64_t dense = rows * columns; /* what the step of an axis of extent 1 is does not matter, but dense is quickest */
  for (int i = rank - 3; i >= 0; i--) {
    bool is_broadcast = matrix->batch[i] == 0;
    dim[i] = is_broadcast ? 1 : product->batch[i];
    step[i] = is_broadcast ? dense : matrix->batch[i];
    dense = step[i] * dim[i];
  }
  return library_describe_strided(rank, dim, step, is_narrow);
}

static library_descriptor
describe_bias(const library_product *product)
{
  dnnl_dims_t dim, step;
  int rank = product->batch_rank + 2;
  for (int i = 0; i < rank; i++) {
    dim[i] = 1;
    step[i] = product->columns;
  }
  dim[rank - 1] = product->columns;
  step[rank - 1] = 1;
  return library_describe_strided(rank, dim, step, false);
}

/* In the order a, b, y, bias; as they are held, or with both operands rounded to bfloat16. */
static void
describe_all(const library_product *product, bool rounds, library_descriptor *descriptor)
{
  const library_matrix *a = &product->a, *b = &product->b, *y = &product->y;
  descriptor[0] = describe_matrix(product, a, product->rows, product->inner, rounds || a->is_narrow);
  descriptor[1] = describe_matrix(product, b, product->inner, product->columns, rounds || b->is_narrow);
  descriptor[2] = describe_matrix(product, y, product->rows, product->columns, y->is_narrow);
  descriptor[3] = product->has_bias ? describe_bias(product) : NULL;
}

static bool
are_described(const library_product *product, const library_descriptor *descriptor)
{
  return descriptor[0] && descriptor[1] && descriptor[2] && (descriptor[3] || !product->has_bias);
}

static dnnl_primitive_desc_t
describe_primitive(actnn *trainer, library_descriptor *asked, bool adds)
{
  dnnl_primitive_desc_t result = NULL;
  dnnl_primitive_attr_t attributes = library_attributes(adds);
  if (!attributes) return NULL;
#if DNNL_VERSION_MAJOR >= 3
  if (dnnl_matmul_primitive_desc_create(&result, library_engine(trainer), asked[0], asked[1], asked[3], asked[2], attributes))
    result = NULL;
#else
  dnnl_matmul_desc_t operation;
  if (dnnl_matmul_desc_init(&operation, asked[0], asked[1], asked[3], asked[2]) ||
      dnnl_primitive_desc_create(&result, &operation, attributes, library_engine(trainer), NULL))
    result = NULL;
#endif
  dnnl_primitive_attr_destroy(attributes);
  return result;
}

bool
library_make_product(actnn *trainer, uint32_t id, const library_product *product)
{
  static const int argument[LIBRARY_OPERANDS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS};
  errno = 0;
  if (!library_engine(trainer) || product->batch_rank > ACTNN_MAX_RANK) return library_note_memory(trainer), false;
  bool is_narrow = product->a.is_narrow || product->b.is_narrow || product->y.is_narrow;
  library_descriptor held[LIBRARY_OPERANDS], asked[LIBRARY_OPERANDS];
  describe_all(product, false, held);
  describe_all(product, is_narrow, asked);
  dnnl_primitive_desc_t wanted = NULL;
  if (are_described(product, held) && are_described(product, asked)) wanted = describe_primitive(trainer, asked, product->adds);
  bool is_good = wanted && !(is_narrow && library_is_reference(wanted)); /* FP32 is faster than the reference loops */
  struct library_primitive *primitive = is_good ? library_begin(trainer, wanted) : NULL;
  is_good = primitive != NULL;
  if (is_good) primitive->takes_bfloat = is_narrow;
  for (int i = 0; is_good && i < LIBRARY_OPERANDS; i++)
    if (held[i]) is_good = library_add_operand(trainer, primitive, i, argument[i], i == 2, held[i], asked[i]);
  if (wanted) dnnl_primitive_desc_destroy(wanted);
  for (int i = 0; i < LIBRARY_OPERANDS; i++) {
    library_forget(held[i]);
    library_forget(asked[i]);
  }
  library_note_memory(trainer);
  if (is_good) return library_keep(trainer, id, primitive);
  library_drop(primitive);
  return false;
}

bool
library_multiply(const library_tile *tile)
{
  if (!tile->rows || !tile->columns) return true;
  for (int64_t row = 0; !tile->inner && !tile->adds && row < tile->rows; row++)
    memset(tile->y + row * tile->y_row, 0, (size_t)tile->columns * sizeof *tile->y);
  return !tile->inner
         || !dnnl_sgemm(tile->transposes_a ? 'T' : 'N', tile->transposes_b ? 'T' : 'N', tile->rows, tile->columns, tile->inner, tile->factor,
                        tile->a, tile->a_row, tile->b, tile->b_row, tile->adds, tile->y, tile->y_row);
}
