/* variance.c: measures what coding does to gradients. Draws differ only in the random bits of the codes (`draw`
 * is part of their key); step, batch, weights and dropout stay. */
#include "variance.h"
#include "checkpoint.h"
#include "gradient_study.h"
#include "safetensors.h"
#include "text_buffer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int
dump_gradients(actnn *trainer, batch_source *source, const char *path)
{
  const actnn_model *model = trainer->model;
  gradient_study study;
  if (gradient_study_open(&study, trainer))
    return 1;
  batch_fill(source, trainer, trainer->step);
  int failed = gradient_study_run(&study);
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
  gradient_study_close(&study);
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
    study->exact_norm += study->record[index].exact_norm;
  }
  return 0;
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

/* What a table says of one parameter, or of all together. All but `worst_z` are squared. */
typedef struct summary {
  double norm, variance, predicted; /* predicted: NAN when nothing is said */
  double off, between;              /* distance of the mean from the exact gradient; variance between batches: NAN likewise */
  double z;                         /* projection on the exact gradient, in its standard errors; NAN likewise */
} summary;

static double
projection_z(double projection, double squares, double count)
{
  double mean = projection / count, spread = fmax(0, squares - count * mean * mean) / (count - 1);
  return spread > 0 ? mean / sqrt(spread / count) : 0;
}

static summary
summarize(const gradient_study *draws, const gradient_study *batches, uint32_t index)
{
  const gradient_record *record = &draws->record[index];
  double count = (double)draws->observed;
  summary found = {.variance = gradient_study_variance(draws, index), .predicted = record->predicted, .between = NAN, .z = NAN};
  for (size_t element = 0; element < record->count; element++) {
    double mean = (double)record->first[element] + record->sum[element] / count;
    double off = record->exact ? mean - (double)record->exact[element] : 0;
    found.norm += mean * mean;
    found.off += off * off;
  }
  found.norm = record->exact ? record->exact_norm : fmax(0, found.norm - found.variance / count);
  if (record->exact)
    found.z = projection_z(record->projection, record->projection_squares, count);
  else
    found.off = NAN;
  if (batches->observed > 1) /* they differ, and each carries one draw's noise */
    found.between = fmax(0, gradient_study_variance(batches, index) - found.variance);
  return found;
}

static void
add_summary(summary *all, const summary *one)
{
  all->norm += one->norm;
  all->variance += one->variance;
  all->predicted += isnan(one->predicted) ? 0 : one->predicted;
  all->off += one->off;
  all->between += one->between;
}

static void
print_number(FILE *stream, const char *format, int width, double number)
{
  if (isnan(number))
    fprintf(stream, " %*s", width, "-");
  else
    fprintf(stream, format, number);
}

static void
print_summary(const char *name, const summary *found, double count, FILE *stream)
{
  double scale = found->norm > 0 ? found->norm : 1, error = sqrt(found->variance / count);
  fprintf(stream, "%-40.40s %11.4e %10.3e", name, sqrt(found->norm), found->variance / scale);
  print_number(stream, " %10.3e", 10, found->predicted / scale);
  print_number(stream, " %7.3f", 7, found->variance > 0 ? found->predicted / found->variance : 0 * found->predicted);
  print_number(stream, " %10.3e", 10, sqrt(found->off / scale));
  fprintf(stream, " %10.3e", error / sqrt(scale));
  print_number(stream, " %7.2f", 7, error > 0 ? sqrt(found->off) / error : 0 * found->off);
  print_number(stream, " %7.2f", 7, found->z);
  print_number(stream, " %10.3e", 10, found->between / scale);
  fputc('\n', stream);
}

/* One row a parameter, and one for all; the sum of the squared norms. */
static double
print_table(const gradient_study *draws, const gradient_study *batches, FILE *stream)
{
  summary all = {.z = NAN};
  double count = (double)draws->observed;
  fprintf(stream, "%-40s %11s %10s %10s %7s %10s %10s %7s %7s %10s\n", "parameter", "|g|", "variance", "predicted", "ratio", "bias",
          "s.e.", "b/s.e.", "z", "batches");
  for (uint32_t index = 0; index < draws->trainer->model->variable_count; index++) {
    char buffer[32], name[41];
    if (!draws->record[index].seen)
      continue;
    summary found = summarize(draws, batches, index);
    snprintf(name, sizeof name, "%.40s", checkpoint_name(draws->trainer->model, index, buffer));
    print_summary(text_make_printable(name), &found, count, stream);
    add_summary(&all, &found);
  }
  if (draws->exact_norm > 0)
    all.z = projection_z(draws->projection, draws->projection_squares, count);
  print_summary("(all)", &all, count, stream);
  return all.norm;
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
    if (gradient_study_run(draws))
      return 1;
    note_predictions(draws);
    gradient_study_restore_state(trainer, state);
  }
  for (uint64_t batch = 0; batch < several; batch++) {
    trainer->draw = count + 1 + batch;
    batch_fill(source, trainer, step + batch);
    if (gradient_study_run(batches))
      return 1;
    gradient_study_restore_state(trainer, state);
  }
  trainer->draw = 0;
  saves_count_noise(trainer, false);
  return 0;
}

/* With `alone`, what is predicted is the sum over values of what each one's code does alone; otherwise what gradients' own products
 * make of the codes that they read. */
static int
predict(gradient_study *draws, batch_source *source, const variance_request *request, FILE *stream)
{
  const actnn_model *model = draws->trainer->model;
  double *alone = calloc((size_t)model->variable_count + 1, sizeof *alone);
  int failed = alone ? 0 : actnn_fail(draws->trainer, "out of memory");
  failed = failed || (request->alone && print_variance_by_save(draws->trainer, source, request->alone, alone, stream));
  for (uint32_t index = 0; !failed && index < model->variable_count; index++)
    draws->record[index].predicted = request->alone ? alone[index] : draws->record[index].predicted / (double)draws->observed;
  free(alone);
  return failed;
}

static int
study_and_print(gradient_study *draws, gradient_study *batches, batch_source *source, const variance_request *request, FILE *stream)
{
  actnn *trainer = draws->trainer;
  safetensors_file file;
  int failed = 0;
  if (request->reference) {
    if (!safetensors_open(&file, request->reference))
      return actnn_fail(trainer, "%s", file.error);
    failed = read_reference(draws, &file);
    safetensors_close(&file);
  }
  unsigned char *state = gradient_study_copy_state(trainer);
  if (!failed && !state)
    failed = actnn_fail(trainer, "out of memory");
  failed = failed || run_study(draws, batches, source, request->draws, state) || predict(draws, source, request, stream);
  free(state);
  if (failed)
    return 1;
  fprintf(stream,
          "%llu draws of one batch; variances relative to |g|^2, bias and standard error (s.e.) to |g|; b/s.e.: about 1 without "
          "bias;\nz: bias along the gradient in its standard errors, beyond 4 only with bias; predicted: %s; ratio: predicted / "
          "measured\n",
          (unsigned long long)request->draws,
          request->alone ? "the sum of what\neach value's code does alone"
                         : "by the codes that\nthe weight's gradient reads itself (-: none), without what reaches its incoming gradient");
  print_table(draws, batches, stream);
  return 0;
}

int
print_variance(actnn *trainer, batch_source *source, const variance_request *request, FILE *stream)
{
  gradient_study draws, batches;
  int failed = gradient_study_open(&draws, trainer);
  failed = gradient_study_open(&batches, trainer) || failed;
  failed = failed || study_and_print(&draws, &batches, source, request, stream);
  gradient_study_close(&draws);
  gradient_study_close(&batches);
  return failed;
}
