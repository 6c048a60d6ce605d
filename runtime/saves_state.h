/* saves_state.h: what the files about coded saves know of them. */
#ifndef ACTNN_SAVES_STATE_H
#define ACTNN_SAVES_STATE_H

#include "allocation.h"
#include "codec.h"
#include "making.h"
#include "saves.h"
#include "spending.h"

#include "../src/operators/pointwise_steps.h"

/* Whose gradient a save's noise was measured in. */
typedef enum demand_kind {
  DEMAND_READERS, /* of the weights whose gradients read it */
  DEMAND_SCALE,   /* of its normalization's scale */
  DEMAND_BELOW,   /* of the weights right below the normalization */
  DEMAND_KINDS
} demand_kind;

typedef struct save_state {
  bool known; /* its layout, and what follows from it */
  bool coded, measured;
  double redrawn_noise; /* variance of all gradients, weighted, beside their squares, were there one step for the whole range; */
  double expected_noise; /* the same, as expected now; */
  double width;          /* its samples' ranges, summed, likewise */
  double found_noise;   /* at the levels it had when it was redrawn last */
  int64_t redrawn_step;
  uint64_t redraws;
  actnn_codec codec;
  actnn_layout layout;
  bool rectified; /* NORMAL levels: a rectifier follows, */
  float cap;      /* which lets through this much at most (actnn_affine), */
  uint32_t scale, bias; /* after these tensors */
  /* What its samples may have, in order of size: */
  int choices;
  int levels[ACTNN_LEVEL_CHOICES];
  uint64_t bytes[ACTNN_LEVEL_CHOICES]; /* of one sample */
  double noise_of[ACTNN_LEVEL_CHOICES]; /* relative to one step from the first level that matters to the last */
  actnn_spending spending;             /* by these two */
  uint64_t share, place;               /* of the pool: bytes, and from where on in what the arena holds of it */
  uint64_t share_before;               /* the last allocation */
  uint64_t coded_bytes;
  uint8_t *choice;  /* of each sample, as coded last */
  double *range;    /* of each sample: elements * (maximum - minimum)^2 summed over groups, where bytes follow from it */
  actnn_tile_noise *noise; /* of each sample, as coded last: variance summed over its elements */
  double *demand[DEMAND_KINDS]; /* of each sample: variance of gradients, were there one step for the whole range */
  uint32_t below;   /* the parameter of DEMAND_BELOW; NONE: of several */
  double *sum;      /* of each sample: scratch */
  actnn_normal_sums *channel; /* NORMAL levels: of each channel over the batch, from the last backward */
  double *flow;     /* of each sample: the variance of the gradient that flows on, at one step, beside that gradient's squares */
  double *energy;   /* of each sample: the variance of the gradient that flows on, as coded */
  double flow_from; /* squares of the parameters' gradients that were finished before */
  double predicted; /* variance of the weight gradients that read it, from the last backward that measured */
  double predicted_normal; /* and of the gradient of its normalization's scale */
  uint64_t predicted_step, predicted_draw;
  bool has_prediction;
  double weight_sum; /* of `weights` measured demands */
  uint64_t weights;
} save_state;

struct saves {
  const actnn_codec_kernels *kernels;
  save_state *save;
  /* All that a step needs is reserved while the trainer prepares; a step allocates nothing. */
  double *partial;  /* numbers a tile of the largest save, or a channel, for sums in a fixed order */
  actnn_tile_noise *tile_noise;
  uint64_t *offset; /* of each sample's codes, of the save being coded */
  float *width;     /* of each sample: its range, where bytes follow from it */
  actnn_tile_range *tile; /* what each tile's extremes are, where bytes follow from ranges */
  actnn_allocation_item *item; /* one for each sample of all saves, */
  double (*item_cost)[ACTNN_LEVEL_CHOICES];
  uint8_t *item_choice;        /* what it was given, */
  void *scratch;               /* and what the allocation takes */
  int64_t most_partial, most_noise, most_samples, most_widths, most_tiles;
  size_t most_items;
  uint32_t redrawn;    /* the one save whose codes follow trainer->draw; NONE: all do */
  bool count_noise;    /* stochastic rounding's, element by element, at every step */
  bool record_weights; /* at the steps that measure, for a profile */
  bool placed; /* every save has its share and place, */
  uint64_t version; /* which are others with each number */
  bool fresh;  /* measured since the last adaptation */
  uint32_t flow_tensor, flow_save; /* the gradient last noted by saves_note_flow, and whose noise it carries; NONE */
  double *gradient_weight; /* of each variable, by its tensor: what variance of its gradient counts (saves_note_gradient) */
  double plain_squares;    /* of the parameters' gradients finished so far in this backward, */
  double gradient_squares; /* of the parameters' gradients finished so far in this backward, weighted */
  struct redraw *redraw;   /* saves_redraw.c; NULL where nothing adapts by redraws */
  double cost, bound; /* of the last allocation: the variance predicted, and what no choice within the budget is below */
};

