/* emission.h: from a graph's text to emitted source, and from many of them to trainers in this process. */
#ifndef ACTNN_EMISSION_H
#define ACTNN_EMISSION_H

#include "random_graph.h"

/* How a graph is compiled. */
typedef struct Setting {
  int level;
  double bits, compression;
  uint64_t most_recomputed; /* bytes that a run computed again may free; 0: none is */
  const char *scheme, *rounding;
  bool is_bfloat, is_for_gpu;
  bool offloads; /* values as they are go through the pool as at L5, whatever the level: without a window they stay in the arena */
} Setting;

typedef struct Emission {
  char *source, *header, *kernels; /* kernels: of a GPU alone */
  unsigned char *weights;
  size_t source_length, header_length, kernels_length, weights_length;
  const char *name;
  uint64_t planned_bytes, saved_bytes;
  uint32_t save_count, recomputed_count; /* nodes computed again */
  uint32_t exact_count; /* values that go through the pool as they are */
  Program *program; /* as it was emitted */
  Options options;  /* what was asked for */
} Emission;

/* Settings that differ from graph to graph; number 0 is FP32, 1 the default. */
Setting draw_setting(uint64_t number);
const char *setting_text(const Setting *setting, Arena *arena);

/* Runs all passes on the text, each result checked, and emits. `name`: the trainer's identifier. A graph that keeps too much exactly
 * for the setting's compression loses that, in the setting too. False after reporting; otherwise end_emission follows. */
bool emit_graph(const RandomGraph *graph, const char *text, Setting *setting, const char *name, Arena *arena, Diagnostics *diagnostics,
                Emission *emission);
void end_emission(Emission *emission);
/* The verifier of emitted source; true as well where it was not built. */
bool verify_emission(const Emission *emission, Diagnostics *diagnostics);

/* The tables and calls of an emission without names: what two emissions have in common that train alike. */
const char *anonymous_text(const Emission *emission, Arena *arena);
/* Numbers only: the data of the weights file, behind its header. */
const unsigned char *weights_data(const Emission *emission, size_t *length);

/* Writes source, header and weights into the current folder. */
bool write_emission(const Emission *emission, Diagnostics *diagnostics);

#endif
