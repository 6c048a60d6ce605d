/* saves_rig.h: a trainer with three coded values and nothing else, for tests of saves. */
#ifndef ACTNN_SAVES_RIG_H
#define ACTNN_SAVES_RIG_H

#include "codec.h"
#include "saves.h"
#include "saves_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAVES = 3 };
static const int64_t extents[SAVES][4] = {{8, 32, 20, 20}, {8, 64, 9, 9}, {6, 500}};
static const int ranks[SAVES] = {4, 4, 2};
static const actnn_layout layouts[SAVES] = {ACTNN_BLOCKED, ACTNN_BLOCKED, ACTNN_PLAIN};

typedef struct rig {
  actnn trainer;
  actnn_model model;
  actnn_save save[SAVES];
  actnn_tensor tensor[SAVES];
  float *value[SAVES], *back[SAVES], *gradient[SAVES], *scaled[SAVES];
  size_t elements[SAVES];
} rig;

static actnn_view
view_of(rig *rig, int i, void *data)
{
  return (actnn_view){data, ACTNN_F32, layouts[i], ranks[i], extents[i], rig->elements[i] * 4, 0};
}

static int
quantize(rig *rig, int i)
{
  actnn_view value = view_of(rig, i, rig->value[i]), stash = {.data = rig->trainer.arena};
  actnn_attribute index = INT(i);
  return actnn_QuantizeOnSave(&(actnn_call){&rig->trainer, 1, 1, 1, &stash, &value, &index});
}

static int
dequantize(rig *rig, int i)
{
  actnn_view value = view_of(rig, i, rig->back[i]), stash = {.data = rig->trainer.arena};
  actnn_attribute index = INT(i);
  return actnn_DequantizeOnBackward(&(actnn_call){&rig->trainer, 1, 1, 1, &value, &stash, &index});
}

/* As of a matrix product: the gradient meets the value position by position. */
static int
measure(rig *rig, int i, double factor)
{
  for (size_t k = 0; k < rig->elements[i]; k++)
    rig->scaled[i][k] = rig->gradient[i][k] * (float)sqrt(factor);
  actnn_view views[2] = {view_of(rig, i, rig->scaled[i]), view_of(rig, i, rig->back[i])};
  actnn_attribute with[7] = {INT(i), INT(0), NO_INTS, NO_INTS, NO_INTS, NO_INTS, INT(1)};
  return actnn_MeasureSensitivity(&(actnn_call){&rig->trainer, 0, 2, 7, NULL, views, with});
}

/* Bytes for so many levels on average: between two choices some samples have one and some the other. */
static uint64_t
bytes_for(int i, double levels)
{
  int choice = 0;
  while (actnn_choice_levels(choice + 1) <= levels)
    choice++;
  int low = actnn_choice_levels(choice), high = actnn_choice_levels(choice + 1);
  uint64_t at_low = actnn_stash_bytes(extents[i], ranks[i], layouts[i], ACTNN_EVEN_LEVELS, low),
           at_high = actnn_stash_bytes(extents[i], ranks[i], layouts[i], ACTNN_EVEN_LEVELS, high);
  return (at_low + (uint64_t)((levels - low) / (high - low) * (double)(at_high - at_low))) / 64 * 64;
}

/* A trainer with three saves, the third not adaptive. */
static rig *
make_rig(double levels, int threads, int block)
{
  rig *rig = calloc(1, sizeof *rig);
  if (!rig)
    exit(1);
  for (int i = 0; i < SAVES; i++) {
    rig->save[i] = (actnn_save){.tensor = (uint32_t)i,
                                .name = i == 0 ? "first" : i == 1 ? "second" : "third",
                                .spacing = ACTNN_EVEN_LEVELS,
                                .dither = i == 1,
                                .choices = (1 << ACTNN_LEVEL_CHOICES) - 1,
                                .random_id = (uint64_t)i + 1,
                                .adaptation = i < 2 ? ACTNN_ADAPTS_BY_READERS : ACTNN_KEEPS_ITS_SHARE,
                                .gradient = NONE,
                                .scale = NONE};
    rig->tensor[i].bytes = bytes_for(i, levels);
    rig->model.stash_bytes += rig->tensor[i].bytes;
    rig->elements[i] = 1;
    for (int axis = 0; axis < ranks[i]; axis++)
      rig->elements[i] *= (size_t)extents[i][axis];
    rig->value[i] = calloc(rig->elements[i], 4);
    rig->back[i] = calloc(rig->elements[i], 4);
    rig->gradient[i] = calloc(rig->elements[i], 4);
    rig->scaled[i] = calloc(rig->elements[i], 4);
    for (size_t k = 0; k < rig->elements[i]; k++) {
      /* Element k in ONNX's order, put where the layout has it. */
      size_t place = k;
      if (layouts[i] == ACTNN_BLOCKED) {
        size_t positions = (size_t)(extents[i][2] * extents[i][3]), channels = (size_t)extents[i][1];
        size_t n = k / (channels * positions), c = k / positions % channels, p = k % positions,
               b = (size_t)block;
        place = ((n * (channels / b) + c / b) * positions + p) * b + c % b;
      }
      rig->value[i][place] = (float)sin(k * 0.37 + i) * (float)(1 + k % 5);
      rig->gradient[i][place] = (float)cos(k * 0.11);
    }
  }
  rig->model.save = rig->save;
  rig->model.tensor = rig->tensor;
  rig->model.save_count = SAVES;
  rig->trainer.model = &rig->model;
  rig->trainer.arena = calloc(rig->model.stash_bytes + 64, 1);
  memset(rig->trainer.arena + rig->model.stash_bytes, 0xa5, 64);
  rig->trainer.threads = threads;
  rig->trainer.channel_block = block;
  rig->trainer.seed = 77;
  int wrong = saves_create(&rig->trainer);
  rig->trainer.preparing = true;
  for (int i = 0; i < SAVES; i++)
    wrong |= quantize(rig, i) || dequantize(rig, i) || measure(rig, i, 1);
  rig->trainer.preparing = false;
  if (wrong) {
    printf("Bail out! %s\n", rig->trainer.error);
    exit(1);
  }
  return rig;
}

static void
discard(rig *rig)
{
  saves_destroy(&rig->trainer);
  for (int i = 0; i < SAVES; i++) {
    free(rig->value[i]);
    free(rig->back[i]);
    free(rig->gradient[i]);
    free(rig->scaled[i]);
  }
  free(rig->trainer.arena);
  free(rig);
}

#endif
