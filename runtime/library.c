/* library.c: primitives of oneDNN: how they are kept, given memory and run. What they compute is described in
 * library_convolution.c and library_matmul.c. */
#include "library_primitive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct library {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
};

/* ---- descriptors --------------------------------------------------------------------------------- */

static dnnl_data_type_t
type_of(bool is_narrow)
{
  return is_narrow ? dnnl_bf16 : dnnl_f32;
}

#if DNNL_VERSION_MAJOR >= 3
library_descriptor
library_describe(int rank, const int64_t *dims, dnnl_format_tag_t tag, bool is_narrow)
{
  dnnl_memory_desc_t descriptor;
  return dnnl_memory_desc_create_with_tag(&descriptor, rank, dims, type_of(is_narrow), tag) ? NULL : descriptor;
}

library_descriptor
library_describe_strided(int rank, const int64_t *dims, const int64_t *strides, bool is_narrow)
{
  dnnl_memory_desc_t descriptor;
  return dnnl_memory_desc_create_with_strides(&descriptor, rank, dims, type_of(is_narrow), strides) ? NULL : descriptor;
}

void
library_forget(library_descriptor descriptor)
{
  if (descriptor) dnnl_memory_desc_destroy(descriptor);
}
#else
static library_descriptor
made(library_descriptor descriptor, dnnl_status_t status)
{
  if (!status) return descriptor;
  free(descriptor);
  return NULL;
}

library_descriptor
library_describe(int rank, const int64_t *dims, dnnl_format_tag_t tag, bool is_narrow)
{
  library_descriptor descriptor = calloc(1, sizeof *descriptor);
  if (!descriptor) return NULL;
  return made(descriptor, dnnl_memory_desc_init_by_tag(descriptor, rank, dims, type_of(is_narrow), tag));
}

library_descriptor
library_describe_strided(int rank, const int64_t *dims, const int64_t *strides, bool is_narrow)
{
  library_descriptor descriptor = calloc(1, sizeof *descriptor);
  if (!descriptor) return NULL;
  return made(descriptor, dnnl_memory_desc_init_by_strides(descriptor, rank, dims, type_of(is_narrow), strides));
}

void
library_forget(library_descriptor descriptor)
{
  free(descriptor);
}
#endif

/* ---- the trainer's library ------------------------------------------------------------------------ */

dnnl_engine_t
library_engine(actnn *trainer)
{
  if (trainer->library) return trainer->library->engine;
  struct library *library = calloc(1, sizeof *library);
  trainer->library = library;
  if (!library) return NULL;
  trainer->primitive = calloc((size_t)trainer->model->tensor_count + 1, sizeof(void *));
  if (!trainer->primitive || dnnl_engine_create(&library->engine, dnnl_cpu, 0)) {
    library->engine = NULL;
    return NULL;
  }
  if (dnnl_stream_create(&library->stream, library->engine, dnnl_stream_default_flags)) {
    dnnl_engine_destroy(library->engine);
    library->engine = NULL;
    library->stream = NULL;
  }
  return library->engine;
}

void
library_note_memory(actnn *trainer)
{
  trainer->lacks_memory |= errno == ENOMEM;
}

void
library_destroy(actnn *trainer)
{
  for (uint32_t id = 0; trainer->primitive && id < trainer->model->tensor_count; id++)
    library_drop(trainer->primitive[id]);
  free(trainer->primitive);
  trainer->primitive = NULL;
  if (trainer->library && trainer->library->stream) dnnl_stream_destroy(trainer->library->stream);
  if (trainer->library && trainer->library->engine) dnnl_engine_destroy(trainer->library->engine);
  free(trainer->library);
  trainer->library = NULL;
}

dnnl_primitive_attr_t
library_attributes(bool adds)
{
  dnnl_primitive_attr_t attributes;
  dnnl_post_ops_t operations = NULL;
  if (dnnl_primitive_attr_create(&attributes)) return NULL;
  /* An environment variable must not make single precision less than it is. */
  bool is_good = !dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user) &&
                 !dnnl_primitive_attr_set_fpmath_mode(attributes, dnnl_fpmath_mode_strict);
  if (adds && is_good) {
    is_good = !dnnl_post_ops_create(&operations) &&
#if DNNL_VERSION_MAJOR >= 3
              !dnnl_post_ops_append_sum(operations, 1, 0, dnnl_data_type_undef) &&
#else
              !dnnl_post_ops_append_sum(operations, 1) &&
#endif
              !dnnl_primitive_attr_set_post_ops(attributes, operations);
    if (operations) dnnl_post_ops_destroy(operations);
  }
  if (is_good) return attributes;
  dnnl_primitive_attr_destroy(attributes);
  return NULL;
}

