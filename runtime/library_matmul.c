/* library_matmul.c: matrix products described to oneDNN. Transposition and broadcasting are steps in memory, so that
 * nothing is copied. */
#include "library_primitive.h"

#include <errno.h>

/* A matrix whose batch axes are `batch`, or 1 where it is broadcast. */
static library_descriptor
describe_matrix(const library_product *product, const library_matrix *matrix, int64_t rows, int64_t columns)
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
  return library_describe_strided(rank, dim, step);
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
  return library_describe_strided(rank, dim, step);
}

static dnnl_primitive_desc_t
describe_primitive(actnn *trainer, library_descriptor *held, bool adds)
{
  dnnl_primitive_desc_t result = NULL;
  dnnl_primitive_attr_t attributes = library_attributes(adds);
  if (!attributes) return NULL;
#if DNNL_VERSION_MAJOR >= 3
  if (dnnl_matmul_primitive_desc_create(&result, library_engine(trainer), held[0], held[1], held[3], held[2], attributes))
    result = NULL;
#else
  dnnl_matmul_desc_t operation;
  if (dnnl_matmul_desc_init(&operation, held[0], held[1], held[3], held[2]) ||
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
  library_descriptor held[LIBRARY_OPERANDS] = {
      describe_matrix(product, &product->a, product->rows, product->inner),
      describe_matrix(product, &product->b, product->inner, product->columns),
      describe_matrix(product, &product->y, product->rows, product->columns),
      product->has_bias ? describe_bias(product) : NULL};
  dnnl_primitive_desc_t wanted = NULL;
  if (held[0] && held[1] && held[2] && (held[3] || !product->has_bias))
    wanted = describe_primitive(trainer, held, product->adds);
  struct library_primitive *primitive = wanted ? library_begin(trainer, wanted) : NULL;
  bool is_good = primitive != NULL;
  for (int i = 0; is_good && i < LIBRARY_OPERANDS; i++)
    if (held[i]) is_good = library_add_operand(trainer, primitive, i, argument[i], i == 2, held[i], held[i]);
  if (wanted) dnnl_primitive_desc_destroy(wanted);
  for (int i = 0; i < LIBRARY_OPERANDS; i++) library_forget(held[i]);
  library_note_memory(trainer);
  if (is_good) return library_keep(trainer, id, primitive);
  library_drop(primitive);
  return false;
}
