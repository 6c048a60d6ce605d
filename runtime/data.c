/* data.c: finds out what --data names, and what all readers of data share. Files are hostile until read:
 * lengths are checked for overflow, and memory grows with what a file really holds. */
#include "data.h"
#include "text_buffer.h"
#include "trainer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where Debian's dataset-fashion-mnist puts its files; CIFAR-10 has no package, so its archive's usual folder.
 */
static const char FASHION_MNIST[] = "/usr/share/datasets/fashion-mnist", CIFAR10[] = "cifar-10-batches-bin";

bool
data_fail(data_set *set, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(set->error, sizeof set->error, format, arguments);
  va_end(arguments);
  text_make_printable(set->error);
  return false;
}

data_array *
data_add(data_set *set, const char *name, const char *file)
{
  if (set->array_count == DATA_MAX_ARRAYS) {
    data_fail(set, "%s: more than %d arrays", file, (int)DATA_MAX_ARRAYS);
    return NULL;
  }
  data_array *array = &set->array[set->array_count];
  *array = (data_array){.name = strdup(name), .file = strdup(file)};
  if (array->name && array->file) {
    set->array_count++;
    return array;
  }
  free(array->name);
  free(array->file);
  data_fail(set, "%s: out of memory", file);
  return NULL;
}

void
data_close(data_set *set)
{
  for (size_t index = 0; index < set->array_count; index++) {
    free(set->array[index].name);
    free(set->array[index].file);
    free(set->array[index].memory);
  }
  set->array_count = 0;
}

bool
data_sample_bytes(const data_array *array, size_t *bytes)
{
  size_t size = trainer_type_bytes(array->type), total;
  if (!size)
    return false;
  for (int axis = 1; axis < array->rank; axis++)
    if (array->dim[axis] < 0 || __builtin_mul_overflow(size, (uint64_t)array->dim[axis], &size))
      return false;
  *bytes = size;
  return array->dim[0] >= 0 && !__builtin_mul_overflow(size, (uint64_t)array->dim[0], &total) &&
         total < SIZE_MAX / 4;
}

void
data_swap_bytes(unsigned char *data, size_t count, size_t size)
{
  for (size_t index = 0; index < count; index++, data += size)
    for (size_t low = 0, high = size - 1; low < high; low++, high--) {
      unsigned char byte = data[low];
      data[low] = data[high];
      data[high] = byte;
    }
}

bool
data_is_big_endian_machine(void)
{
  const uint16_t probe = 1;
  return *(const unsigned char *)&probe == 0;
}

/* ---- reading ------------------------------------------------------------------------------------ */

ssize_t
data_read_head(data_set *set, const char *path, void *head, size_t wanted)
{
  data_stream *stream = data_open_stream(set, path);
  ssize_t count = stream ? data_read(set, stream, head, wanted) : -1;
  data_close_stream(stream);
  return count;
}

unsigned char *
data_read_bytes(data_set *set, data_stream *stream, const char *path, size_t wanted, size_t *got)
{
  size_t capacity = wanted < (1 << 20) ? wanted + 1 : (1 << 20), done = 0;
  unsigned char *bytes = malloc(capacity);
  while (bytes && done < wanted) {
    if (done == capacity) {
      capacity = capacity < SIZE_MAX / 4 && 2 * capacity < wanted ? 2 * capacity : wanted;
      unsigned char *larger = realloc(bytes, capacity);
      if (!larger) {
        free(bytes);
        bytes = NULL;
        break;
      }
      bytes = larger;
    }
    size_t room = capacity < wanted ? capacity - done : wanted - done;
    ssize_t count = data_read(set, stream, bytes + done, room);
    if (count < 0) {
      free(bytes);
      return NULL;
    }
    if (!count)
      break;
    done += (size_t)count;
  }
  if (!bytes)
    data_fail(set, "%s: out of memory", path);
  *got = done;
  return bytes;
}

/* ---- finding out what a name means -------------------------------------------------------------- */

static bool
exists(const char *path)
{
  return !access(path, F_OK);
}

/* DIRECTORY/NAME, or with .gz behind it, whichever exists; false when neither does. */
static bool
find_in(const char *directory, const char *name, char *path, size_t bytes)
{
  for (int packed = 0; packed < 2; packed++) {
    int length = snprintf(path, bytes, "%s/%s%s", directory, name, packed ? ".gz" : "");
    if (length > 0 && (size_t)length < bytes && exists(path))
      return true;
  }
  return false;
}

