/* kernels.h: the kernels of operators that run on a GPU, by the processor's kernels that they stand for. */
#ifndef ACTNN_CUDA_KERNELS_H
#define ACTNN_CUDA_KERNELS_H

#include "gpu.h"

/* NULL: the operator runs on the processor. */
actnn_kernel *gpu_kernel_for(actnn_kernel *of_processor);

/* The elements as they lie, in the form that the result has (movement.cu). */
int gpu_copy_whole(const actnn_call *call);
/* An elementwise row by number, of operands and a result of any type (pointwise_plain.cu). */
int gpu_run_plain_row(const actnn_call *call, int row);

/* To and from bfloat16 (bfloat.cu; runtime/bfloat.h). */
int gpu_convert(actnn *trainer, void *to, const void *from, int64_t count, bool rounds);

/* Recorded calls (graph.cu; device.h says what they are), the results that they fetch, and the keys of random draws. */
int gpu_begin_calls(actnn *trainer, uint64_t version);
int gpu_end_calls(actnn *trainer);
int gpu_drop_calls(actnn *trainer);
void gpu_close_graph(actnn *trainer);
int gpu_fetched(const actnn *trainer);
void gpu_set_fetched(actnn *trainer, int count);
int gpu_prepare_keys(actnn *trainer);
int gpu_send_keys(actnn *trainer);

/* The inputs of a step while another one runs (ahead.cu; device.h says what sending and taking is). */
uint64_t gpu_input_bytes(const actnn_model *model);
int gpu_open_ahead(actnn *trainer);
void gpu_close_ahead(actnn *trainer);
int gpu_send_ahead(actnn *trainer);
int gpu_take_ahead(actnn *trainer);

/* The classes that win in a step's prediction (winners.cu): what is reserved for them, in bytes; finding them; and device.cu's sending
 * them on to trainer->winner. */
int gpu_prepare_winners(actnn *trainer, uint64_t *bytes);
int gpu_find_winners(actnn *trainer);
int gpu_fetch_winners(actnn *trainer, const int32_t *there, uint64_t bytes);

/* Codes that wait in the host's memory (offload.cu; device.h says what the copies are). */
int gpu_open_offload(actnn *trainer);
void gpu_close_offload(actnn *trainer);
int gpu_put_codes_away(actnn *trainer, uint32_t save, uint64_t offset, uint64_t place, uint64_t bytes);
int gpu_bring_codes_back(actnn *trainer, uint32_t save, uint64_t offset, uint64_t place, uint64_t bytes);
int gpu_await_codes(actnn *trainer, uint32_t save);
int gpu_join_copies(actnn *trainer);

/* Codes' tables (saves.cu), that of updates (optimizer.cu) and libraries' handles (library.cu) of a trainer. */
int gpu_prepare_saves(actnn *trainer);
void gpu_close_saves(actnn *trainer);
int gpu_prepare_updates(actnn *trainer);
void gpu_close_updates(actnn *trainer);
int gpu_open_library(actnn *trainer);
void gpu_close_library(actnn *trainer);

#endif