/* Gives every save its place in the pool, one after the other. 0, or 1 with a message. */
int saves_place(actnn *trainer);

/* ---- saves_coding.c: what several kernels of saves do ---------------------------------------------- */

/* What is done to every tile of a value. */
typedef struct tile_job {
  const actnn_codec_kernels *kernels;
  const actnn_codec *codec;
  int block;
  void *value, *other;
  bool reads_bfloat, writes_bfloat; /* as of actnn_tile_work, */
  const actnn_making *making;       /* and so is this */
  uint8_t *stash;
  const save_state *state;
  const uint64_t *offset;
  actnn_code code; /* levels are the sample's */
  actnn_philox_key key;
  actnn_tile_range *range; /* one a tile; NULL: not kept */
  bool exact_noise;
  double *sum;
  actnn_normal_sums *normal; /* of each channel of each sample */
  actnn_tile_noise *noise; /* one a tile */
  const float *mean, *rstd;
  actnn_affine affine;
  actnn_pull pull;
} tile_job;

typedef void tile_action(const tile_job *job, int64_t each, const actnn_tile_work *work);

/* A job on the codes of save `index` of this step. */
tile_job saves_job(const actnn *trainer, uint32_t index, void *value);
/* A job without codes. */
tile_job saves_plain_job(const actnn *trainer, const actnn_codec *codec, void *value);
void saves_run_tiles(const actnn *trainer, const tile_job *job, tile_action *action);
/* The same, tiles of one run of channels in order by one thread, so that they may add to the same sums. */
void saves_run_in_order(const actnn *trainer, const tile_job *job, tile_action *action);
/* How a sample of the job is coded. */
actnn_code saves_code_of(const tile_job *job, int64_t sample);
/* Sums one number a tile into one number a sample. */
void saves_sum_tiles(const actnn_codec *codec, const double *partial, double *sum);
/* The save that a call names, once its view (NULL: none) fits what is known of it. */
int saves_find(const actnn_call *call, const actnn_view *value, uint32_t *index);
/* What is coded: operand 0, or what a row makes of it. Points into itself: not to be copied. */
typedef struct saves_source {
  const actnn_view *value; /* operand 0 */
  bool is_made;
  actnn_making making;
  pointwise_steps steps;
} saves_source;
/* That of a call that codes. 0, or 1 with a message. */
int saves_find_source(const actnn_call *call, saves_source *source);
/* Floats can be coded, in whatever form they are held. */
bool saves_may_code(const actnn_view *value);
/* Takes note of the value that save `index` will code: its layout, and so its geometry; of a normalized one, the rectifier. */
int saves_get_to_know(actnn *trainer, uint32_t index, const actnn_view *value, actnn_affine affine);
/* Makes scratch large enough for so many numbers and samples. */
int saves_grow(struct saves *saves, int64_t partial, int64_t samples);
/* True where the samples of a save get bytes by their ranges: of normalized values they are all alike. */
bool saves_go_by_range(const actnn *trainer, uint32_t index);
/* Finds these ranges. */
void saves_find_ranges(actnn *trainer, uint32_t index, const saves_source *source);
/* A job on the codes of save `index` of this step, and what they are made of. */
tile_job saves_coding_job(const actnn *trainer, uint32_t index, const saves_source *source);
/* Decides how many levels every sample has, and where its codes lie: saves->offset. 0, or 1 with a message. */
int saves_decide(actnn *trainer, uint32_t index);
/* The same where a device decides by the ranges of samples: what it decided is wanted only when saves_look_at_choices says so, and then
 * noted once it is in the save's `choice` and `range`. */
int saves_decide_elsewhere(actnn *trainer, uint32_t index);
bool saves_look_at_choices(const actnn *trainer);
void saves_note_choices(actnn *trainer, uint32_t index);
/* After coding: each sample's noise from its tiles'. */
void saves_note_noise(actnn *trainer, uint32_t index);
/* The key of a save's draws in this step. */
actnn_philox_key saves_key(const actnn *trainer, uint32_t index);
/* Before decoding: 0, or 1 with a message when there is nothing to decode. */
int saves_open(actnn *trainer, uint32_t index);
/* Whether the gradients of this step decide where bytes go. */
bool saves_measure_now(const actnn *trainer, uint32_t index);

