/* profile.c: times of calls for `--profile`. A table of fixed size, keyed by what a call names, so that timing
 * allocates nothing inside a step. */
#include "profile.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOT_COUNT = 1 << 15, SHOWN_CALLS = 25 };

typedef struct call_time {
  actnn_kernel *kernel;
  uint64_t key;
  uint32_t result; /* number of the first result; NONE when there is none */
  uint64_t runs, bytes;
  double seconds, operations;
} call_time;

struct profile {
  size_t used;
  call_time slot[SLOT_COUNT];
  call_time order[SLOT_COUNT]; /* scratch for sorting */
};

struct profile *
profile_create(void)
{
  return calloc(1, sizeof(struct profile));
}

void
profile_destroy(struct profile *profile)
{
  free(profile);
}

double
profile_now(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static uint64_t
mix(uint64_t key, uint64_t word)
{
  key = (key ^ word) * 0x9e3779b97f4a7c15u;
  return key ^ (key >> 29);
}

/* Bytes that a call reads and writes, each operand counted once. */
static uint64_t
traffic(const actnn_view *view, size_t count)
{
  uint64_t bytes = 0;
  for (size_t index = 0; index < count; index++)
    bytes += view[index].data ? view[index].bytes : 0;
  return bytes;
}

static double
elements(const actnn_view *view)
{
  double count = 1;
  for (int axis = 0; axis < view->rank; axis++)
    count *= (double)view->dim[axis];
  return count;
}

/* Multiplications and additions of the calls that have many: convolutions and matrix products; 0 for others. */
static double
operations_of(actnn_kernel *kernel, const actnn_call *call)
{
  const actnn_view *in = call->input, *out = call->output;
  if (call->input_count < 2 || call->output_count < 1 || !in[0].data || !in[1].data || !out[0].data)
    return 0;
  if (kernel == actnn_Conv && in[1].rank > 1)
    return 2 * elements(&out[0]) * elements(&in[1]) / (double)in[1].dim[0];
  if (kernel == actnn_ConvGradInput && in[1].rank > 1)
    return 2 * elements(&in[0]) * elements(&in[1]) / (double)in[1].dim[0];
  if (kernel == actnn_ConvGradWeight && out[0].rank > 1)
    return 2 * elements(&in[0]) * elements(&out[0]) / (double)out[0].dim[0];
  if (kernel == actnn_ProductSum || kernel == actnn_ProductGradWeightSum)
    in++; /* what the product is added to */
  if ((kernel == actnn_Product || kernel == actnn_ProductSum) && in[0].rank > 1) {
    bool is_transposed = call->attribute_count > 0 && call->attribute[0].i;
    return 2 * elements(&out[0]) * (double)in[0].dim[in[0].rank - (is_transposed ? 2 : 1)];
  }
  if ((kernel == actnn_ProductGradWeight || kernel == actnn_ProductGradWeightSum) && in[0].rank > 1)
    return 2 * elements(&in[1]) * (double)in[0].dim[in[0].rank - 1];
  return 0;
}

void
profile_add(struct profile *profile, actnn_kernel *kernel, const actnn_call *call, double seconds)
{
  uint64_t key = mix(1, (uint64_t)(uintptr_t)kernel);
  for (size_t index = 0; index < call->output_count; index++)
    key = mix(key, call->output[index].id);
  for (size_t index = 0; index < call->input_count; index++)
    key = mix(key, call->input[index].id);
  size_t place = key % SLOT_COUNT;
  while (profile->slot[place].runs &&
         (profile->slot[place].key != key || profile->slot[place].kernel != kernel))
    place = (place + 1) % SLOT_COUNT;
  call_time *slot = &profile->slot[place];
  if (!slot->runs) {
    if (profile->used == SLOT_COUNT - 1)
      return; /* one slot stays free, so that the search above always ends */
    profile->used++;
    *slot = (call_time){.kernel = kernel, .key = key, .result = call->output_count ? call->output[0].id : NONE};
  }
  slot->runs++;
  slot->seconds += seconds;
  slot->operations += operations_of(kernel, call);
  slot->bytes += traffic(call->output, call->output_count) + traffic(call->input, call->input_count);
}

static int
slower_first(const void *a, const void *b)
{
  double left = ((const call_time *)a)->seconds, right = ((const call_time *)b)->seconds;
  return (left < right) - (left > right);
}

static int
by_kernel(const void *a, const void *b)
{
  uintptr_t left = (uintptr_t)((const call_time *)a)->kernel, right = (uintptr_t)((const call_time *)b)->kernel;
  return (left > right) - (left < right);
}

static void
print_line(const call_time *line, double total, FILE *stream)
{
  double seconds = line->seconds > 0 ? line->seconds : 1e-9;
  fprintf(stream, "%-28s %9llu %10.3f %6.1f%% %8.2f", kernel_name(line->kernel), (unsigned long long)line->runs,
          line->seconds * 1e3, total > 0 ? 100 * line->seconds / total : 0,
          (double)line->bytes / seconds * 1e-9);
  if (line->operations > 0)
    fprintf(stream, " %8.1f", line->operations / seconds * 1e-9);
  else
    fprintf(stream, " %8s", "");
}

/* What this machine's memory gives to all threads at once, reads and writes counted: the best of a few copies
 * of blocks that no cache holds. 0 when there is no room for them. */
static double
copy_bandwidth(int threads)
{
  enum { MIB = 1 << 20, TOTAL = 96, REPEATS = 4 };
  unsigned char *from = calloc(TOTAL, MIB), *to = calloc(TOTAL, MIB);
  double best = 0;
  for (int repeat = 0; from && to && repeat < REPEATS; repeat++) {
    double began = profile_now();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int block = 0; block < TOTAL; block++) {
      memset(from + (size_t)block * MIB, repeat, repeat ? 0 : MIB);
      memcpy(to + (size_t)block * MIB, from + (size_t)block * MIB, MIB);
    }
    double rate = 2.0 * TOTAL * MIB / (profile_now() - began);
    best = repeat && rate > best ? rate : best; /* the first one only brings the pages in */
  }
  free(from);
  free(to);
  return best;
}

