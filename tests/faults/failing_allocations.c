/* failing_allocations.c: preloaded into a program, makes its N-th allocation fail.
 *
 *   FAIL_ALLOCATION=N    the N-th (from 1) that counts fails; 0: none. A forked child goes on counting on its own
 *   FAIL_ONWARD=1        so do all behind it, as when memory is really used up
 *   FAIL_WITHIN=ours     which count, by the address of the caller: those of the program, libactnn, libz and libprotobuf-c, and
 *                        the program's calls of strdup, strndup, fopen and fdopen (the default)
 *   FAIL_WITHIN=all      all but libgomp's, whose authors end the process then, and the dynamic loader's
 *   FAIL_REPORT=FILE     at the end of a process a line is added: allocations counted, allocations that failed, blocks that
 *                        ours allocated and did not free, and the caller of the first of them
 *
 * mmap counts where the program or libactnn calls it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_RANGES = 256, MOST_BLOCKS = 1 << 16 };

/* Whose code lies at an address. */
typedef enum owner { OWNER_OTHER, OWNER_OURS, OWNER_HELPER, OWNER_EXEMPT } owner;

typedef struct range {
  uintptr_t start, end;
  owner owner;
} range;

typedef struct block {
  void *address;
  const void *caller;
} block;

static range ranges[MOST_RANGES];
static size_t range_count;
static unsigned long counted, failed, target;
static bool is_ready, is_onward, counts_all;
static block blocks[MOST_BLOCKS];
static size_t block_count;
static int lock;

/* ---- whose call it is -------------------------------------------------------------------------------- */

static owner
owner_of_object(const char *name)
{
  static const char *const helpers[] = {"/libz.so", "/libprotobuf-c.so"};
  static const char *const exempt[] = {"/libgomp", "/ld-linux", "failing_allocations", "linux-vdso", "/libasan", "/libubsan"};
  for (size_t i = 0; i < sizeof exempt / sizeof *exempt; i++)
    if (strstr(name, exempt[i])) return OWNER_EXEMPT;
  for (size_t i = 0; i < sizeof helpers / sizeof *helpers; i++)
    if (strstr(name, helpers[i])) return OWNER_HELPER;
  return !*name || strstr(name, "libactnn.so") ? OWNER_OURS : OWNER_OTHER; /* the program itself has no name here */
}

static int
add_object(struct dl_phdr_info *object, size_t size, void *unused)
{
  (void)size, (void)unused;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) || range_count == MOST_RANGES) continue;
    uintptr_t start = object->dlpi_addr + part->p_vaddr;
    ranges[range_count++] = (range){start, start + part->p_memsz, owner_of_object(object->dlpi_name)};
  }
  return 0;
}

static owner
owner_of(const void *caller)
{
  for (size_t i = 0; i < range_count; i++)
    if ((uintptr_t)caller >= ranges[i].start && (uintptr_t)caller < ranges[i].end) return ranges[i].owner;
  return OWNER_OTHER;
}

/* True when this allocation is to fail. */
static bool
is_failing(owner owner)
{
  bool counts = owner == OWNER_OURS || owner == OWNER_HELPER || (counts_all && owner == OWNER_OTHER);
  if (!is_ready || !counts) return false;
  unsigned long number = __atomic_add_fetch(&counted, 1, __ATOMIC_RELAXED);
  if (!target || (is_onward ? number < target : number != target)) return false;
  __atomic_add_fetch(&failed, 1, __ATOMIC_RELAXED);
  errno = ENOMEM;
  return true;
}

/* ---- what is not freed --------------------------------------------------------------------------------- */

static void
take_lock(void)
{
  while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE)) continue;
}

