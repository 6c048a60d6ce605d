/* variance.c: measures what coding does to gradients. Draws differ only in the random bits of the codes (`draw`
 * is part of their key); step, batch, weights and dropout stay. Sums are of differences from the first draw, so
 * that a variance far below the squared norm is not lost in rounding. */
#include "variance.h"
#include "checkpoint.h"
#include "safetensors.h"
#include "saves.h"
#include "text_buffer.h"
#include "trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct gradient_record {
  bool seen;
  size_t count;
  float *first;                          /* the first gradient observed */
  float *exact;                          /* of the reference; NULL */
  double *sum;                           /* of differences from the first */
  double squares;                        /* sum of squared norms of these differences */
  double projection, projection_squares; /* of <g, exact> / |exact|^2 - 1 */
  double exact_norm;                     /* squared */
  double predicted; /* sum over draws of the variance that the codes it reads directly are said to add; NAN */
} gradient_record;

typedef struct gradient_study {
  actnn *trainer;
  gradient_record *record; /* one a variable */
  uint32_t *variable_of;   /* of each tensor; NONE */
  uint64_t observed;       /* draws or batches */
  bool failed;
} gradient_study;

static void
close_study(gradient_study *study)
{
  for (uint32_t index = 0; study->record && index < study->trainer->model->variable_count; index++) {
    free(study->record[index].first);
    free(study->record[index].exact);
    free(study->record[index].sum);
  }
  free(study->record);
  free(study->variable_of);
  study->record = NULL;
  study->variable_of = NULL;
}

static int
open_study(gradient_study *study, actnn *trainer)
{
  const actnn_model *model = trainer->model;
  *study = (gradient_study){.trainer = trainer};
  study->record = calloc((size_t)model->variable_count + 1, sizeof *study->record);
  study->variable_of = malloc(((size_t)model->tensor_count + 1) * sizeof *study->variable_of);
  if (!study->record || !study->variable_of) {
    close_study(study);
    return actnn_fail(trainer, "out of memory");
  }
  memset(study->variable_of, 0xff, ((size_t)model->tensor_count + 1) * sizeof *study->variable_of);
  for (uint32_t index = 0; index < model->variable_count; index++)
    study->variable_of[model->variable[index].tensor] = index;
  return 0;
}

static void
take_first(gradient_study *study, gradient_record *record, const float *gradient, size_t count)
{
  record->count = count;
  record->first = malloc(count * sizeof *record->first + 1);
  record->sum = calloc(count + 1, sizeof *record->sum);
  record->seen = record->first && record->sum;
  study->failed |= !record->seen;
  if (record->seen)
    memcpy(record->first, gradient, count * sizeof *gradient);
}

static void
observe(void *context, uint32_t variable_tensor, const float *gradient, size_t count)
{
  gradient_study *study = context;
  uint32_t variable = study->variable_of[variable_tensor];
  if (variable == NONE || study->failed)
    return;
  gradient_record *record = &study->record[variable];
  if (!record->seen)
    take_first(study, record, gradient, count);
  if (study->failed || record->count != count)
    return;
  double squares = 0, product = 0;
  for (size_t index = 0; index < count; index++) {
    double difference = (double)gradient[index] - (double)record->first[index];
    record->sum[index] += difference;
    squares += difference * difference;
    if (record->exact)
      product += ((double)gradient[index] - (double)record->exact[index]) * (double)record->exact[index];
  }
  record->squares += squares;
  if (record->exact && record->exact_norm > 0) {
    record->projection += product / record->exact_norm;
    record->projection_squares += product / record->exact_norm * (product / record->exact_norm);
  }
}

/* Adds what each save's codes are predicted to do to the gradients that read them. */
static void
note_predictions(gradient_study *study)
{
  const actnn_model *model = study->trainer->model;
  for (uint32_t index = 0; index < model->variable_count; index++) {
    double variance = 0;
    bool reads = false;
    for (uint32_t save = 0; save < model->save_count; save++) {
      bool is_scale = model->save[save].scale == model->variable[index].tensor;
      if (!is_scale && model->save[save].gradient != model->variable[index].tensor)
        continue;
      variance += saves_predicted_variance(study->trainer, save, is_scale);
      reads = true;
    }
    study->record[index].predicted += reads ? variance : NAN;
  }
}

static int
run_once(gradient_study *study)
{
  actnn *trainer = study->trainer;
  double loss;
  actnn_observe_gradients(trainer, observe, study);
  int failed =
      trainer_forward(trainer, trainer->model->default_learning_rate, &loss) || trainer_backward(trainer);
  actnn_observe_gradients(trainer, NULL, NULL);
  study->observed++;
  note_predictions(study);
  if (!failed && study->failed)
    failed = actnn_fail(trainer, "out of memory for gradients");
  return failed;
}

