/* actnn.h: what an emitted trainer, the runtime and the translator's evaluator share.
 *
 * An emitted trainer is a table of tensors (type, shape, layout, place in one arena), a few functions
 * that call kernels on them in order, and one `actnn_model` that describes it to the runtime:
 *
 *     RUN(actnn_Conv, OUT(v12), IN(v11, v3, NONE), WITH(INTS(1, 1), INTS(1, 1, 1, 1), INTS(1, 1), INT(1)));
 *
 * Every kernel has the same C type, so that a reader (and the verifier of emitted source) needs one rule:
 * OUT is written, IN is read, WITH holds the compile-time attributes in the order of the operator's
 * signature (`actnnc --explain=Conv` prints it).
 */
#ifndef ACTNN_H
#define ACTNN_H

#include <math.h> /* INFINITY and NAN in emitted tables */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { ACTNN_MAX_RANK = 8, ACTNN_MAX_OPERANDS = 256, ACTNN_ALIGNMENT = 64 };

/* Element types carry ONNX's own numbers (TensorProto.DataType). */
typedef enum actnn_type {
  ACTNN_UNDEFINED = 0,
  ACTNN_F32 = 1,
  ACTNN_U8 = 2,
  ACTNN_I8 = 3,
  ACTNN_U16 = 4,
  ACTNN_I16 = 5,
  ACTNN_I32 = 6,
  ACTNN_I64 = 7,
  ACTNN_STRING = 8,
  ACTNN_BOOL = 9, /* one byte, 0 or 1 */
  ACTNN_F16 = 10,
  ACTNN_F64 = 11,
  ACTNN_U32 = 12,
  ACTNN_U64 = 13,
  ACTNN_BF16 = 16
} actnn_type;

/* How a tensor lies in memory.
 * PLAIN: ONNX's row-major order.
 * BLOCKED: for rank >= 3, N x C x P (P: the product of the spatial extents) with channel block B:
 *   element (n, c, p) at ((n * ceil(C / B) + c / B) * P + p) * B + c % B. B is the trainer's
 *   (`actnn_channel_block`), 1, 8 or 16; channels beyond C in the last block are always zero.
 * STASH: codes or packed bits; only the kernels that wrote them read them. */
typedef enum actnn_layout { ACTNN_PLAIN, ACTNN_BLOCKED, ACTNN_STASH } actnn_layout;

typedef struct actnn_tensor {
  uint8_t type;   /* actnn_type */
  uint8_t layout; /* actnn_layout */
  uint8_t rank;
  int64_t dim[ACTNN_MAX_RANK]; /* logical extents, also when blocked; of the saved value for a stash */
  uint64_t offset;             /* bytes from the start of the arena */
  uint64_t bytes;              /* reserved there, a multiple of ACTNN_ALIGNMENT */
} actnn_tensor;

/* A tensor as a kernel sees it. */
typedef struct actnn_view {
  void *data; /* NULL: an optional operand or result that is absent */
  actnn_type type;
  actnn_layout layout;
  int rank;
  const int64_t *dim;
  uint64_t bytes;
  uint32_t id; /* its number in the model's table */
} actnn_view;

typedef enum actnn_attribute_kind {
  ACTNN_ABSENT,
  ACTNN_INT,
  ACTNN_REAL,
  ACTNN_INTS,
  ACTNN_REALS,
  ACTNN_TEXT
} actnn_attribute_kind;

typedef struct actnn_attribute {
  actnn_attribute_kind kind;
  int64_t i;
  double f;
  size_t count; /* of ints or reals */
  const int64_t *ints;
  const double *reals;
  const char *text;
} actnn_attribute;

typedef struct actnn actnn;

typedef struct actnn_call {
  actnn *trainer; /* NULL when the translator evaluates at compile time */
  size_t output_count, input_count, attribute_count;
  const actnn_view *output, *input;
  const actnn_attribute *attribute; /* compile-time constant operands first, then attributes, in signature order */
} actnn_call;

/* Returns 0, or 1 after `actnn_fail` has said why. */
typedef int actnn_kernel(const actnn_call *call);

/* A list of tensor numbers. */
typedef struct actnn_list {
  size_t count;
  const uint32_t *id;
} actnn_list;

typedef struct actnn_attributes {
  size_t count;
  const actnn_attribute *attribute;
} actnn_attributes;

/* The words of emitted calls. */
#define ACTNN_IDS(...) \
  { sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), (const uint32_t[]){__VA_ARGS__} }
#define OUT(...) (actnn_list) ACTNN_IDS(__VA_ARGS__)
#define IN(...) (actnn_list) ACTNN_IDS(__VA_ARGS__)
#define NONE UINT32_MAX
#define WITH(...) \
  (actnn_attributes) { \
    sizeof((const actnn_attribute[]){__VA_ARGS__}) / sizeof(actnn_attribute), \
        (const actnn_attribute[]){__VA_ARGS__} \
  }
#define WITHOUT \
  (actnn_attributes) { 0, NULL }
#define ABSENT \
  { .kind = ACTNN_ABSENT }
#define INT(value) \
  { .kind = ACTNN_INT, .i = (value) }