/* The noise of a save's codes as coded last, beside one step for the whole range: the mean over samples, each as wide as it is. */
double saves_mean_noise(const save_state *state);

/* A sample's range where it is a number. */
float saves_width(const save_state *state, int64_t sample);

/* ---- saves_normal.c ---------------------------------------------------------------------------------- */

/* What follows the normalized value of a kernel: this scale and bias, and the rectifier of attributes 1 and 2. */
actnn_affine saves_affine(const actnn_call *call, const void *scale, const void *bias);
/* As saves_find, of a normalized value, read with the rectifier that it was coded with. */
int saves_find_normal(const actnn_call *call, const actnn_view *value, uint32_t *index);
/* Adds up the sums of each channel of each sample, in order, over the samples, and notes the variance of the scale's gradient. */
void saves_finish_normal(actnn *trainer, uint32_t index, const actnn_normal_sums *normal);
/* What a normalization's gradient needs of its channels, from what its kernel reads; room: three numbers a channel. */
void saves_find_pull(const actnn_codec *codec, const float *scale, const float *rstd, const float *dscale, const float *db, float *room,
                     actnn_pull *pull);
/* Notes what the codes do to dx: each is multiplied by the slope of its channel. A sample's part is by its codes' variances. */
void saves_note_pull(actnn *trainer, uint32_t index, uint32_t dx, double squares, const actnn_pull *pull);

/* ---- saves_redraw.c --------------------------------------------------------------------------------- */

/* 0, or 1 with a message. */
int saves_prepare_redraws(actnn *trainer);
void saves_destroy_redraws(struct saves *saves);
/* Before an allocation: what is expected of each redrawn value's noise, from what was found, the older the less, and its weight. */
void saves_settle_redraws(actnn *trainer);
/* A finished gradient, and what variance of each element counts. */
typedef struct weighted_gradient {
  uint32_t variable; /* its tensor */
  const float *element;
  size_t count;
  const float *usual; /* what its squares are usually, and at least; NULL: all weigh 1 */
  double least;
} weighted_gradient;

static inline double
element_weight(const weighted_gradient *gradient, size_t i)
{
  return gradient->usual ? 1 / (gradient->usual[i] + gradient->least) : 1;
}

/* Takes a gradient into the comparison of a step's two passes. Nothing when none is under way. */
void saves_compare_gradient(actnn *trainer, const weighted_gradient *gradient);

/* ---- saves_measure.c -------------------------------------------------------------------------------- */

/* Notes what the noise of save `index` does to gradients that read it: variance of each sample's part. is_normal: to
 * the gradient of a normalization's scale. */
void saves_note_variance(actnn *trainer, uint32_t index, const double *variance, bool is_normal);
/* Notes the variance that it gives the gradient that flows on, of each sample, beside that gradient's squares: all gradients finished
 * later get about as much noise beside their own squares, as white noise and gradient mostly do alike. */
void saves_note_flow(actnn *trainer, uint32_t index, uint32_t gradient, double squares, const double *variance);
/* The squares of a gradient that lies as the value of save `index` does, summed. */
double saves_squares(actnn *trainer, uint32_t index, const actnn_view *value);
/* What MeasureSensitivity compares: a gradient and a value whose code its product reads. Maps have a number for each position of each
 * sample: squares of dy, variances of x's codes and, where dy itself carries a code's noise (`above`), squares of x. */
typedef struct saves_sensitivity {
  uint32_t index;
  const actnn_view *dy, *x, *scale; /* scale: of each feature; NULL: none */
  actnn_codec of_dy, of_x;
  bool is_swapped;
  const actnn_attribute *with;
  save_state *above;
  double *dy_map, *noise_map, *x_map; /* x_map: NULL where it is not asked for */
} saves_sensitivity;
/* Describes it and, at a step that measures, opens the codes; the maps are to be filled then. 0, or 1 with a message. */
int saves_open_sensitivity(const actnn_call *call, saves_sensitivity *measured, bool *is_wanted);
/* Notes what follows from the maps. */
void saves_weigh_maps(actnn *trainer, const saves_sensitivity *measured);
/* What one step for the whole range of a sample would give all gradients. */
double saves_demand(const actnn *trainer, uint32_t index, int64_t sample);
/* Before a step that measures. */
void saves_forget_demands(struct saves *saves, uint32_t count);
/* True at a step that measures anything. */
bool saves_measure_at(const actnn *trainer);
/* True in a pass whose gradients are compared with another's. */
bool saves_compares(const actnn *trainer);

#endif