int
dump_gradients(actnn *trainer, batch_source *source, const char *path)
{
  const actnn_model *model = trainer->model;
  gradient_study study;
  if (open_study(&study, trainer))
    return 1;
  batch_fill(source, trainer, trainer->step);
  int failed = run_once(&study);
  safetensors_tensor *tensor = calloc((size_t)model->variable_count + 1, sizeof *tensor);
  char(*name)[32] = calloc((size_t)model->variable_count + 1, sizeof *name);
  size_t count = 0;
  if (!failed && (!tensor || !name))
    failed = actnn_fail(trainer, "out of memory");
  for (uint32_t index = 0; !failed && index < model->variable_count; index++) {
    const gradient_record *record = &study.record[index];
    const actnn_tensor *shape = &model->tensor[model->variable[index].tensor];
    if (!record->seen)
      continue;
    if (trainer_elements(shape) != record->count)
      failed =
          actnn_fail(trainer, "%s: the gradient of variable %u has another size than it", model->name, index);
    tensor[count++] = (safetensors_tensor){checkpoint_name(model, index, name[index]),
                                           ACTNN_F32,
                                           shape->rank,
                                           shape->dim,
                                           record->first,
                                           record->count * sizeof(float)};
  }
  const safetensors_pair metadata = {"format", "actnn-gradients"};
  if (!failed)
    failed =
        !safetensors_write(path, tensor, count, &metadata, 1, false, trainer->error, sizeof trainer->error);
  free(tensor);
  free(name);
  close_study(&study);
  return failed;
}

/* ---- the study ---------------------------------------------------------------------------------- */

static int
read_reference(gradient_study *study, safetensors_file *file)
{
  actnn *trainer = study->trainer;
  const actnn_model *model = trainer->model;
  char buffer[32];
  for (uint32_t index = 0; index < model->variable_count; index++) {
    const safetensors_entry *entry = safetensors_find(file, checkpoint_name(model, index, buffer));
    size_t count = trainer_elements(&model->tensor[model->variable[index].tensor]);
    if (!entry)
      continue;
    if (entry->type != ACTNN_F32 || entry->bytes != count * sizeof(float))
      return actnn_fail(trainer, "%s: '%.80s' has another shape than in the model", file->path, entry->name);
    float *exact = malloc(count * sizeof *exact + 1);
    if (!exact)
      return actnn_fail(trainer, "out of memory");
    study->record[index].exact = exact;
    if (!safetensors_read(file, entry, exact))
      return actnn_fail(trainer, "%s", file->error);
    for (size_t element = 0; element < count; element++)
      study->record[index].exact_norm += (double)exact[element] * (double)exact[element];
  }
  return 0;
}

/* Running statistics move with every forward; each draw starts from the same. */
static unsigned char *
copy_state(actnn *trainer)
{
  uint64_t bytes = 0;
  for (uint32_t index = 0; index < trainer->model->variable_count; index++)
    bytes += trainer->model->tensor[trainer->model->variable[index].tensor].bytes;
  unsigned char *copy = malloc((size_t)bytes + 1), *place = copy;
  for (uint32_t index = 0; copy && index < trainer->model->variable_count; index++) {
    uint32_t id = trainer->model->variable[index].tensor;
    memcpy(place, actnn_data(trainer, id), (size_t)trainer->model->tensor[id].bytes);
    place += trainer->model->tensor[id].bytes;
  }
  return copy;
}

static void
restore_state(actnn *trainer, const unsigned char *copy)
{
  for (uint32_t index = 0; index < trainer->model->variable_count; index++) {
    uint32_t id = trainer->model->variable[index].tensor;
    memcpy(actnn_data(trainer, id), copy, (size_t)trainer->model->tensor[id].bytes);
    copy += trainer->model->tensor[id].bytes;
  }
}

static double
variance_of(const gradient_record *record, uint64_t observed)
{
  double mean = 0;
  for (size_t index = 0; index < record->count; index++)
    mean += record->sum[index] * record->sum[index];
  return observed > 1 ? fmax(0, record->squares - mean / (double)observed) / (double)(observed - 1) : 0;
}

