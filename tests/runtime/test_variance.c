/* test_variance.c: gradients written to a file and compared with it over draws of the codes, and what is told of a file or a run that
 * cannot serve. `pread` is replaced here. */
#include "batch.h"
#include "checkpoint_files.h"
#include "failing_reads.h"
#include "gradient_study.h"
#include "safetensors.h"
#include "variance.h"

static data_set set;
static batch_source source;
static float images[10 * BATCH * PIXELS];
static uint8_t labels[10 * BATCH];

/* Data of so many batches. */
static void
open_data(int batches)
{
  for (int index = 0; index < 10 * BATCH * PIXELS; index++)
    images[index] = (float)(index % 1009 * 7919 % 1000) / 1000;
  for (int index = 0; index < 10 * BATCH; index++)
    labels[index] = (uint8_t)(index * 7 % CLASSES);
  set.array_count = 2;
  set.array[0] = (data_array){.name = (char *)"images", .file = (char *)"images", .data = (unsigned char *)images, .type = ACTNN_F32, .rank = 2,
                              .dim = {batches * BATCH, PIXELS}, .stride = PIXELS * sizeof(float)};
  set.array[1] = (data_array){.name = (char *)"labels", .file = (char *)"labels", .data = labels, .type = ACTNN_U8, .rank = 1,
                              .dim = {batches * BATCH}, .stride = 1};
  batch_close(&source);
  if (!batch_open(&source, &small_model, &set, NULL))
    abort();
}

/* What is printed, NULL after a failure. */
static const char *
compare(actnn *trainer, const variance_request *request)
{
  static char text[16384];
  FILE *stream = tmpfile();
  if (!stream)
    abort();
  int failed = print_variance(trainer, &source, request, stream);
  rewind(stream);
  text[fread(text, 1, sizeof text - 1, stream)] = 0;
  fclose(stream);
  return failed ? NULL : text;
}

static void
refuse(const char *what, actnn *trainer, const variance_request *request, const char *message)
{
  const char *text = compare(trainer, request);
  ok(!text && strstr(actnn_error(trainer), message), "%s: refused with '%s': %s", what, message, actnn_error(trainer));
}

/* The column of a row of the table, counted from 0. */
static double
column(const char *text, const char *row, int number)
{
  const char *place = text ? strstr(text, row) : NULL;
  for (place = place ? place + strlen(row) : NULL; place && number >= 0; number--) {
    place += strspn(place, " ");
    if (number == 0)
      return strtod(place, NULL);
    place += strcspn(place, " ");
  }
  return NAN;
}

static void
test_comparison(void)
{
  static const char last[] = "\nlayer2.w\xc3\xa4";
  const char *path = path_of("exact");
  actnn *trainer = make(3);
  unsigned char *kept = malloc(small_model.variable_bytes);
  safetensors_file file;
  open_data(10);
  if (!kept)
    abort();
  memcpy(kept, trainer->arena, small_model.variable_bytes);
  bool is_written = !dump_gradients(trainer, &source, path) && safetensors_open(&file, path);
  ok(is_written && file.entry_count == 4 && safetensors_find(&file, "layer2.w\xc3\xa4") && safetensors_find(&file, "b") &&
         !strcmp(safetensors_metadata(&file, "format"), "actnn-gradients"),
     "the gradients of the four parameters are written, under their names");
  if (is_written)
    safetensors_close(&file);
  memcpy(trainer->arena, kept, small_model.variable_bytes);
  variance_request request = {.draws = 40, .alone = 30, .reference = path};
  const char *text = compare(trainer, &request);
  ok(text && !memcmp(kept, trainer->arena, small_model.variable_bytes) && trainer->draw == 0,
     "comparing them changes no variable %s", actnn_error(trainer));
  double norm = column(text, last, 0), variance = column(text, last, 1), predicted = column(text, last, 2);
  ok(norm > 0 && variance > 0 && predicted > variance / 2 && predicted < variance * 2, "the coded value's gradient varies as predicted: %g, %g",
     variance, predicted);
  ok(column(text, "\nb       ", 1) == 0 && column(text, "\nb       ", 4) < 1e-6, "that of the bias behind it not at all");
  ok(column(text, last, 8) > 0, "ten batches differ from each other");
  ok(text && strstr(text, "each value's code redrawn alone, 30 times") && column(text, "\nhidden", 2) > 0, "the value alone is told, too");
  open_data(1);
  request = (variance_request){.draws = 2};
  text = compare(trainer, &request);
  ok(text && strstr(text, "by the codes that\nthe weight's gradient reads itself") && strstr(text, "-\n"),
     "with one batch none differ, and without a reference no bias %s", actnn_error(trainer));

  /* The first weights read nothing but zeros. */
  memset(images, 0, sizeof images);
  text = compare(trainer, &request);
  ok(text && column(text, "\nlayer\"1?/weight", 0) == 0 && column(text, "\nlayer\"1?/weight", 1) == 0,
     "a gradient of zero has no variance %s", text ? "" : actnn_error(trainer));
  free(kept);
  actnn_destroy(trainer);
}

static void
test_references(void)
{
  static const float numbers[PIXELS * HIDDEN];
  static const int64_t dim[2] = {HIDDEN, CLASSES}, less[2] = {HIDDEN, CLASSES - 1};
  const char *path = path_of("reference");
  char message[400];
  actnn *trainer = make(3);
  variance_request request = {.draws = 2, .reference = path};
  open_data(2);
  refuse("no such file", trainer, &request, "No such file");
  safetensors_tensor tensor = {"layer2.w\xc3\xa4", ACTNN_F32, 2, less, numbers, HIDDEN * (CLASSES - 1) * 4};
  if (!safetensors_write(path, &tensor, 1, NULL, 0, false, message, sizeof message))
    abort();
  refuse("a gradient of another size", trainer, &request, "has another shape than in the model");
  tensor = (safetensors_tensor){"layer2.w\xc3\xa4", ACTNN_I32, 2, dim, numbers, HIDDEN * CLASSES * 4};
  if (!safetensors_write(path, &tensor, 1, NULL, 0, false, message, sizeof message))
    abort();
  refuse("a gradient of integers", trainer, &request, "has another shape than in the model");
  tensor.type = ACTNN_F32;
  if (!safetensors_write(path, &tensor, 1, NULL, 0, false, message, sizeof message))
    abort();
  reads_left = 2;
  refuse("a file that cannot be read", trainer, &request, "cannot be read: Input/output error");
  const char *text = compare(trainer, &request);
  ok(text && column(text, "\nlayer2.w\xc3\xa4", 0) == 0, "an exact gradient of zero is one %s", actnn_error(trainer));

  /* A run that is not finite: in forward, and in the draws of one value alone. */
  images[0] = INFINITY;
  request.reference = NULL;
  refuse("a loss that is not finite", trainer, &request, "finite");
  ok(dump_gradients(trainer, &source, path_of("none")) && strstr(actnn_error(trainer), "finite") && !exists(path_of("none")),
     "of which no gradients are written: %s", actnn_error(trainer));
  double variance[9] = {0};
  FILE *stream = tmpfile();
  ok(stream && print_variance_by_save(trainer, &source, 2, variance, stream) && strstr(actnn_error(trainer), "finite"), "nor compared by value: %s",
     actnn_error(trainer));
  if (stream)
    fclose(stream);
  actnn_destroy(trainer);
}

int
main(void)
{
  make_folder();
  test_comparison();
  test_references();
  batch_close(&source);
  remove_folder();
  return tap_done();
}
