/* library_primitive.h: what the files library*.c share: a primitive with its operands. */
#ifndef ACTNN_LIBRARY_PRIMITIVE_H
#define ACTNN_LIBRARY_PRIMITIVE_H

#include "library.h"

#include <oneapi/dnnl/dnnl.h>

/* A memory descriptor, owned: a struct in version 2, a handle in version 3. */
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t library_descriptor;
typedef const_dnnl_memory_desc_t library_const_descriptor;
#else
typedef dnnl_memory_desc_t *library_descriptor;
typedef const dnnl_memory_desc_t *library_const_descriptor;
#endif

/* Of bfloat16 or of FP32. NULL on failure. All functions below take NULL for a descriptor that could not be made, and fail. */
library_descriptor library_describe(int rank, const int64_t *dims, dnnl_format_tag_t tag, bool is_narrow);
library_descriptor library_describe_strided(int rank, const int64_t *dims, const int64_t *strides, bool is_narrow);
void library_forget(library_descriptor descriptor);

/* A oneDNN primitive and its scratch, which begins the workspace. */
typedef struct library_step {
  dnnl_primitive_t primitive;
  dnnl_memory_t scratch;
  uint64_t scratch_bytes;
} library_step;

typedef struct library_operand {
  int argument;         /* DNNL_ARG_...; 0: absent */
  bool is_written;
  dnnl_memory_t held;   /* as it lies in the arena */
  dnnl_memory_t wanted; /* as the primitive wants it, in the workspace; NULL: the same */
  uint64_t place;       /* there */
  library_step reorder;
} library_operand;

struct library_primitive {
  library_step step;
  library_operand operand[LIBRARY_OPERANDS];
  uint64_t workspace_bytes;
  bool takes_bfloat;
  char implementation[48];
};

/* The trainer's engine; NULL when there is none. Makes it, and the slots, when first asked. */
dnnl_engine_t library_engine(actnn *trainer);
/* Attributes that keep scratch in our hands. NULL on failure; the caller destroys them. */
dnnl_primitive_attr_t library_attributes(bool adds);

/* A primitive made of `description`, or NULL; add operands, then keep or drop it. */
struct library_primitive *library_begin(actnn *trainer, const_dnnl_primitive_desc_t description);
/* Operand `index` lies in memory as `held` says; if the primitive wants it otherwise it is reordered. */
bool library_add_operand(actnn *trainer, struct library_primitive *primitive, int index, int argument, bool is_written,
                         library_const_descriptor held, library_const_descriptor wanted);
/* Puts the primitive into the slot of tensor `id` and says its workspace. */
bool library_keep(actnn *trainer, uint32_t id, struct library_primitive *primitive);
void library_drop(struct library_primitive *primitive);

/* After trying to make a primitive, errno having been 0: where memory ran out the plain loops would do, but give other bits, so
 * that is no reason to take them; preparing fails then. */
void library_note_memory(actnn *trainer);

/* True for oneDNN's reference loops, which are slow. */
bool library_is_reference(const_dnnl_primitive_desc_t description);

#endif