static void
print_record(const gradient_study *draws, const gradient_study *batches, uint32_t index, FILE *stream)
{
  const gradient_record *record = &draws->record[index];
  double count = (double)draws->observed, norm = 0, distance = 0,
         variance = variance_of(record, draws->observed);
  char buffer[32], name[41];
  snprintf(name, sizeof name, "%.40s", checkpoint_name(draws->trainer->model, index, buffer));
  for (size_t element = 0; element < record->count; element++) {
    double mean = (double)record->first[element] + record->sum[element] / count;
    double off = record->exact ? mean - (double)record->exact[element] : 0;
    norm += mean * mean;
    distance += off * off;
  }
  norm = record->exact ? record->exact_norm : fmax(0, norm - variance / count);
  double scale = norm > 0 ? norm : 1, error = sqrt(variance / count);
  fprintf(stream, "%-40s %11.4e %10.3e", text_make_printable(name), sqrt(norm), variance / scale);
  if (isnan(record->predicted))
    fprintf(stream, " %10s %7s", "-", "-");
  else
    fprintf(stream, " %10.3e %7.3f", record->predicted / count / scale,
            variance > 0 ? record->predicted / count / variance : 0);
  if (record->exact) {
    double mean = record->projection / count;
    double spread = fmax(0, record->projection_squares - count * mean * mean) / (count - 1);
    fprintf(stream, " %10.3e %10.3e %7.2f %7.2f", sqrt(distance / scale), error / sqrt(scale),
            error > 0 ? sqrt(distance) / error : 0, spread > 0 ? mean / sqrt(spread / count) : 0);
  } else {
    fprintf(stream, " %10s %10.3e %7s %7s", "-", error / sqrt(scale), "-", "-");
  }
  /* The batches differ, and each carries one draw's noise. */
  double between =
      batches->observed > 1 ? variance_of(&batches->record[index], batches->observed) - variance : NAN;
  if (isnan(between))
    fprintf(stream, " %10s\n", "-");
  else
    fprintf(stream, " %10.3e\n", fmax(0, between) / scale);
}

static int
run_study(gradient_study *draws, gradient_study *batches, batch_source *source, uint64_t count,
          const unsigned char *state)
{
  actnn *trainer = draws->trainer;
  saves_count_noise(trainer, true);
  uint64_t step = trainer->step, several = batch_count(source) < 8 ? batch_count(source) : 8;
  for (uint64_t draw = 1; draw <= count; draw++) { /* draw 0 is training's, and lets bits adapt */
    trainer->draw = draw;
    batch_fill(source, trainer, step);
    if (run_once(draws))
      return 1;
    restore_state(trainer, state);
  }
  for (uint64_t batch = 0; batch < several; batch++) {
    trainer->draw = count + 1 + batch;
    batch_fill(source, trainer, step + batch);
    if (run_once(batches))
      return 1;
    restore_state(trainer, state);
  }
  trainer->draw = 0;
  saves_count_noise(trainer, false);
  return 0;
}

int
print_variance(actnn *trainer, batch_source *source, uint64_t count, const char *reference, FILE *stream)
{
  gradient_study draws, batches;
  if (open_study(&draws, trainer))
    return 1;
  if (open_study(&batches, trainer)) {
    close_study(&draws);
    return 1;
  }
  int failed = 0;
  if (reference) {
    safetensors_file file;
    failed = !safetensors_open(&file, reference);
    if (failed) {
      actnn_fail(trainer, "%s", file.error);
    } else {
      failed = read_reference(&draws, &file);
      safetensors_close(&file);
    }
  }
  unsigned char *state = copy_state(trainer);
  if (!failed && !state)
    failed = actnn_fail(trainer, "out of memory");
  failed = failed || run_study(&draws, &batches, source, count, state);
  free(state);
  if (!failed) {
    fprintf(stream,
            "%llu draws of one batch; variances relative to |g|^2, bias and standard error (s.e.) to |g|; "
            "b/s.e.: about "
            "1 without bias;\nz: bias along the gradient in its standard errors, beyond 4 only with bias; predicted: "
            "by the codes that the\nweight's gradient reads itself (-: none, or several parameters read them); ratio: "
            "predicted / measured, less than 1\nwhere codes of layers above disturb the incoming gradient too\n",
            (unsigned long long)count);
    fprintf(stream, "%-40s %11s %10s %10s %7s %10s %10s %7s %7s %10s\n", "parameter", "|g|", "variance", "predicted",
            "ratio", "bias", "s.e.", "b/s.e.", "z", "batches");
    for (uint32_t index = 0; index < trainer->model->variable_count; index++)
      if (draws.record[index].seen)
        print_record(&draws, &batches, index, stream);
  }
  close_study(&draws);
  close_study(&batches);
  return failed;
}
