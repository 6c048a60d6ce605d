/* test_trainer_memory.c: the n-th allocation of libactnn fails, for every n, while a trainer is made that has all that one may have:
 * saves of every kind, primitives of oneDNN, a profile, a copy of its variables. No trainer is made then, there is a message, and
 * nothing is left allocated. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "codec.h"
#include "sanitized.h"
#include "small_model.h"
#include "tap.h"
#include "trainer.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#if IS_SANITIZED || !defined(__GLIBC__)
#define FAILS 0 /* malloc belongs to the sanitizer, or cannot be wrapped this way */
#else
#define FAILS 1
#endif

/* ---- allocations that fail ------------------------------------------------------------------------ */

static int allocations, failing, mapped;
static bool counting;

#if FAILS
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void __libc_free(void *old);

enum { MOST_BLOCKS = 1024 };
static void *block[MOST_BLOCKS]; /* of libactnn, not freed yet */

static bool
is_ours(const void *caller)
{
  Dl_info of_caller, of_runtime;
  return counting && dladdr(caller, &of_caller) && dladdr((const void *)(uintptr_t)actnn_create, &of_runtime) &&
         of_caller.dli_fbase == of_runtime.dli_fbase;
}

static bool
allocation_fails(const void *caller)
{
  if (!is_ours(caller) || ++allocations != failing)
    return false;
  errno = ENOMEM;
  return true;
}

static void *
keep(void *memory, const void *caller)
{
  for (int i = 0; is_ours(caller) && memory && i < MOST_BLOCKS; i++)
    if (!block[i]) {
      block[i] = memory;
      break;
    }
  return memory;
}

static void
drop(const void *memory)
{
  for (int i = 0; counting && memory && i < MOST_BLOCKS; i++)
    if (block[i] == memory)
      block[i] = NULL;
}

static int
kept_blocks(void)
{
  int count = 0;
  for (int i = 0; i < MOST_BLOCKS; i++)
    count += block[i] != NULL;
  return count;
}

void *
malloc(size_t bytes)
{
  const void *caller = __builtin_return_address(0);
  return allocation_fails(caller) ? NULL : keep(__libc_malloc(bytes), caller);
}

void *
calloc(size_t count, size_t bytes)
{
  const void *caller = __builtin_return_address(0);
  return allocation_fails(caller) ? NULL : keep(__libc_calloc(count, bytes), caller);
}

void *
realloc(void *old, size_t bytes)
{
  const void *caller = __builtin_return_address(0);
  if (allocation_fails(caller))
    return NULL;
  drop(old);
  return keep(__libc_realloc(old, bytes), caller);
}

void
free(void *old)
{
  drop(old);
  __libc_free(old);
}

void *
mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset)
{
  static void *(*real)(void *, size_t, int, int, int, off_t);
  const void *caller = __builtin_return_address(0);
  if (!real)
    *(void **)(void *)&real = dlsym(RTLD_NEXT, "mmap");
  if (allocation_fails(caller))
    return MAP_FAILED;
  mapped += is_ours(caller);
  return real(address, bytes, protection, flags, descriptor, offset);
}

int
munmap(void *address, size_t bytes)
{
  static int (*real)(void *, size_t);
  if (!real)
    *(void **)(void *)&real = dlsym(RTLD_NEXT, "munmap");
  mapped -= is_ours(__builtin_return_address(0));
  return real(address, bytes);
}
#else
static int
kept_blocks(void)
{
  return 0;
}
#endif

/* ---- a trainer that has everything ----------------------------------------------------------------- */

enum { t_x = v_count, t_y, t_w, t_scale, t_code, t_large_code, t_large, t_count };
enum { PLACE = 1 << 17 };
static actnn_tensor tensor[t_count];
static actnn_save save[3];

static int
evaluate(actnn *trainer)
{
  if (small_evaluate(trainer))
    return 1;
  RUN(actnn_Conv, OUT(t_y), IN(t_x, t_w, NONE), WITH(TEXT("NOTSET"), INTS(3, 3), INTS(1, 1), INTS(1, 1), INTS(1, 1, 1, 1), INT(1)));
  RUN(actnn_Product, OUT(v_logits), IN(v_hidden, v_w2, NONE), WITH(INT(0), INT(0)));
  RUN(actnn_NormalizeOnSave, OUT(t_x, t_code), IN(t_y, t_scale, t_scale, t_scale, t_scale), WITH(INT(1), INT(1), REAL_NUMBER(0)));
  RUN(actnn_QuantizeOnSave, OUT(t_large_code), IN(t_large), WITH(INT(2)));
  return 0;
}

