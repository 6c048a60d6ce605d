/* shim.cu: see shim.h. The threads of a block are contexts with stacks of their own, which give way at barriers. */
#include "shim.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

shim_place threadIdx, blockIdx;

/* ---- device memory -------------------------------------------------------------------------------------- */

enum { MOST_AREAS = 4096, PAGE = 4096 };

static struct {
  void *memory;
  size_t bytes;
} area[MOST_AREAS];
static int area_count, open_count;

static size_t
whole_pages(size_t bytes)
{
  return (bytes + PAGE) / PAGE * PAGE;
}

/* Closing and opening the arena around each kernel takes longer than the kernels of small models; SHIM_TRUSTS=1 leaves it open. */
static bool
is_trusting()
{
  static const bool trusts = getenv("SHIM_TRUSTS") != nullptr;
  return trusts;
}

static void
protect(int protection)
{
  if (is_trusting())
    return;
  for (int i = 0; i < area_count; i++)
    if (area[i].memory && mprotect(area[i].memory, area[i].bytes, protection))
      abort();
}

shim_opened::shim_opened()
{
  if (open_count++ == 0)
    protect(PROT_READ | PROT_WRITE);
}

shim_opened::~shim_opened()
{
  if (--open_count == 0)
    protect(PROT_NONE);
}

cudaError_t
cudaMalloc(void **memory, size_t bytes)
{
  if (area_count == MOST_AREAS)
    return cudaErrorMemoryAllocation;
  void *pages = mmap(nullptr, whole_pages(bytes), is_trusting() ? PROT_READ | PROT_WRITE : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED)
    return cudaErrorMemoryAllocation;
  area[area_count].memory = *memory = pages;
  area[area_count++].bytes = whole_pages(bytes);
  return cudaSuccess;
}

cudaError_t
cudaFree(void *memory)
{
  for (int i = 0; i < area_count; i++)
    if (area[i].memory == memory) {
      munmap(memory, area[i].bytes);
      area[i] = area[--area_count];
      return cudaSuccess;
    }
  abort(); /* it was never reserved */
}

cudaError_t
cudaMallocHost(void **memory, size_t bytes)
{
  *memory = malloc(bytes);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t
cudaFreeHost(void *memory)
{
  free(memory);
  return cudaSuccess;
}

/* SHIM_GRAPHS=fail: no recording is any good at its end; invalid: copies fail while one is made; count: says at the end how many were
 * launched. */
static bool
graphs_are(const char *what)
{
  const char *asked_for = getenv("SHIM_GRAPHS");
  return asked_for && !strcmp(asked_for, what);
}

static bool is_recording();

/* ---- streams beside the first -------------------------------------------------------------------------------- */

/* Copies that are asked for, and how many of them have been made. */
struct shim_stream {
  std::vector<std::function<void()>> copy;
  size_t made;
};

/* Of a stream beside the first, up to where it was recorded. */
struct shim_event {
  cudaStream_t stream;
  size_t count;
};

static bool
copies_are_late()
{
  static const char *const asked_for = getenv("SHIM_COPIES");
  return asked_for && !strcmp(asked_for, "late");
}

static void
make_copies(cudaStream_t stream, size_t count)
{
  for (; stream && stream->made < count; stream->made++)
    shim_do(stream->copy[stream->made]);
}

cudaError_t
cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
  *stream = new shim_stream();
  return cudaSuccess;
}

cudaError_t
cudaStreamDestroy(cudaStream_t stream)
{
  delete stream;
  return cudaSuccess;
}

cudaError_t
cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
  *event = new shim_event();
  return cudaSuccess;
}

cudaError_t
cudaEventDestroy(cudaEvent_t event)
{
  delete event;
  return cudaSuccess;
}

cudaError_t
cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
  event->stream = stream;
  event->count = stream ? stream->copy.size() : 0;
  return cudaSuccess;
}

cudaError_t
cudaEventSynchronize(cudaEvent_t event)
{
  make_copies(event->stream, event->count);
  return cudaSuccess;
}

/* Whoever waits is the first stream, or one whose copies are made in order when somebody waits for them. */
cudaError_t
cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
  if (!stream || stream != event->stream)
    make_copies(event->stream, event->count);
  return cudaSuccess;
}

