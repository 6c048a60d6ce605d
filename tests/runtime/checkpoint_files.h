/* checkpoint_files.h: what tests of checkpoints share: the small model's trainers, and files in a folder of their own. */
#ifndef ACTNN_CHECKPOINT_FILES_H
#define ACTNN_CHECKPOINT_FILES_H

#include "checkpoint.h"
#include "own_folder.h"
#include "small_model.h"
#include "tap.h"
#include "trainer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline unsigned char *
slurp(const char *path, size_t *count)
{
  FILE *file = fopen(path, "rb");
  unsigned char *bytes = malloc(1 << 20);
  *count = file && bytes ? fread(bytes, 1, 1 << 20, file) : 0;
  if (file)
    fclose(file);
  return bytes;
}

static inline void
put(const char *path, const void *bytes, size_t count)
{
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(bytes, 1, count, file) != count || fclose(file))
    abort();
}

static inline actnn *
make(uint64_t seed)
{
  char error[512];
  actnn *trainer = actnn_create(&small_model, 2, seed, error, sizeof error);
  if (!trainer)
    fprintf(stderr, "%s\n", error);
  return trainer;
}

/* A batch that depends on the step alone. */
static inline bool
step(actnn *trainer, int count)
{
  for (; count; count--) {
    float *image = actnn_data(trainer, v_images);
    int64_t *label = actnn_data(trainer, v_labels);
    uint64_t state = trainer->step * 977 + 1;
    for (int index = 0; index < BATCH * PIXELS; index++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      image[index] = (float)(state >> 40) / 16777216.0f;
    }
    for (int index = 0; index < BATCH; index++)
      label[index] = (int64_t)((state >> 20) + (uint64_t)index * 7) % CLASSES;
    double loss;
    if (actnn_step(trainer, 0.05, &loss))
      return false;
  }
  return true;
}

static inline bool
same_variables(actnn *a, actnn *b)
{
  return a->step == b->step && a->seed == b->seed && !memcmp(a->arena, b->arena, small_model.variable_bytes);
}

#endif
