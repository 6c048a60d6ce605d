/* shim.cu: see shim.h. The threads of a block are contexts with stacks of their own, which give way at barriers. */
#include "shim.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <link.h>
#include <sys/mman.h>
#include <ucontext.h>

shim_place threadIdx, blockIdx;

/* ---- threads -------------------------------------------------------------------------------------------- */

enum { MOST_THREADS = 1024, LANES_OF_A_WARP = 32, STACK_BYTES = 256 * 1024 };

struct barrier {
  unsigned arrived, turn;
};

struct context {
  jmp_buf place;
  ucontext_t start;
  unsigned char *stack;
  bool has_run; /* once at least */
  bool done;
  barrier *waits;
  unsigned turn; /* of the barrier that it waits for */
};

static context of_thread[MOST_THREADS];
static jmp_buf scheduler;
static ucontext_t return_to;
static const std::function<void()> *body;
static unsigned thread_count, alive, alive_in_warp[MOST_THREADS / LANES_OF_A_WARP];
static barrier of_block, of_warp[MOST_THREADS / LANES_OF_A_WARP];
static shim_slot slot[2][MOST_THREADS];

static void
release_if_complete(barrier *point, unsigned expected)
{
  if (point->arrived >= expected && point->arrived > 0) {
    point->arrived = 0;
    point->turn++;
  }
}

static void
wait_at(barrier *point, unsigned expected)
{
  context *self = &of_thread[threadIdx.x];
  self->waits = point;
  self->turn = point->turn;
  point->arrived++;
  release_if_complete(point, expected);
  if (!_setjmp(self->place))
    _longjmp(scheduler, 1);
}

void
__syncthreads()
{
  wait_at(&of_block, alive);
  races_pass_block_barrier();
}

static void
wait_for_warp()
{
  unsigned warp = threadIdx.x / LANES_OF_A_WARP;
  wait_at(&of_warp[warp], alive_in_warp[warp]);
}

void
__syncwarp(unsigned)
{
  wait_for_warp();
  races_pass_warp_barrier();
}

const shim_slot *
shim_gather(const void *own, size_t bytes)
{
  if (bytes > sizeof slot[0][0].bytes)
    abort();
  /* By turns in two slots: whoever is at the next exchange already does not write over what others have yet to read, and
   * nobody is further ahead. */
  unsigned warp = threadIdx.x / LANES_OF_A_WARP, turn = of_warp[warp].turn % 2;
  memcpy(slot[turn][threadIdx.x].bytes, own, bytes);
  wait_for_warp();
  return &slot[turn][warp * LANES_OF_A_WARP];
}

void
shim_exchange(const void *own, void *other, size_t bytes, unsigned from)
{
  memcpy(other, shim_gather(own, bytes)[from].bytes, bytes);
}

unsigned
atomicCAS(unsigned *at, unsigned expected, unsigned wanted)
{
  races_touch_atomically(at, sizeof *at, __builtin_return_address(0));
  unsigned old = *at;
  if (old == expected)
    *at = wanted;
  return old;
}

unsigned long long
atomicAdd(unsigned long long *at, unsigned long long more)
{
  races_touch_atomically(at, sizeof *at, __builtin_return_address(0));
  unsigned long long old = *at;
  *at += more;
  return old;
}

/* Stays in its context for good: after each block it waits for the next one. */
static void
live()
{
  for (;;) {
    (*body)();
    context *self = &of_thread[threadIdx.x];
    unsigned warp = threadIdx.x / LANES_OF_A_WARP;
    self->done = true;
    alive--;
    alive_in_warp[warp]--;
    release_if_complete(&of_block, alive); /* threads that are gone are not waited for */
    release_if_complete(&of_warp[warp], alive_in_warp[warp]);
    if (!_setjmp(self->place))
      _longjmp(scheduler, 1);
  }
}

static void
make_contexts(unsigned threads)
{
  for (unsigned i = 0; i < threads; i++) {
    context *one = &of_thread[i];
    if (one->stack)
      continue;
    void *stack = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
      abort();
    one->stack = (unsigned char *)stack;
    getcontext(&one->start);
    one->start.uc_stack.ss_sp = one->stack;
    one->start.uc_stack.ss_size = STACK_BYTES;
    one->start.uc_link = &return_to;
    makecontext(&one->start, live, 0);
    one->done = false;
    one->waits = nullptr;
    one->turn = UINT32_MAX; /* never started */
  }
}

/* ---- order ------------------------------------------------------------------------------------------------ */