static bool
read_idx_directory(data_set *set, const char *directory, data_part part)
{
  static const char *const known[2][2][2] = {{{"train-images-idx3-ubyte", "train-images.idx3-ubyte"},
                                              {"train-labels-idx1-ubyte", "train-labels.idx1-ubyte"}},
                                             {{"t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"},
                                              {"t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"}}};
  for (int which = 0; which < 2; which++) {
    char path[4096];
    const char *const *name = known[part][which];
    if (!find_in(directory, name[0], path, sizeof path) && !find_in(directory, name[1], path, sizeof path))
      return data_fail(set, "%s: has no %s[.gz]", directory, name[0]);
    if (!data_read_idx(set, path, which ? "labels" : "samples"))
      return false;
  }
  return true;
}

static bool
read_cifar_directory(data_set *set, const char *directory, data_part part)
{
  char path[5][4096];
  const char *list[5];
  size_t count = part == DATA_TEST ? 1 : 5;
  for (size_t index = 0; index < count; index++) {
    char name[32];
    if (part == DATA_TEST)
      strcpy(name, "test_batch.bin");
    else
      snprintf(name, sizeof name, "data_batch_%zu.bin", index + 1);
    if (!find_in(directory, name, path[index], sizeof path[index]))
      return data_fail(set, "%s: has no %s", directory, name);
    list[index] = path[index];
  }
  return data_read_cifar(set, list, count);
}

static bool
read_directory(data_set *set, const char *directory, data_part part)
{
  char path[4096];
  if (find_in(directory, "data_batch_1.bin", path, sizeof path) ||
      find_in(directory, "test_batch.bin", path, sizeof path))
    return read_cifar_directory(set, directory, part);
  if (find_in(directory, CIFAR10, path, sizeof path))
    return read_cifar_directory(set, path, part);
  return read_idx_directory(set, directory, part);
}

/* An IDX file of images brings the labels beside it, when they are there. */
static bool
read_idx_pair(data_set *set, const char *path)
{
  char labels[4096];
  const char *place = strstr(path, "images");
  if (!data_read_idx(set, path, "samples"))
    return false;
  if (!place || strlen(path) >= sizeof labels - 8)
    return true;
  const char *rank = strstr(place, "idx3");
  size_t before = (size_t)(place - path);
  memcpy(labels, path, before);
  if (rank)
    snprintf(labels + before, sizeof labels - before, "labels%.*sidx1%s", (int)(rank - place - 6), place + 6,
             rank + 4);
  else
    snprintf(labels + before, sizeof labels - before, "labels%s", place + 6);
  return !exists(labels) || data_read_idx(set, labels, "labels");
}

/* Length of the token windows that the model reads: the extent after the batch of its first input. */
static int64_t
window_length(const actnn_model *model)
{
  const actnn_tensor *tensor = &model->tensor[model->input[0].tensor];
  int64_t length = 1;
  for (int axis = 1; axis < tensor->rank; axis++)
    length *= tensor->dim[axis];
  return length;
}

static bool
has_suffix(const char *path, const char *suffix)
{
  size_t length = strlen(path), tail = strlen(suffix);
  return length >= tail && !strcmp(path + length - tail, suffix);
}

/* A file is known by its first bytes; CIFAR-10's has none to know it by, so by its name. */
static bool
read_file(data_set *set, const char *path, const actnn_model *model)
{
  unsigned char head[6] = {0};
  ssize_t count = data_read_head(set, path, head, sizeof head);
  if (count < 0)
    return false;
  if (count == 6 && !memcmp(head, "\x93NUMPY", 6))
    return data_read_npy(set, path, "samples");
  if (count >= 4 && !memcmp(head, "PK\3\4", 4))
    return data_read_npz(set, path);
  if (count >= 4 && !head[0] && !head[1] && head[2] >= 8 && head[2] <= 14 && head[3] >= 1 && head[3] <= 8)
    return read_idx_pair(set, path);
  if (has_suffix(path, ".bin") || has_suffix(path, ".bin.gz"))
    return data_read_cifar(set, &path, 1);
  if (has_suffix(path, ".npy") || has_suffix(path, ".npz") || has_suffix(path, "-ubyte") ||
      has_suffix(path, "-ubyte.gz"))
    return data_fail(set, "%s: is not what its name says, or is truncated", path);
  return data_read_text(set, path, window_length(model));
}