static actnn_tensor
place(uint32_t id, actnn_layout layout, int rank, int64_t a, int64_t b, int64_t c, int64_t d)
{
  return (actnn_tensor){ACTNN_F32, (uint8_t)layout, (uint8_t)rank, {a, b, c, d}, (at_end + 63) / 64 * 64 + (id - v_count) * PLACE, PLACE};
}

static actnn_model
make_model(void)
{
  actnn_model model = small_model;
  memcpy(tensor, small_tensors, sizeof small_tensors);
  tensor[t_x] = place(t_x, ACTNN_BLOCKED, 4, 2, 19, 6, 5);
  tensor[t_y] = place(t_y, ACTNN_BLOCKED, 4, 2, 19, 6, 5);
  tensor[t_w] = place(t_w, ACTNN_PLAIN, 4, 19, 19, 3, 3);
  tensor[t_scale] = place(t_scale, ACTNN_PLAIN, 1, 19, 0, 0, 0);
  tensor[t_code] = place(t_code, ACTNN_STASH, 4, 2, 19, 6, 5);
  tensor[t_large] = place(t_large, ACTNN_PLAIN, 3, 70, 20, 20, 0);
  tensor[t_large_code] = place(t_large_code, ACTNN_STASH, 3, 70, 20, 20, 0);
  save[0] = small_saves[0];
  save[0].adaptation = ACTNN_ADAPTS_BY_REDRAWS;
  save[1] = (actnn_save){.tensor = t_code, .name = "normal", .spacing = ACTNN_NORMAL_LEVELS, .choices = (1 << ACTNN_LEVEL_CHOICES) - 1,
                         .gradient = NONE, .scale = NONE};
  save[2] = (actnn_save){.tensor = t_large_code, .name = "large", .spacing = ACTNN_EVEN_LEVELS, .choices = (1 << ACTNN_LEVEL_CHOICES) - 1,
                         .gradient = NONE, .scale = NONE};
  model.tensor = tensor;
  model.tensor_count = t_count;
  model.save = save;
  model.save_count = 3;
  model.arena_bytes = (at_end + 63) / 64 * 64 + (t_count - v_count) * PLACE;
  model.stash_offset = 0;
  model.stash_bytes = model.arena_bytes;
  model.workspace_offset = model.arena_bytes;
  model.evaluate = evaluate;
  return model;
}

int
main(void)
{
  if (!FAILS) {
    printf("1..0 # SKIP malloc cannot be wrapped in this build\n");
    return 0;
  }
  const actnn_model model = make_model();
  trainer_options options = {.threads = 1, .quiet = true, .profile = true, .skips = true, .channel_block = 8};
  char error[512] = "";
  int all = 0, wrong = 0, left = 0;
  counting = true;
  actnn *trainer = trainer_create(&model, &options, error, sizeof error);
  bool is_made = trainer != NULL;
  all = allocations;
  actnn_destroy(trainer);
  counting = false;
  ok(is_made && all > 60, "a trainer is made with %d allocations %s", all, error);
  ok(kept_blocks() == 0 && mapped == 0, "and leaves nothing behind");
  for (failing = 1; failing <= all; failing++) {
    allocations = 0;
    *error = 0;
    counting = true;
    trainer = trainer_create(&model, &options, error, sizeof error);
    is_made = trainer != NULL;
    actnn_destroy(trainer);
    counting = false;
    bool is_told = !is_made && (strstr(error, "memory") || strstr(error, "cannot reserve"));
    if (!is_told)
      printf("# allocation %d: %s '%s'\n", failing, is_made ? "made" : "not made", error);
    wrong += !is_told;
    if (kept_blocks() || mapped)
      printf("# allocation %d: %d blocks and %d mappings are left\n", failing, kept_blocks(), mapped);
    left += kept_blocks() != 0 || mapped != 0;
#if FAILS
    memset(block, 0, sizeof block);
#endif
    mapped = 0;
  }
  ok(!wrong, "each of them failing is told, and no trainer made");
  ok(!left, "and nothing is left behind");
  failing = 1;
  allocations = 0;
  counting = true;
  trainer = trainer_create(&model, &options, NULL, 0);
  counting = false;
  ok(!trainer, "also where nobody wants the message");
  return tap_done();
}
