/* stand_in.c: what harnesses call of the runtime without needing it: the library, saves, kernels, threads. The files that read
 * what comes from outside are the real ones. */
#include "bfloat.h"
#include "library.h"
#include "offload.h"
#include "profile.h"
#include "saves.h"

#include <omp.h>
#include <string.h>

/* Any plan is fine with a library that wants no scratch. */
uint64_t
actnn_measure_workspace(const actnn_tensor *tensor, uint32_t tensor_count, uint64_t arena_bytes, const actnn_recorded_call *call,
                        size_t call_count, bool is_for_gpu)
{
  (void)tensor, (void)tensor_count, (void)arena_bytes, (void)call, (void)call_count, (void)is_for_gpu;
  return 0;
}

int bfloat_run(actnn_kernel *kernel, const actnn_call *call) { return kernel(call); }
bool bfloat_is_in(const actnn_call *call) { return (void)call, false; }
bool
bfloat_is_taken_by(actnn_kernel *kernel, const actnn_call *call, bool is_on_gpu)
{
  return (void)kernel, (void)call, (void)is_on_gpu, true;
}
int
bfloat_widen(actnn_kernel *kernel, actnn_kernel *runs, const actnn_call *call, bfloat_conversion *convert)
{
  (void)kernel, (void)runs, (void)call, (void)convert;
  return 1;
}
int saves_create(actnn *trainer) { return (void)trainer, 0; }
void saves_destroy(actnn *trainer) { (void)trainer; }
int saves_begin_step(actnn *trainer) { return (void)trainer, 0; }
void saves_note_gradient(actnn *trainer, const actnn_call *call, size_t second_moment) { (void)trainer, (void)call, (void)second_moment; }
void saves_forget_measure(actnn *trainer) { (void)trainer; }
bool saves_notes_gradients(const actnn *trainer) { return (void)trainer, false; }
void saves_place_of(const actnn *trainer, uint32_t tensor, uint64_t *offset, uint64_t *bytes) { (void)trainer, (void)tensor, (void)offset, (void)bytes; }
bool saves_are_steady(const actnn *trainer) { (void)trainer; return true; }
uint64_t saves_version(const actnn *trainer) { (void)trainer; return 0; }

int
saves_shares(actnn *trainer, uint64_t *bytes)
{
  for (uint32_t i = 0; i < trainer->model->save_count; i++) bytes[i] = 64;
  return 0;
}

int
saves_set_shares(actnn *trainer, const uint64_t *bytes)
{
  for (uint32_t i = 0; i < trainer->model->save_count; i++)
    if (bytes[i] % ACTNN_ALIGNMENT) return actnn_fail(trainer, "shares do not fit");
  return 0;
}

void
saves_redraw_state(const actnn *trainer, double (*state)[SAVES_REDRAW_NUMBERS])
{
  memset(state, 0, trainer->model->save_count * sizeof *state);
}

int
saves_set_redraw_state(actnn *trainer, double (*state)[SAVES_REDRAW_NUMBERS])
{
  for (uint32_t i = 0; i < trainer->model->save_count; i++)
    if (!(state[i][0] >= 0)) return actnn_fail(trainer, "noise is no number");
  return 0;
}

int offload_create(actnn *trainer) { return (void)trainer, 0; }
void offload_destroy(actnn *trainer) { (void)trainer; }
uint64_t offload_exact_place(const actnn *trainer, uint32_t tensor) { return (void)trainer, (void)tensor, 0; }
int offload_note(actnn *trainer, actnn_kernel *kernel, const actnn_call *call) { return (void)trainer, (void)kernel, (void)call, 0; }
void offload_begin(actnn *trainer) { (void)trainer; }
int offload_before(actnn *trainer, actnn_kernel *kernel, const actnn_call *call) { return (void)trainer, (void)kernel, (void)call, 0; }
int offload_after(actnn *trainer, actnn_kernel *kernel, const actnn_call *call) { return (void)trainer, (void)kernel, (void)call, 0; }
int offload_end(actnn *trainer) { return (void)trainer, 0; }

void library_destroy(actnn *trainer) { (void)trainer; }

struct profile *profile_create(void) { return NULL; }
void profile_destroy(struct profile *profile) { (void)profile; }
double profile_now(void) { return 0; }
const char *kernel_name(actnn_kernel *kernel) { return (void)kernel, ""; }

void
profile_add(struct profile *profile, actnn_kernel *kernel, const actnn_call *call, double seconds)
{
  (void)profile, (void)kernel, (void)call, (void)seconds;
}

#define NO_KERNEL(NAME) \
  int actnn_##NAME(const actnn_call *call) { return (void)call, 1; }
NO_KERNEL(Sgd)
NO_KERNEL(Adam)
NO_KERNEL(AdamW)
NO_KERNEL(OnnxMomentum)
NO_KERNEL(OnnxAdam)
NO_KERNEL(OnnxAdagrad)

int omp_get_max_threads(void) { return 1; }
int omp_get_num_threads(void) { return 1; }
int omp_get_thread_num(void) { return 0; }
void omp_set_num_threads(int threads) { (void)threads; }
