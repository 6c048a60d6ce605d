/* normalization_walk.h: the way over a tensor's channels that normalization takes (normalization.c).
 *
 * Channels are handled in groups: 1 channel of a plain tensor, B of a blocked one, 16 of a matrix. What a group holds in one sample is then
 * one contiguous run in which channel and lane go together, so all three share their loops. A group's positions are cut into a fixed number
 * of slices. */
#ifndef ACTNN_NORMALIZATION_WALK_H
#define ACTNN_NORMALIZATION_WALK_H

#include "bfloat.h"
#include "instruction_set.h"

enum {
  SLICES = 8,          /* a long channel is cut into so many */
  SLICE_FLOATS = 4096, /* and a shorter one not at all */
  BLOCK = 2048         /* floats of one first-level-cache block */
};

typedef struct Walk {
  int width; /* channels of a group */
  int64_t groups, samples, positions, channels;
  int64_t slices, per_slice; /* of samples * positions */
  bool is_strided;           /* a matrix N x C: its rows are the positions */
} Walk;

static Walk
walk_of(const actnn_call *call, const actnn_view *x)
{
  Walk walk = {.width = 1, .samples = x->dim[0], .channels = x->dim[1], .positions = 1};
  for (int i = 2; i < x->rank; i++) walk.positions *= x->dim[i];
  if (x->layout == ACTNN_BLOCKED) {
    walk.width = call->trainer->channel_block;
  } else if (walk.positions == 1) {
    walk.is_strided = true;
    walk.width = LANES;
    walk.positions = walk.samples;
    walk.samples = 1;
  }
  walk.groups = (walk.channels + walk.width - 1) / walk.width;
  int64_t total = walk.samples * walk.positions;
  walk.slices = total * walk.width < SLICES * SLICE_FLOATS ? 1 : SLICES;
  walk.per_slice = (total + walk.slices - 1) / walk.slices;
  return walk;
}

static int64_t
offset_of(const Walk *walk, int64_t group, int64_t sample, int64_t position)
{
  if (walk->is_strided) return position * walk->channels + group * LANES;
  return ((sample * walk->groups + group) * walk->positions + position) * walk->width;
}

static int
used_lanes(const Walk *walk, int64_t group)
{
  int64_t rest = walk->channels - group * walk->width;
  return rest < walk->width ? (int)rest : walk->width;
}

/* The next at most BLOCK floats of a slice, contiguous: where they lie, or copied to `buffer`. *at moves on. */
static const float *
next_block(const Walk *walk, const actnn_view *x, int64_t group, int64_t *at, int64_t end, float *buffer, int64_t *count)
{
  int64_t position = *at % walk->positions, run = walk->positions - position;
  if (run > end - *at) run = end - *at;
  if (run > BLOCK / walk->width) run = BLOCK / walk->width;
  int64_t from = offset_of(walk, group, *at / walk->positions, position);
  *at += run;
  *count = run * walk->width;
  if (!walk->is_strided) return bfloat_read(x, from, *count, buffer);
  size_t used = (size_t)used_lanes(walk, group);
  memset(buffer, 0, (size_t)*count * sizeof *buffer);
  for (int64_t i = 0; i < run; i++) {
    const float *row = bfloat_read(x, from + i * walk->channels, (int64_t)used, buffer + i * LANES);
    if (row != buffer + i * LANES) memcpy(buffer + i * LANES, row, used * sizeof *buffer);
  }
  return buffer;
}

/* A value for each channel of a group, repeated to fill the lanes. */
static void
fill_lanes(lanes *vector, const float *value, int width)
{
  float all[LANES];
  for (int i = 0; i < LANES; i++) all[i] = value[i % width];
  LOAD_LANES(*vector, all);
}

/* Lanes of the same channel added up. */
static void
fold_lanes(const lanes *vector, int width, double *sum)
{
  float all[LANES];
  STORE_LANES(all, *vector);
  for (int i = 0; i < width; i++) sum[i] = 0;
  for (int i = 0; i < LANES; i++) sum[i % width] += all[i];
}

/* The floats from i on, fewer than 16; the missing ones from `otherwise`. */
static void
load_tail(lanes *vector, const float *x, int64_t i, int64_t count, const lanes *otherwise)
{
  *vector = *otherwise;
  memcpy(vector, x + i, (size_t)(count - i) * sizeof *x);
}

#endif