/* ---- making -------------------------------------------------------------------------------------- */

static const char *
implementation_of(const_dnnl_primitive_desc_t description)
{
  const char *name = NULL;
  return dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &name) || !name ? "" : name;
}

bool
library_is_reference(const_dnnl_primitive_desc_t description)
{
  const char *name = implementation_of(description);
  return !strncmp(name, "ref", 3) || !strncmp(name, "simple", 6);
}

static bool
make_step(actnn *trainer, const_dnnl_primitive_desc_t description, library_step *step)
{
  library_const_descriptor scratch = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
  step->scratch_bytes = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
  if (step->scratch_bytes && dnnl_memory_create(&step->scratch, scratch, trainer->library->engine, DNNL_MEMORY_NONE))
    return false;
  return !dnnl_primitive_create(&step->primitive, description);
}

struct library_primitive *
library_begin(actnn *trainer, const_dnnl_primitive_desc_t description)
{
  struct library_primitive *primitive = calloc(1, sizeof *primitive);
  if (!primitive) return NULL;
  strncpy(primitive->implementation, implementation_of(description), sizeof primitive->implementation - 1);
  if (make_step(trainer, description, &primitive->step)) return primitive;
  library_drop(primitive);
  return NULL;
}

static bool
make_reorder(actnn *trainer, library_const_descriptor from, library_const_descriptor to, library_step *step)
{
  dnnl_engine_t engine = trainer->library->engine;
  dnnl_primitive_attr_t attributes = library_attributes(false);
  dnnl_primitive_desc_t description;
  if (!attributes) return false;
  bool is_made = !dnnl_reorder_primitive_desc_create(&description, from, engine, to, engine, attributes);
  dnnl_primitive_attr_destroy(attributes);
  if (!is_made) return false;
  is_made = make_step(trainer, description, step);
  dnnl_primitive_desc_destroy(description);
  return is_made;
}

