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
  double seconds;
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
  fprintf(stream, "%-28s %9llu %10.3f %6.1f%% %8.2f", kernel_name(line->kernel), (unsigned long long)line->runs,
          line->seconds * 1e3, total > 0 ? 100 * line->seconds / total : 0,
          line->seconds > 0 ? (double)line->bytes / line->seconds * 1e-9 : 0);
}

void
profile_print(const struct profile *profile, const actnn_model *model, FILE *stream)
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
    } else {
      order[kinds++] = order[index];
    }
  }
  qsort(order, kinds, sizeof *order, slower_first);
  fprintf(stream, "%-28s %9s %10s %7s %8s\n", "kernel", "calls", "ms", "share", "GB/s");
  for (size_t index = 0; index < kinds; index++) {
    print_line(&order[index], total, stream);
    fputc('\n', stream);
  }
  count = 0;
  for (size_t place = 0; place < SLOT_COUNT; place++)
    if (profile->slot[place].runs)
      order[count++] = profile->slot[place];
  qsort(order, count, sizeof *order, slower_first);
  fprintf(stream, "\n%-28s %9s %10s %7s %8s  %s\n", "slowest calls", "calls", "ms", "share", "GB/s",
          "first result");
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
}
