/* saves_profile.h: what a run has measured of the coded saves: the file that a trainer's --profile-generate writes. */
#ifndef ACTNN_SAVES_PROFILE_H
#define ACTNN_SAVES_PROFILE_H

#include "../src/diagnostics.h"

#include <stdint.h>

typedef struct SaveProfile {
  const char *name;
  double weight; /* measured: gradient variance at one level step for the range; negative where nothing was measured */
  bool is_taken; /* for the reader's caller: belongs to a save already */
} SaveProfile;

typedef struct SavesProfile {
  SaveProfile *save;
  uint32_t count;
} SavesProfile;

/* Reads the file into the arena. Anything but the shape that runtime/report.c writes is reported, and NULL returned: the text is
 * bounded, every number finite, every name ended. */
SavesProfile *read_saves_profile(const char *path, Arena *arena, Diagnostics *diagnostics);

#endif
