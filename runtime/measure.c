/* measure.c: what scratch the library's primitives would ask for on this machine, for the translator's plan.
 *
 * The plan must equal what the trainer reserves, and only the library knows its scratch. So the translator has the kernels prepare
 * themselves exactly as a trainer's start does, on addresses that are reserved but hold no memory. */
#include "library.h"
#include "profile.h"
#include "trainer.h"

#include <omp.h>
#include <stdlib.h>
#include <sys/mman.h>

static bool
prepare_calls(actnn *trainer, const actnn_recorded_call *call, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    actnn_kernel *kernel = kernel_named(call[i].kernel);
    if (!kernel || actnn_run(trainer, kernel, call[i].out, call[i].in, call[i].with)) return false;
  }
  return true;
}

uint64_t
actnn_measure_workspace(const actnn_tensor *tensor, uint32_t tensor_count, uint64_t arena_bytes,
                        const actnn_recorded_call *call, size_t call_count, bool is_for_gpu)
{
  actnn_model model = {.version = ACTNN_VERSION, .name = "plan", .tensor = tensor, .tensor_count = tensor_count,
                       .arena_bytes = arena_bytes, .batch = 1};
  actnn trainer = {.model = &model, .preparing = true, .measuring = true, .measures_gpu = is_for_gpu, .threads = omp_get_max_threads(),
                   .channel_block = trainer_machine_channel_block()};
  void *address = mmap(NULL, arena_bytes + 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return UINT64_MAX;
  trainer.arena = trainer.workspace = address;
  bool is_good = prepare_calls(&trainer, call, call_count);
  library_destroy(&trainer);
  munmap(address, arena_bytes + 1);
  is_good = is_good && !trainer.lacks_memory;
  return is_good ? (trainer.workspace_wanted + ACTNN_ALIGNMENT - 1) / ACTNN_ALIGNMENT * ACTNN_ALIGNMENT : UINT64_MAX;
}