/* The input that INPUT=FILE names, NULL when the text is no binding. */
static const char *
bound_input(const char *text, const actnn_model *model)
{
  for (uint32_t index = 0; index < model->input_count; index++) {
    const char *name = model->input[index].name;
    size_t length = name ? strlen(name) : 0;
    if (length && !strncmp(text, name, length) && text[length] == '=')
      return name;
  }
  return NULL;
}

static bool
read_one(data_set *set, const char *text, data_part part, const actnn_model *model)
{
  struct stat status;
  const char *input = bound_input(text, model);
  if (input) {
    const char *path = text + strlen(input) + 1;
    unsigned char head[4] = {0};
    ssize_t count = data_read_head(set, path, head, sizeof head);
    if (count < 0)
      return false;
    return count == 4 && !head[0] && !head[1] ? data_read_idx(set, path, input)
                                              : data_read_npy(set, path, input);
  }
  if (!strcmp(text, "fashion-mnist")) {
    if (!exists(FASHION_MNIST))
      return data_fail(set, "fashion-mnist: %s is missing; install Debian's package dataset-fashion-mnist",
                       FASHION_MNIST);
    return read_idx_directory(set, FASHION_MNIST, part);
  }
  if (!strcmp(text, "cifar10") && !exists(text)) {
    if (!exists(CIFAR10))
      return data_fail(
          set, "cifar10: there is no folder %s here; unpack CIFAR-10's binary archive, or name its folder",
          CIFAR10);
    return read_cifar_directory(set, CIFAR10, part);
  }
  if (stat(text, &status))
    return data_fail(set, "%s: %s (nor is it fashion-mnist, cifar10 or INPUT=FILE with an input of the model)",
                     text, strerror(errno));
  return S_ISDIR(status.st_mode) ? read_directory(set, text, part) : read_file(set, text, model);
}

/* Archives name their arrays as they like; the usual names become samples and labels. */
static void
rename_usual(data_set *set, data_part part)
{
  static const char *const usual[2][2][6] = {{{"x_train", "train_images", "x", "images", "data", "arr_0"},
                                              {"y_train", "train_labels", "y", "labels", "targets", "arr_1"}},
                                             {{"x_test", "test_images", "x", "images", "data", "arr_0"},
                                              {"y_test", "test_labels", "y", "labels", "targets", "arr_1"}}};
  for (int which = 0; which < 2; which++)
    for (int rank = 0; rank < 6; rank++)
      for (size_t index = 0; index < set->array_count; index++)
        if (!strcmp(set->array[index].name, usual[part][which][rank])) {
          char *name = strdup(which ? "labels" : "samples");
          if (name) {
            free(set->array[index].name);
            set->array[index].name = name;
          }
          rank = 6;
          break;
        }
}

bool
data_open(data_set *set, const char *const *specification, size_t count, data_part part,
          const actnn_model *model)
{
  set->array_count = 0;
  set->error[0] = 0;
  if (!model->input_count)
    return data_fail(set, "%s: the model has no inputs to feed", model->name);
  if (count > 1)
    for (size_t index = 0; index < count; index++)
      if (!bound_input(specification[index], model))
        return data_fail(set, "%s: several sets of data must be INPUT=FILE, with an input of the model each",
                         specification[index]);
  for (size_t index = 0; index < count; index++)
    if (!read_one(set, specification[index], part, model))
      return false;
  rename_usual(set, part);
  return true;
}

bool
data_has_test_part(const char *specification)
{
  char path[4096];
  return !strcmp(specification, "fashion-mnist") || !strcmp(specification, "cifar10") ||
         find_in(specification, "test_batch.bin", path, sizeof path) ||
         find_in(specification, "cifar-10-batches-bin/test_batch.bin", path, sizeof path) ||
         find_in(specification, "t10k-images-idx3-ubyte", path, sizeof path) ||
         find_in(specification, "t10k-images.idx3-ubyte", path, sizeof path);
}