#define REAL_NUMBER(value) \
  { .kind = ACTNN_REAL, .f = (value) }
#define TEXT(value) \
  { .kind = ACTNN_TEXT, .text = (value) }
#define INTS(...) \
  { \
    .kind = ACTNN_INTS, .count = sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t), \
    .ints = (const int64_t[]) { __VA_ARGS__ } \
  }
#define NO_INTS \
  { .kind = ACTNN_INTS }
#define REALS(...) \
  { \
    .kind = ACTNN_REALS, .count = sizeof((const double[]){__VA_ARGS__}) / sizeof(double), \
    .reals = (const double[]) { __VA_ARGS__ } \
  }
#define RUN(kernel, out, in, with) \
  do { \
    if (actnn_run(trainer, (kernel), (out), (in), (with))) return 1; \
  } while (0)

/* Runs one kernel of a trainer; 0, or 1 and a message in `actnn_error`. */
int actnn_run(actnn *trainer, actnn_kernel *kernel, actnn_list out, actnn_list in, actnn_attributes with);

/* ---- What an emitted source says of itself ------------------------------------------------------ */

typedef struct actnn_input {
  uint32_t tensor;
  const char *name;
} actnn_input;

typedef enum actnn_variable_role {
  ACTNN_PARAMETER, /* trained */
  ACTNN_FROZEN,    /* a parameter that is not trained */
  ACTNN_RUNNING,   /* statistics updated by forward (BatchNormalization) */
  ACTNN_OPTIMIZER, /* momentum and the like */
  ACTNN_FIXED      /* a large constant of the model; not exported again, not in checkpoints */
} actnn_variable_role;

/* What persists from step to step: the content of a checkpoint. */
typedef struct actnn_variable {
  uint32_t tensor;
  const char *name; /* the ONNX initializer's name; "NAME.momentum" and the like for optimizer state */
  actnn_variable_role role;
  bool drawn; /* its first value comes from `initialize`; otherwise from the .safetensors file, zero for OPTIMIZER */
} actnn_variable;

/* Where the levels of a coded value lie; see codec.h. */
typedef enum actnn_spacing {
  ACTNN_EVEN_LEVELS,
  ACTNN_FIXED_LEVELS,
  ACTNN_MASKED_LEVELS,
  ACTNN_SQUARE_LEVELS,
  ACTNN_NORMAL_LEVELS,
  ACTNN_SPACINGS
} actnn_spacing;

/* How the bytes of a coded value follow its noise during a run. */
typedef enum actnn_adaptation {
  ACTNN_KEEPS_ITS_SHARE,
  ACTNN_ADAPTS_BY_READERS, /* weight gradients read it: what its noise does to them is measured where they are made */
  ACTNN_ADAPTS_BY_REDRAWS  /* its noise goes on to other layers: now and then a step is computed twice to see what it does */
} actnn_adaptation;

/* A value that is quantized on save. Codes of all saves share one pool, `stash_bytes` long; where in it a
 * save lies follows from the bytes of those before it, so that bytes can move between saves during a run. What
 * a save starts with is the size of its stash; how many levels each sample has follows from that. */
typedef struct actnn_save {
  uint32_t tensor;    /* the stash's number; its dims are those of the saved value */
  const char *name;   /* of the saved ONNX value */
  actnn_spacing spacing;
  bool dither;        /* subtractive dither; otherwise stochastic rounding */
  double low, high;   /* FIXED: the range */
  uint32_t choices;   /* bit i: samples may have the i-th number of levels (actnn_choice_levels) */
  uint64_t random_id; /* keys the random stream */
  actnn_adaptation adaptation;
  double weight;      /* what its noise is expected to do beside that of the others, at one step for the whole range */
  uint32_t gradient;  /* the parameter whose weight gradient reads it, NONE if several or none */
  uint32_t scale;     /* the scale of the normalization whose normalized value it is, or NONE */
} actnn_save;

typedef enum actnn_loss_kind {
  ACTNN_LOSS_OUTPUT, /* a scalar of the model itself */
  ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY,
  ACTNN_LOSS_MSE,
  ACTNN_LOSS_L1,
  ACTNN_LOSS_BCE_WITH_LOGITS
} actnn_loss_kind;

typedef int actnn_function(actnn *trainer);

/* Where a trainer's tensors live, unless it is the processor's memory; `actnn_cuda` is in libactnn-cuda. */
typedef struct actnn_device actnn_device;
extern const actnn_device actnn_cuda;

/* The kernel of a joined node's steps for a GPU, from the .cu file that is emitted beside the source (actnn_pointwise.h). A table of them
 * ends with a row without steps. launch: 0, or CUDA's number of the error, which only that file's own copy of CUDA's runtime knows. */
typedef struct actnn_pointwise {
  const char *steps;
  int (*launch)(const void *job, void *stream);
} actnn_pointwise;

