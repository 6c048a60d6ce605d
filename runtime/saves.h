/* saves.h: the coded saves of a trainer: how many bits each sample has, where its codes lie in the pool, and
 * how the bits follow what each save's noise does to the gradients.
 *
 * Kernels (standard signature; attribute 0 is the number of the save in the model):
 *   actnn_QuantizeOnSave       input 0 the value, output 0 its stash
 *   actnn_DequantizeOnBackward input 0 the stash, output 0 the value, in the layout that was saved
 *   actnn_MeasureSensitivity   input 0 the gradient that meets the coded value; attribute 1: factor, a real
 * number: gradient variance = factor * sum over samples of |dy|^2 * sum of code variances
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

/* Before each forward: moves bits between saves if the last step measured, and gives every save its place in
 * the pool. 0, or 1 with a message. */
int saves_begin_step(actnn *trainer);

/* Bytes of the pool that each save has (model->save_count numbers): the part of a run's state that adaptation
 * makes. `saves_set_shares` takes them up again; it refuses (1, with a message) shares that do not fit the
 * pool. */
int saves_shares(actnn *trainer, uint64_t *bytes);
int saves_set_shares(actnn *trainer, const uint64_t *bytes);

/* Whether QuantizeOnSave also sums p (1 - p) step^2 (it takes longer), and the sum of save `index` when it
 * was coded last: the variance summed over its elements. */
void saves_count_noise(actnn *trainer, bool count);
double saves_noise(const actnn *trainer, uint32_t index);
/* The variance that the codes of save `index` add to the weight gradients that read them, predicted from the noise
 * counted and the incoming gradients of the last backward: factor * sum over samples of |dy|^2 * noise. NAN when
 * the noise was not counted, or the model does not measure this save. It takes no note of how noise and gradient
 * vary together inside a sample. */
double saves_predicted_variance(const actnn *trainer, uint32_t index);
/* From now on noise is counted at the steps that measure, for a profile; and the mean over these steps of the
 * predicted variance times (2^bits - 1)^2: the weight that allocation.h asks for. NAN when never measured. */
void saves_record_weights(actnn *trainer);
double saves_weight(const actnn *trainer, uint32_t index);
/* Bytes that the codes of save `index` really took when it was coded last, and its bits per element, headers
 * and padding not counted. */
uint64_t saves_coded_bytes(const actnn *trainer, uint32_t index);
double saves_bits(const actnn *trainer, uint32_t index);

#endif