static void
drop_lock(void)
{
  __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

static void *
note(void *address, const void *caller, owner owner)
{
  if (!is_ready || owner != OWNER_OURS || !address) return address;
  take_lock();
  if (block_count < MOST_BLOCKS) blocks[block_count++] = (block){address, caller};
  drop_lock();
  return address;
}

static void
forget(const void *address)
{
  if (!address || !block_count) return;
  take_lock();
  for (size_t i = block_count; i-- > 0;)
    if (blocks[i].address == address) {
      blocks[i] = blocks[--block_count];
      break;
    }
  drop_lock();
}

/* ---- the functions that are replaced ------------------------------------------------------------------- */

#define CALLER __builtin_return_address(0)

/* The next definition of a function: the C library's, or a sanitizer's. */
#define NEXT(name, result, ...) \
  static result (*next_##name)(__VA_ARGS__); \
  static result (*find_##name(void))(__VA_ARGS__) \
  { \
    if (!next_##name) *(void **)&next_##name = dlsym(RTLD_NEXT, #name); \
    return next_##name; \
  }

NEXT(malloc, void *, size_t)
NEXT(calloc, void *, size_t, size_t)
NEXT(realloc, void *, void *, size_t)
NEXT(aligned_alloc, void *, size_t, size_t)
NEXT(memalign, void *, size_t, size_t)
NEXT(posix_memalign, int, void **, size_t, size_t)
NEXT(strdup, char *, const char *)
NEXT(strndup, char *, const char *, size_t)
NEXT(fopen, FILE *, const char *, const char *)
NEXT(fdopen, FILE *, int, const char *)
NEXT(free, void, void *)
NEXT(mmap, void *, void *, size_t, int, int, int, off_t)
NEXT(munmap, int, void *, size_t)

void *
malloc(size_t bytes)
{
  owner from = owner_of(CALLER);
  return is_failing(from) ? NULL : note(find_malloc()(bytes), CALLER, from);
}

void *
calloc(size_t count, size_t bytes)
{
  owner from = owner_of(CALLER);
  return is_failing(from) ? NULL : note(find_calloc()(count, bytes), CALLER, from);
}

void *
realloc(void *old, size_t bytes)
{
  owner from = owner_of(CALLER);
  if (is_failing(from)) return NULL;
  void *address = find_realloc()(old, bytes);
  if (address || !bytes) forget(old);
  return note(address, CALLER, from);
}

void *
aligned_alloc(size_t alignment, size_t bytes)
{
  owner from = owner_of(CALLER);
  return is_failing(from) ? NULL : note(find_aligned_alloc()(alignment, bytes), CALLER, from);
}

void *
memalign(size_t alignment, size_t bytes)
{
  owner from = owner_of(CALLER);
  return is_failing(from) ? NULL : note(find_memalign()(alignment, bytes), CALLER, from);
}

int
posix_memalign(void **address, size_t alignment, size_t bytes)
{
  owner from = owner_of(CALLER);
  if (is_failing(from)) return ENOMEM;
  int reason = find_posix_memalign()(address, alignment, bytes);
  if (!reason) note(*address, CALLER, from);
  return reason;
}

char *
strdup(const char *text)
{
  owner from = owner_of(CALLER);
  return from == OWNER_OURS && is_failing(from) ? NULL : note(find_strdup()(text), CALLER, from);
}

char *
strndup(const char *text, size_t length)
{
  owner from = owner_of(CALLER);
  return from == OWNER_OURS && is_failing(from) ? NULL : note(find_strndup()(text, length), CALLER, from);
}

FILE *
fopen(const char *path, const char *mode)
{
  owner from = owner_of(CALLER);
  return from == OWNER_OURS && is_failing(from) ? NULL : find_fopen()(path, mode);
}

FILE *
fdopen(int descriptor, const char *mode)
{
  owner from = owner_of(CALLER);
  return from == OWNER_OURS && is_failing(from) ? NULL : find_fdopen()(descriptor, mode);
}

void
free(void *address)
{
  forget(address);
  find_free()(address);
}

void *
mmap(void *hint, size_t bytes, int protection, int flags, int descriptor, off_t offset)
{
  owner from = owner_of(CALLER);
  if (from == OWNER_OURS && is_failing(from)) return MAP_FAILED;
  void *address = find_mmap()(hint, bytes, protection, flags, descriptor, offset);
  if (address != MAP_FAILED) note(address, CALLER, from);
  return address;
}

int
munmap(void *address, size_t bytes)
{
  forget(address);
  return find_munmap()(address, bytes);
}

/* ---- beginning and end ----------------------------------------------------------------------------------- */

static unsigned long
number_in(const char *name)
{
  const char *text = getenv(name);
  return text ? strtoul(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void
begin(void)
{
  const char *within = getenv("FAIL_WITHIN");
  dl_iterate_phdr(add_object, NULL);
  target = number_in("FAIL_ALLOCATION");
  is_onward = number_in("FAIL_ONWARD") != 0;
  counts_all = within && !strcmp(within, "all");
  is_ready = true;
}

__attribute__((destructor)) static void
end(void)
{
  if (!is_ready) return;
  const char *path = getenv("FAIL_REPORT");
  char line[600];
  Dl_info object = {0};
  is_ready = false;
  int descriptor = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
  if (descriptor < 0) return;
  if (block_count) dladdr(blocks[0].caller, &object);
  uintptr_t place = block_count ? (uintptr_t)blocks[0].caller - (uintptr_t)object.dli_fbase : 0;
  int length = snprintf(line, sizeof line, "counted %lu failed %lu kept %zu %.300s+0x%lx\n", counted, failed, block_count,
                        object.dli_fname ? object.dli_fname : "-", (unsigned long)place);
  if (length > 0 && write(descriptor, line, (size_t)length) < 0) _exit(99);
  close(descriptor);
}

/* Skips destructors; the compiler's child ends so. */
void
_exit(int code)
{
  end();
  syscall(SYS_exit_group, code);
  __builtin_unreachable();
}
