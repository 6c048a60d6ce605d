/* test_step_memory.c: a step allocates nothing. The program has its own malloc, which counts while it is told to; the
 * library's calls and those of the libraries it uses come here too. */
#include "sanitized.h"
#include "small_model.h"
#include "tap.h"
#include "trainer.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#if IS_SANITIZED || !defined(__GLIBC__)
#define COUNTS 0 /* malloc belongs to the sanitizer, or cannot be wrapped this way */
#else
#define COUNTS 1
#endif

static atomic_long allocations;
static atomic_bool counting;

#if COUNTS
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static void
note(void)
{
  if (counting)
    allocations++;
}

void *
malloc(size_t bytes)
{
  note();
  return __libc_malloc(bytes);
}

void *
calloc(size_t count, size_t bytes)
{
  note();
  return __libc_calloc(count, bytes);
}

void *
realloc(void *old, size_t bytes)
{
  note();
  return __libc_realloc(old, bytes);
}

void *
aligned_alloc(size_t alignment, size_t bytes)
{
  note();
  return __libc_memalign(alignment, bytes);
}

int
posix_memalign(void **memory, size_t alignment, size_t bytes)
{
  note();
  *memory = __libc_memalign(alignment, bytes);
  return *memory ? 0 : ENOMEM;
}
#endif

/* Steps that measure, steps that adapt, and steps that do neither. The first lets the threads start. */
static long
count_steps(int threads, int steps)
{
  char error[256];
  actnn *trainer = actnn_create(&small_model, threads, 3, error, sizeof error);
  int failed = !trainer;
  for (int step = 0; !failed && step < steps; step++) {
    small_feed(trainer, step);
    counting = step > 0;
    failed = actnn_step(trainer, 0.01, NULL);
    counting = false;
  }
  if (failed)
    printf("# %s\n", trainer ? actnn_error(trainer) : error);
  actnn_destroy(trainer);
  return failed ? -1 : atomic_exchange(&allocations, 0);
}

int
main(void)
{
  if (!COUNTS) {
    printf("1..0 # SKIP malloc cannot be counted in this build\n");
    return 0;
  }
  counting = true;
  void *volatile some = malloc(10);
  counting = false;
  free(some);
  ok(atomic_exchange(&allocations, 0) == 1, "allocations are counted");
  ok(count_steps(1, 40) == 0, "forty steps of one thread allocate nothing");
  ok(count_steps(2, 40) == 0, "forty steps of two threads allocate nothing");
  return tap_done();
}