bool
library_add_operand(actnn *trainer, struct library_primitive *primitive, int index, int argument, bool is_written,
                    library_const_descriptor held, library_const_descriptor wanted)
{
  library_operand *operand = &primitive->operand[index];
  dnnl_engine_t engine = trainer->library->engine;
  if (!held || !wanted || dnnl_memory_create(&operand->held, held, engine, DNNL_MEMORY_NONE)) return false;
  operand->argument = argument;
  operand->is_written = is_written;
  if (dnnl_memory_desc_equal(held, wanted)) return true;
  if (dnnl_memory_create(&operand->wanted, wanted, engine, DNNL_MEMORY_NONE)) return false;
  operand->place = primitive->workspace_bytes; /* relative to the end of the scratch until the primitive is kept */
  primitive->workspace_bytes +=
      (dnnl_memory_desc_get_size(wanted) + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  return is_written ? make_reorder(trainer, wanted, held, &operand->reorder)
                    : make_reorder(trainer, held, wanted, &operand->reorder);
}

bool
library_keep(actnn *trainer, uint32_t id, struct library_primitive *primitive)
{
  if (id >= trainer->model->tensor_count) {
    library_drop(primitive);
    return false;
  }
  uint64_t scratch = primitive->step.scratch_bytes;
  for (int i = 0; i < LIBRARY_OPERANDS; i++)
    if (primitive->operand[i].reorder.scratch_bytes > scratch) scratch = primitive->operand[i].reorder.scratch_bytes;
  scratch = (scratch + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT;
  for (int i = 0; i < LIBRARY_OPERANDS; i++) primitive->operand[i].place += scratch;
  primitive->workspace_bytes += scratch;
  if (trainer->workspace_wanted < primitive->workspace_bytes) trainer->workspace_wanted = primitive->workspace_bytes;
  library_drop(trainer->primitive[id]);
  trainer->primitive[id] = primitive;
  return true;
}

static void
drop_step(library_step *step)
{
  if (step->primitive) dnnl_primitive_destroy(step->primitive);
  if (step->scratch) dnnl_memory_destroy(step->scratch);
}

void
library_drop(struct library_primitive *primitive)
{
  if (!primitive) return;
  for (int i = 0; i < LIBRARY_OPERANDS; i++) {
    library_operand *operand = &primitive->operand[i];
    drop_step(&operand->reorder);
    if (operand->held) dnnl_memory_destroy(operand->held);
    if (operand->wanted) dnnl_memory_destroy(operand->wanted);
  }
  drop_step(&primitive->step);
  free(primitive);
}

/* ---- running ------------------------------------------------------------------------------------- */

bool
library_has(const actnn *trainer, uint32_t id)
{
  return trainer->primitive && id < trainer->model->tensor_count && trainer->primitive[id];
}

bool
library_takes_bfloat(const actnn *trainer, uint32_t id)
{
  return library_has(trainer, id) && trainer->primitive[id]->takes_bfloat;
}

const char *
library_implementation(const actnn *trainer, uint32_t id)
{
  return library_has(trainer, id) ? trainer->primitive[id]->implementation : "";
}

/* oneDNN zeroes the padding of memory that it is handed, each time: so only when the address is new, which it is in
 * the first step alone. */
static bool
place_memory(const struct library *library, dnnl_memory_t memory, void *address)
{
  void *before;
  if (!memory) return true;
  if (dnnl_memory_get_data_handle(memory, &before)) return false;
  if (before == address) return true;
#if DNNL_VERSION_MAJOR >= 3
  (void)library;
  return !dnnl_memory_set_data_handle(memory, address);
#else
  return !dnnl_memory_set_data_handle_v2(memory, address, library->stream);
#endif
}

static bool
run_step(const struct library *library, const library_step *step, dnnl_exec_arg_t *argument, int count)
{
  if (step->scratch) argument[count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, step->scratch};
  return !dnnl_primitive_execute(step->primitive, library->stream, count, argument);
}

static bool
reorder(const struct library *library, const library_operand *operand)
{
  dnnl_memory_t from = operand->is_written ? operand->wanted : operand->held;
  dnnl_memory_t to = operand->is_written ? operand->held : operand->wanted;
  dnnl_exec_arg_t argument[3] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  return run_step(library, &operand->reorder, argument, 2);
}

static bool
place_all(actnn *trainer, struct library_primitive *primitive, void *const *address)
{
  const struct library *library = trainer->library;
  bool is_good = place_memory(library, primitive->step.scratch, trainer->workspace);
  for (int i = 0; i < LIBRARY_OPERANDS; i++) {
    library_operand *operand = &primitive->operand[i];
    if (!operand->argument) continue;
    is_good = is_good && place_memory(library, operand->held, address[i]) &&
              place_memory(library, operand->wanted, trainer->workspace + operand->place) &&
              place_memory(library, operand->reorder.scratch, trainer->workspace);
  }
  return is_good;
}

int
library_run(actnn *trainer, uint32_t id, void *const address[LIBRARY_OPERANDS])
{
  if (!library_has(trainer, id)) return actnn_fail(trainer, "tensor %u: its primitive was not prepared", id);
  const struct library *library = trainer->library;
  struct library_primitive *primitive = trainer->primitive[id];
  if (primitive->workspace_bytes > trainer->workspace_bytes)
    return actnn_fail(trainer, "tensor %u: the workspace of %llu bytes is too small, %llu are needed", id,
                      (unsigned long long)trainer->workspace_bytes, (unsigned long long)primitive->workspace_bytes);
  dnnl_exec_arg_t argument[LIBRARY_OPERANDS + 1];
  int count = 0;
  bool is_good = place_all(trainer, primitive, address);
  for (int i = 0; i < LIBRARY_OPERANDS; i++) {
    const library_operand *operand = &primitive->operand[i];
    if (!operand->argument) continue;
    if (operand->wanted && !operand->is_written) is_good = is_good && reorder(library, operand);
    argument[count++] = (dnnl_exec_arg_t){operand->argument, operand->wanted ? operand->wanted : operand->held};
  }
  is_good = is_good && run_step(library, &primitive->step, argument, count);
  for (int i = 0; i < LIBRARY_OPERANDS; i++) {
    const library_operand *operand = &primitive->operand[i];
    if (operand->wanted && operand->is_written) is_good = is_good && reorder(library, operand);
  }
  /* Programs wait for the library here: the stream of a processor is in order and done when it says so. */
  is_good = is_good && !dnnl_stream_wait(library->stream);
  return is_good ? 0 : actnn_fail(trainer, "tensor %u: oneDNN's %s failed", id, primitive->implementation);
}
