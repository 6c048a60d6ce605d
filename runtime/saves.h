/* saves.h: the coded saves of a trainer: how many levels each sample has, where its codes lie in the pool, and
 * how bytes follow what each save's noise does to the gradients.
 *
 * Kernels (standard signature; attribute 0 is the number of the save in the model). A save belongs to one of two
 * pairs. Any float value:
 *   actnn_QuantizeOnSave       x others* -> code: of x, or, where attribute 1 has steps, of what their row makes of the operands
 *   actnn_DequantizeOnBackward code -> x, in the layout that was saved
 *   actnn_SelectCoded          dy code -> dx: dy where x is positive, of masked levels
 *   actnn_MultiplyCoded        dy code -> dx: dy times what is decoded
 * A value normalized by channel, channel-blocked; attribute 1 says whether a rectifier follows:
 *   actnn_NormalizeOnSave      x mean rstd scale b -> y code: y = scale * (x - mean) * rstd + b, rectified
 *   actnn_DequantizeAffine     code scale b? -> y: what is decoded times scale, plus b
 *   actnn_DequantizeNormal     code scale b -> y
 *   actnn_NormalGradScale      dy code scale b -> dscale db
 *   actnn_NormalGradInput      dy code scale b rstd dscale db -> dx
 * Any value, as it is; attribute 0 numbers those:
 *   actnn_SaveExact            x -> code
 *   actnn_RestoreExact         code -> x
 * Both of the former:
 *   actnn_MeasureSensitivity   dy x scale?: what a weight's gradient, the product of the two, makes of the code (saves_measure.c)
 */
#ifndef ACTNN_SAVES_H
#define ACTNN_SAVES_H

#include "runtime.h"

/* Steps between two adaptations of the bits; the first is right after the first step. */
enum { SAVES_INTERVAL = 16 };

/* Makes trainer->saves for trainer->model. The layouts of the values become known when the model's functions
 * run with trainer->preparing. 0, or 1 with a message. */
int saves_create(actnn *trainer);
void saves_destroy(actnn *trainer);

/* Drops what a step has measured that is undone: no bits move for it. */
void saves_forget_measure(actnn *trainer);

/* Before each forward: moves bits between saves if the last step measured, and gives every save its place in
 * the pool. 0, or 1 with a message. */
int saves_begin_step(actnn *trainer);

/* Bytes of the pool that each save has (model->save_count numbers): the part of a run's state that adaptation
 * makes. `saves_set_shares` takes them up again; it refuses (1, with a message) shares that do not fit the
 * pool. */
int saves_shares(actnn *trainer, uint64_t *bytes);
int saves_set_shares(actnn *trainer, const uint64_t *bytes);

/* Where the stash of a value that is saved as it is lies now; NULL with a message where the two do not take the same bytes. */
void *saves_exact_stash(const actnn_call *call, const actnn_view *value, const actnn_view *stash);

/* Where in the arena the codes of the save whose stash is this tensor lie now; left alone when it is no coded save's. */
void saves_place_of(const actnn *trainer, uint32_t tensor, uint64_t *offset, uint64_t *bytes);

/* From now on every backward predicts variances, and stochastic rounding's noise p (1 - p) step^2 is counted element by
 * element (it takes longer); or no more. */
void saves_count_noise(actnn *trainer, bool count);
/* From now on only the codes of save `index` follow `trainer->draw`, all others stay those of draw 0; NONE: all follow it again. */
void saves_redraw_only(actnn *trainer, uint32_t index);
/* The variance that the codes of save `index` add to the weight gradients that read them, predicted from the noise
 * of the codes and the incoming gradients of the last backward; with `normal`, to the gradient of the scale of the
 * normalization whose value it is. NAN when nothing was measured. */
double saves_predicted_variance(const actnn *trainer, uint32_t index, bool normal);
/* From now on noise is counted at the steps that measure, for a profile; and the mean over these steps of the
 * variance that one step for the whole range would give: the weight that allocation starts from. NAN when never
 * measured. */
void saves_record_weights(actnn *trainer);
double saves_weight(const actnn *trainer, uint32_t index);
/* Bytes that the codes of save `index` really took when it was coded last, and its samples' mean number of levels. */
uint64_t saves_coded_bytes(const actnn *trainer, uint32_t index);
double saves_levels(const actnn *trainer, uint32_t index);

/* Called with each finished gradient, before its update. Variance counts by how far it moves the parameter: where the update divides each
 * element by its usual size, beside that one's square, which operand number `second_moment` holds; 0: as it is. */
void saves_note_gradient(actnn *trainer, const actnn_call *call, size_t second_moment);
/* Whether this step's gradients are looked at. */
bool saves_notes_gradients(const actnn *trainer);

/* A step that is computed twice to see what one value's code does (saves_redraw.c). When it is due, saves_redraw computes it on the
 * batch at hand, which has to be put in place again for the step itself, and saves_end_redraw follows the step. 0, or 1 with a message. */
bool saves_redraw_is_due(const actnn *trainer);
int saves_redraw(actnn *trainer, double learning_rate);
void saves_end_redraw(actnn *trainer);
/* What is known of each save that way, as a run keeps it: noise at one step for the range, noise found, step, number
 * of redraws. 1 with a message: no such numbers. */
enum { SAVES_REDRAW_NUMBERS = 4 };
void saves_redraw_state(const actnn *trainer, double (*state)[SAVES_REDRAW_NUMBERS]);
int saves_set_redraw_state(actnn *trainer, double (*state)[SAVES_REDRAW_NUMBERS]);

/* True when no step before the next that measures has other levels or places than this one, nor is looked at; which levels and places these
 * are is known by a number. */
bool saves_are_steady(const actnn *trainer);
uint64_t saves_version(const actnn *trainer);

/* How well bytes were shared out last: the variance of gradients predicted, and what no sharing of as many bytes is below. False
 * before the first time. */
bool saves_certificate(const actnn *trainer, double *cost, double *bound);

#endif
