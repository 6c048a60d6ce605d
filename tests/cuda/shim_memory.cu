/* shim_memory.cu: the stand-in's memory, copies, streams and graphs; see shim.h. */
#include "shim.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <vector>

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
  races_watch(pages, whole_pages(bytes), false);
  area[area_count].memory = *memory = pages;
  area[area_count++].bytes = whole_pages(bytes);
  return cudaSuccess;
}

cudaError_t
cudaFree(void *memory)
{
  for (int i = 0; i < area_count; i++)
    if (area[i].memory == memory) {
      races_forget(memory);
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