cudaError_t
cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream)
{
  if (is_recording() && graphs_are("invalid"))
    return cudaErrorStreamCaptureUnsupported;
  const std::function<void()> copy = [=]() {
    shim_opened all;
    memmove(to, from, bytes);
  };
  if (!stream) {
    shim_do(copy);
    return cudaSuccess;
  }
  stream->copy.push_back(copy);
  if (!copies_are_late())
    make_copies(stream, stream->copy.size());
  return cudaSuccess;
}

cudaError_t
cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t)
{
  shim_do([=]() {
    shim_opened all;
    memset(memory, value, bytes);
  });
  return cudaSuccess;
}

/* ---- graphs ----------------------------------------------------------------------------------------------- */

struct shim_graph {
  std::vector<std::function<void()>> action;
};

static shim_graph *recorded;

static bool
is_recording()
{
  return recorded != nullptr;
}

void
shim_do(const std::function<void()> &action)
{
  if (recorded)
    recorded->action.push_back(action);
  else
    action();
}

/* Nobody may wait for what is only being recorded. */
cudaError_t
cudaStreamSynchronize(cudaStream_t stream)
{
  if (recorded)
    return cudaErrorStreamCaptureUnsupported;
  make_copies(stream, stream ? stream->copy.size() : 0);
  return cudaSuccess;
}

cudaError_t
cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode)
{
  recorded = new shim_graph();
  return cudaSuccess;
}

cudaError_t
cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph)
{
  *graph = recorded;
  recorded = nullptr;
  if (!graphs_are("fail"))
    return cudaSuccess;
  delete *graph;
  *graph = nullptr;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t
cudaGraphInstantiate(cudaGraphExec_t *made, cudaGraph_t graph, unsigned long long)
{
  *made = new shim_graph(*graph);
  return cudaSuccess;
}

static unsigned long graph_launches;

static void
tell_launches()
{
  fprintf(stderr, "shim: %lu graphs launched\n", graph_launches);
}

cudaError_t
cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t)
{
  if (!graph_launches++ && graphs_are("count"))
    atexit(tell_launches);
  for (const std::function<void()> &action : graph->action)
    action();
  return cudaSuccess;
}

cudaError_t
cudaGraphDestroy(cudaGraph_t graph)
{
  delete graph;
  return cudaSuccess;
}

cudaError_t
cudaGraphExecDestroy(cudaGraphExec_t graph)
{
  delete graph;
  return cudaSuccess;
}

/* ---- threads -------------------------------------------------------------------------------------------- */

enum { MOST_THREADS = 1024, LANES_OF_A_WARP = 32, STACK_BYTES = 256 * 1024, MOST_EXCHANGED = 16 };

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
static unsigned char slot[2][MOST_THREADS][MOST_EXCHANGED];

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
}

void
__syncwarp(unsigned)
{
  unsigned warp = threadIdx.x / LANES_OF_A_WARP;
  wait_at(&of_warp[warp], alive_in_warp[warp]);
}

void
shim_exchange(const void *own, void *other, size_t bytes, unsigned from)
{
  if (bytes > MOST_EXCHANGED)
    abort();
  /* By turns in two slots: whoever is at the next exchange already does not write over what others have yet to read, and
   * nobody is further ahead. */
  unsigned warp = threadIdx.x / LANES_OF_A_WARP, turn = of_warp[warp].turn % 2;
  memcpy(slot[turn][threadIdx.x], own, bytes);
  __syncwarp();
  memcpy(other, slot[turn][warp * LANES_OF_A_WARP + from], bytes);
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

extern "C" unsigned char __start_shim_shared[], __stop_shim_shared[];

/* Nothing that a block finds in shared memory may be of use. */
static void
forget_shared_memory()
{
  if (turns_asked_for() != IN_ORDER)
    memset(__start_shim_shared, 0xff, (size_t)(__stop_shim_shared - __start_shim_shared));
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
    forget_shared_memory();
    run_block(threads);
  }
}

void
shim_run_threads(unsigned blocks, unsigned threads, const std::function<void()> &thread)
{
  shim_opened all;
  for (unsigned i = 0; i < blocks; i++)
    for (unsigned k = 0; k < threads; k++) {
      blockIdx.x = taking_turn(i, blocks);
      threadIdx.x = taking_turn(k, threads);
      thread();
    }
}