enum turns { IN_ORDER, REVERSED, SHUFFLED };

static turns
turns_asked_for()
{
  const char *order = getenv("SHIM_ORDER");
  return !order || !*order ? IN_ORDER : !strcmp(order, "reverse") ? REVERSED : SHUFFLED;
}

/* Who is `turn`th of so many. */
static unsigned
taking_turn(unsigned turn, unsigned count)
{
  static const turns asked_for = turns_asked_for();
  if (asked_for == SHUFFLED && (count & (count - 1)) == 0)
    return (turn * 167 + 101) & (count - 1);
  return asked_for == IN_ORDER ? turn : count - 1 - turn;
}

/* What threads of a block share: of the module that this is in all that is thread_local. */
struct shared_memory {
  unsigned char *begin;
  size_t bytes;
};

static int
find_shared_memory(dl_phdr_info *module, size_t, void *found)
{
  bool is_ours = false;
  shared_memory shared = {(unsigned char *)module->dlpi_tls_data, 0};
  for (int i = 0; i < module->dlpi_phnum; i++) {
    const ElfW(Phdr) &part = module->dlpi_phdr[i];
    is_ours |= part.p_type == PT_LOAD && (uintptr_t)&of_block - module->dlpi_addr - part.p_vaddr < part.p_memsz;
    shared.bytes = part.p_type == PT_TLS ? part.p_memsz : shared.bytes;
  }
  if (is_ours)
    *(shared_memory *)found = shared;
  return is_ours;
}

static shared_memory
reserve_shared_memory()
{
  shared_memory shared = {nullptr, 0};
  dl_iterate_phdr(find_shared_memory, &shared);
  races_watch(shared.begin, shared.bytes, true);
  return shared;
}

/* Nothing that a block finds in shared memory may be of use. */
static void
forget_shared_memory()
{
  static const shared_memory shared = reserve_shared_memory();
  if (turns_asked_for() != IN_ORDER)
    memset(shared.begin, 0xff, shared.bytes);
}

static bool
may_go_on(const context *one)
{
  return !one->done && (!one->waits || one->waits->turn != one->turn);
}

static void
resume(unsigned thread, bool is_first)
{
  context *one = &of_thread[thread];
  threadIdx.x = thread;
  races_resume(thread);
  one->waits = nullptr;
  if (_setjmp(scheduler))
    return;
  if (is_first)
    setcontext(&one->start);
  _longjmp(one->place, 1);
}

static void
run_block(unsigned threads)
{
  thread_count = alive = threads;
  of_block = barrier();
  for (unsigned i = 0; i < threads; i++) {
    of_thread[i].done = false;
    of_thread[i].waits = nullptr;
    if (i % LANES_OF_A_WARP == 0) {
      of_warp[i / LANES_OF_A_WARP] = barrier();
      alive_in_warp[i / LANES_OF_A_WARP] = threads - i < LANES_OF_A_WARP ? threads - i : LANES_OF_A_WARP;
    }
  }
  while (alive) {
    bool any = false;
    for (unsigned turn = 0; turn < threads; turn++) {
      unsigned i = taking_turn(turn, threads);
      if (may_go_on(&of_thread[i])) {
        bool is_first = !of_thread[i].has_run;
        of_thread[i].has_run = true;
        resume(i, is_first);
        any = true;
      }
    }
    if (!any) {
      fprintf(stderr, "shim: threads of a block wait for one another forever\n");
      abort();
    }
  }
}

extern "C" unsigned long shim_launches;
unsigned long shim_launches; /* of kernels with barriers, for tests to count */

void
shim_run_blocks(unsigned blocks, unsigned threads, const std::function<void()> &thread)
{
  shim_opened all;
  shim_launches++;
  make_contexts(threads);
  body = &thread;
  for (unsigned i = 0; i < blocks; i++) {
    blockIdx.x = taking_turn(i, blocks);
    races_begin_block(blockIdx.x);
    forget_shared_memory();
    run_block(threads);
  }
}

void
shim_run_threads(unsigned blocks, unsigned threads, const std::function<void()> &thread)
{
  shim_opened all;
  for (unsigned i = 0; i < blocks; i++) {
    blockIdx.x = taking_turn(i, blocks);
    races_begin_block(blockIdx.x);
    for (unsigned k = 0; k < threads; k++) {
      threadIdx.x = taking_turn(k, threads);
      races_resume(threadIdx.x);
      thread();
    }
  }
}