void
profile_print(const struct profile *profile, const actnn_model *model, int threads, FILE *stream)
{
  call_time *order = ((struct profile *)profile)->order;
  size_t count = 0, kinds = 0;
  double total = 0;
  for (size_t place = 0; place < SLOT_COUNT; place++)
    if (profile->slot[place].runs) {
      total += profile->slot[place].seconds;
      order[count++] = profile->slot[place];
    }
  qsort(order, count, sizeof *order, by_kernel);
  for (size_t index = 0; index < count; index++) {
    if (kinds && order[kinds - 1].kernel == order[index].kernel) {
      order[kinds - 1].runs += order[index].runs;
      order[kinds - 1].seconds += order[index].seconds;
      order[kinds - 1].bytes += order[index].bytes;
      order[kinds - 1].operations += order[index].operations;
    } else {
      order[kinds++] = order[index];
    }
  }
  qsort(order, kinds, sizeof *order, slower_first);
  fprintf(stream, "%-28s %9s %10s %7s %8s %8s\n", "kernel", "calls", "ms", "share", "GB/s", "GFLOP/s");
  for (size_t index = 0; index < kinds; index++) {
    print_line(&order[index], total, stream);
    fputc('\n', stream);
  }
  count = 0;
  for (size_t place = 0; place < SLOT_COUNT; place++)
    if (profile->slot[place].runs)
      order[count++] = profile->slot[place];
  qsort(order, count, sizeof *order, slower_first);
  fprintf(stream, "\n%-28s %9s %10s %7s %8s %8s  %s\n", "slowest calls", "calls", "ms", "share", "GB/s",
          "GFLOP/s", "first result");
  for (size_t index = 0; index < count && index < SHOWN_CALLS; index++) {
    print_line(&order[index], total, stream);
    if (order[index].result < model->tensor_count) {
      const actnn_tensor *tensor = &model->tensor[order[index].result];
      fprintf(stream, "  v%u[", order[index].result);
      for (int axis = 0; axis < tensor->rank; axis++)
        fprintf(stream, axis ? ",%lld" : "%lld", (long long)tensor->dim[axis]);
      fputc(']', stream);
    }
    fputc('\n', stream);
  }
  double bandwidth = copy_bandwidth(threads);
  if (bandwidth > 0)
    fprintf(stream, "\nthis machine copies memory at %.1f GB/s (%d threads)\n", bandwidth * 1e-9, threads);
}