typedef struct actnn_model {
  int version; /* ACTNN_VERSION of the translator that wrote it */
  const char *name;
  const actnn_tensor *tensor;
  const actnn_input *input; /* data first (images, tokens), labels last where the loss has labels */
  const actnn_variable *variable;
  const actnn_save *save;
  uint32_t tensor_count, input_count, variable_count, save_count;
  uint32_t exact_count;        /* values that the pool holds as they are (actnn_SaveExact), numbered from 0 */
  uint32_t label;              /* which of `input` holds the labels; NONE */
  uint32_t loss;               /* tensor: scalar training loss */
  uint32_t evaluation_loss;    /* tensor: the same in the evaluation function; NONE */
  uint32_t evaluation_output;  /* tensor: prediction (logits, or 64-bit numbers of classes) in the evaluation function; NONE */
  uint32_t evaluation_losses;  /* tensor: f32, where evaluation_output has numbers of classes: of each label its loss; NONE */
  uint32_t learning_rate;      /* tensor: f32 scalar that the trainer sets before each step; NONE */
  uint32_t step_number;        /* tensor: i64 scalar, 0 at the first step; NONE */
  uint32_t training_output;    /* tensor: prediction of the training step, likewise, alive at the end of forward; NONE */
  actnn_loss_kind loss_kind;
  int64_t batch;               /* samples a step */
  uint64_t arena_bytes;        /* all of the below */
  uint64_t variable_bytes;     /* parameters and state: the arena's first bytes */
  uint64_t stash_offset, stash_bytes;         /* pool of saves: what is coded, */
  uint64_t exact_bytes;                       /* and behind it what is as it was */
  uint64_t window_bytes;       /* of all of that, what the arena holds at once, while the rest waits in the host's memory; 0: all of it */
  uint64_t workspace_offset, workspace_bytes; /* scratch of library primitives */
  uint64_t saved_bytes;        /* all that backward keeps of forward, coded */
  uint64_t saved_bytes_fp32;   /* what it would keep uncompressed */
  uint64_t model_hash;         /* ties a checkpoint to a model */
  uint64_t seed;
  double default_learning_rate;
  const actnn_device *device;  /* NULL: the processor */
  const actnn_pointwise *pointwise; /* NULL: there are none */
  const char *scheme;          /* "actnn" or "actnnc" */
  int level;                   /* 0 to 5 */
  actnn_function *initialize, *forward, *backward, *evaluate;
  const unsigned char *onnx;   /* ModelProto in inference mode without trained weights; weights are appended on export */
  size_t onnx_bytes;
} actnn_model;

enum { ACTNN_VERSION = 9 };

/* The trainer's command line. Returns the process's exit code. */
int actnn_main(const actnn_model *model, int argc, char **argv);

/* ---- The trainer as a library ------------------------------------------------------------------ */

/* Makes a trainer: checks that the model's plan fits this runtime, reserves the arena, makes library
 * primitives, draws initial weights (those not drawn are zero until `actnn_load`). threads 0: all cores.
 * NULL on failure, message in `error` (of error_bytes, may be NULL). The caller destroys it. */
actnn *actnn_create(const actnn_model *model, int threads, uint64_t seed, char *error, size_t error_bytes);
void actnn_destroy(actnn *trainer);

/* Address of an input, variable or other tensor in the arena; NULL for a number out of range. Of a trainer on a device it is that of
 * a copy that is fetched now; whoever writes to it says so by `actnn_put` (0, or 1 with the reason in `actnn_error`). Inputs are
 * sent with each step and need neither. */
void *actnn_data(actnn *trainer, uint32_t tensor);
int actnn_put(actnn *trainer, uint32_t tensor);

/* One training step on what the inputs hold: forward, backward, update. *loss gets the scalar loss.
 * 0, or 1 with the reason in `actnn_error`. */
int actnn_step(actnn *trainer, double learning_rate, double *loss);
/* Forward in inference mode only. */
int actnn_evaluate_batch(actnn *trainer, double *loss);
int actnn_save_checkpoint(actnn *trainer, const char *path);
int actnn_load(actnn *trainer, const char *path);
int actnn_export(actnn *trainer, const char *path);
const char *actnn_error(const actnn *trainer);

/* With an observer set, update kernels hand it each finished gradient (plain layout, f32) instead of
 * changing the variable: how gradients are compared with an oracle and their variance is measured. */
typedef void actnn_gradient_observer(void *context, uint32_t variable_tensor, const float *gradient, size_t count);
void actnn_observe_gradients(actnn *trainer, actnn_gradient_observer *observer, void *context);

/* A call as the translator plans it: kernel by name, tensors by number. */
typedef struct actnn_recorded_call {
  const char *kernel; /* "Conv" */
  actnn_list out, in;
  actnn_attributes with;
} actnn_recorded_call;

/* Scratch bytes that library primitives, and copies of what kernels do not take as it is held, ask for on this machine when these calls run
 * one after the other, each on all of it; for a GPU copies alone. UINT64_MAX when a call cannot be prepared. Tensors' data are not touched. */
uint64_t actnn_measure_workspace(const actnn_tensor *tensor, uint32_t tensor_count, uint64_t arena_bytes,
                                 const actnn_recorded_call *call, size_t call_count, bool is_for_gpu);

#include "actnn_kernels.h" /* generated from the operator table: `int actnn_NAME(const actnn_call *)` each */

#ifdef __cplusplus
}
#endif
#endif
