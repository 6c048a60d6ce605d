/* races.h: what the stand-in for a GPU tells of threads and memory to whoever looks for races (races.cu); without SHIM_RACES nobody does. */
#ifndef ACTNN_RACES_H
#define ACTNN_RACES_H

#include <cstddef>

#ifdef SHIM_RACES

/* Memory that kernels share: all of the device's, and what a block has of its own. */
void races_watch(void *memory, size_t bytes, bool is_of_block);
void races_forget(void *memory);
void races_begin_launch(const char *kernel, const char *file);
void races_end_launch();
void races_begin_block(unsigned block);
/* From here on this thread runs; what it has passed since its block began is known. */
void races_resume(unsigned thread);
void races_pass_block_barrier();
void races_pass_warp_barrier();
/* An access that other such accesses do not race with. code: where it is. */
void races_touch_atomically(void *memory, size_t bytes, const void *code);
/* Kernels are compiled to tell of all that they read. This reads a word of which only so many bytes from `first` on count. */
unsigned races_read_part(const unsigned *word, size_t first, size_t bytes);

/* While one lives, what the thread does is done by its warp: no lane knows which part of it is its own. */
struct races_of_warp {
  races_of_warp();
  ~races_of_warp();
};

#else

static inline void races_watch(void *, size_t, bool) {}
static inline void races_forget(void *) {}
static inline void races_begin_launch(const char *, const char *) {}
static inline void races_end_launch() {}
static inline void races_begin_block(unsigned) {}
static inline void races_resume(unsigned) {}
static inline void races_pass_block_barrier() {}
static inline void races_pass_warp_barrier() {}
static inline void races_touch_atomically(void *, size_t, const void *) {}
static inline unsigned races_read_part(const unsigned *word, size_t, size_t) { return *word; }

struct races_of_warp {
  races_of_warp() {}
};

#endif

#endif
