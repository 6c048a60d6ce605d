/* test_data_places.c: every way to name a set of data, sets that have no room left, and reads that fail. `access` and `read` are replaced
 * here, so that a set can be missing, and any read can fail or come short. */
#include "data_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* ---- faults ------------------------------------------------------------------------------------- */

static const char *hidden;   /* paths that begin with this do not exist */
static long reads_left = -1; /* before a read fails; -1: none does */
static size_t largest_read;  /* bytes that a read gives at most; 0: all */

int
access(const char *path, int mode)
{
  if (hidden && !strncmp(path, hidden, strlen(hidden))) {
    errno = ENOENT;
    return -1;
  }
  return (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
}

ssize_t
read(int descriptor, void *data, size_t count)
{
  if (reads_left >= 0 && reads_left-- == 0) {
    reads_left = -1;
    errno = EIO;
    return -1;
  }
  return syscall(SYS_read, descriptor, data, largest_read && count > largest_read ? largest_read : count);
}

static bool
read_npz(data_set *own, const char *path, const char *name)
{
  (void)name;
  return data_read_npz(own, path);
}

static bool
read_text(data_set *own, const char *path, const char *name)
{
  (void)name;
  return data_read_text(own, path, 3);
}

static bool
read_cifar(data_set *own, const char *path, const char *name)
{
  (void)name;
  return data_read_cifar(own, &path, 1);
}

/* More arrays than a set has room for, by each reader. */
static void
test_room(void)
{
  static zip_writer zip;
  unsigned char bytes[256], values[10] = {0};
  data_set own = {.array_count = 0};
  for (int index = 0; index < 65; index++) {
    char name[16];
    snprintf(name, sizeof name, "a%d.npy", index);
    zip_add(&zip, name, bytes, npy(bytes, "|u1", "(5, 2)", "False", values, 10), false);
  }
  zip_end(&zip);
  refuse(put("many.npz", zip.bytes, zip.length), "more than 64 arrays");
  put("few.idx", "\0\0\10\1\0\0\0\5abcde", 13);
  put("few.txt", "some text", 9);
  static unsigned char record[3073];
  put("few.bin", record, sizeof record);
  static const struct {
    bool (*reader)(data_set *, const char *, const char *);
    const char *file;
    size_t arrays;
  } tries[] = {{data_read_idx, "few.idx", 1}, {read_text, "few.txt", 2}, {read_cifar, "few.bin", 2}};
  for (size_t which = 0; which < sizeof tries / sizeof *tries; which++)
    for (size_t room = 0; room <= tries[which].arrays; room++) {
      while (own.array_count < DATA_MAX_ARRAYS - room)
        data_add(&own, "taken", "file");
      own.error[0] = 0;
      bool is_read = tries[which].reader(&own, path_of(tries[which].file), "samples");
      ok(is_read == (room == tries[which].arrays) && (is_read || strstr(own.error, "more than 64 arrays")),
         "%s with room for %zu arrays: %s", tries[which].file, room, own.error);
      data_close(&own);
    }
  size_t size;
  data_array array = {.type = ACTNN_F32, .rank = 2, .dim = {5, 3}};
  ok(data_sample_bytes(&array, &size) && size == 12, "a sample of three floats has 12 bytes");
  array.type = ACTNN_UNDEFINED;
  ok(!data_sample_bytes(&array, &size), "elements of no type have no size");
  array = (data_array){.type = ACTNN_F32, .rank = 2, .dim = {5, -3}};
  ok(!data_sample_bytes(&array, &size), "nor has a negative extent");
  array = (data_array){.type = ACTNN_F32, .rank = 2, .dim = {-5, 3}};
  ok(!data_sample_bytes(&array, &size), "nor a negative number of samples");
}

/* In a folder of its own below the test's. */
static void
make_folder_at(const char *name)
{
  if (mkdir(path_of(name), 0700))
    abort();
}

static void
test_names(void)
{
  unsigned char images[64];
  static unsigned char records[2 * 3073];
  size_t count = idx_images(images);
  SET_INPUT(ACTNN_F32, 4, 1, 2, 3);
  SET_LABEL(ACTNN_I64, 4);
  SET_OUTPUT(4, 3);
  make_folder_at("dots");
  refuse(path_of("dots"), "has no train-images-idx3-ubyte[.gz]");
  put("dots/train-images.idx3-ubyte", images, count);
  refuse(path_of("dots"), "has no train-labels-idx1-ubyte[.gz]");
  put("dots/train-labels.idx1-ubyte", idx_labels, sizeof idx_labels);
  ok(open_one(path_of("dots")), "a folder of IDX files with dots in their names %s", error);
  close_all();
  ok(!data_has_test_part(path_of("dots")), "which has no test part");
  put("dots/t10k-images.idx3-ubyte", images, count);
  ok(data_has_test_part(path_of("dots")), "but then has one");
  make_folder_at("dashes");
  put("dashes/t10k-images-idx3-ubyte", images, count);
  ok(data_has_test_part(path_of("dashes")), "with dashes, too");
  put("dots/train-labels.idx1-ubyte", idx_labels, 6);
  refuse(path_of("dots"), "truncated in its header");

  /* A file of images alone. */
  put("b-images-idx3-ubyte", images, count);
  refuse(path_of("b-images-idx3-ubyte"), "input 'y' of the model gets no data");
  put("b-labels-idx1-ubyte", "no labels", 9);
  refuse(path_of("b-images-idx3-ubyte"), "b-labels-idx1-ubyte: is not an IDX file");
  put("c-images-ubyte", images, count);
  put("c-labels-ubyte", idx_labels, sizeof idx_labels);
  ok(open_one(path_of("c-images-ubyte")), "a file of images without a rank in its name finds its labels %s", error);
  close_all();
  put("pictures", images, count);
  refuse(path_of("pictures"), "input 'y' of the model gets no data");
  char long_name[4092];
  size_t start = (size_t)snprintf(long_name, sizeof long_name, "%s/", folder);
  while (start < sizeof long_name - 16)
    start += (size_t)snprintf(long_name + start, sizeof long_name - start, "./");
  snprintf(long_name + start, sizeof long_name - start, "c-images-ubyte");
  refuse(long_name, "input 'y' of the model gets no data");
  static char longer[6000];
  memset(longer, 'a', sizeof longer - 1);
  ok(!data_has_test_part(longer), "a name longer than any path has no test part");

  /* CIFAR-10. */
  make_folder_at("cifar");
  put("cifar/test_batch.bin", records, sizeof records);
  refuse(path_of("cifar"), "has no data_batch_1.bin");
  ok(data_has_test_part(path_of("cifar")), "a folder with a test batch has a test part");
  make_folder_at("cifar/data_batch_1.bin");
  refuse(path_of("cifar"), "has no data_batch_2.bin");
  for (int index = 2; index < 6; index++) {
    char name[40];
    snprintf(name, sizeof name, "cifar/data_batch_%d.bin", index);
    put(name, records, sizeof records);
  }
  refuse(path_of("cifar"), "is not a regular file");
  rmdir(path_of("cifar/data_batch_1.bin"));
  put("cifar/data_batch_1.bin", records, sizeof records);
  SET_INPUT(ACTNN_F32, 4, 3, 32, 32);
  ok(open_one(path_of("cifar")) && set.array[0].dim[0] == 10, "five batches are one set %s", error);
  close_all();
  put_gzip("packed.bin.gz", records, sizeof records);
  ok(open_one(path_of("packed.bin.gz")) && set.array[0].dim[0] == 2, "a packed batch %s", error);
  close_all();
  refuse(put("empty.bin", "", 0), "has 0 bytes, not a whole number of CIFAR-10 records");
  if (chdir(folder))
    abort();
  hidden = "/usr/share/datasets";
  refuse("fashion-mnist", "install Debian's package dataset-fashion-mnist");
  hidden = NULL;
  ok(data_has_test_part("fashion-mnist") && data_has_test_part("cifar10"), "sets with a name have a test part");
  refuse("cifar10", "there is no folder cifar-10-batches-bin here");
  if (rename("cifar", "cifar-10-batches-bin"))
    abort();
  ok(open_one("cifar10") && set.array[0].dim[0] == 10, "cifar10 is the folder of that archive here %s", error);
  close_all();
  ok(open_one(".") && set.array[0].dim[0] == 10 && data_has_test_part("."), "so is the folder it lies in %s", error);
  close_all();
  make_folder_at("cifar10");
  refuse("cifar10", "cifar10: has no train-images");
  put("t", "text with a short name", 22);
  SET_INPUT(ACTNN_I64, 4, 3);
  SET_LABEL(ACTNN_I64, 4, 3);
  SET_OUTPUT(4, 256, 3);
  ok(open_one("t") && set.array[0].dim[0] == 7, "a text with a short name %s", error);
  close_all();

  /* Bytes that begin as IDX does, but for one. */
  static const unsigned char heads[][4] = {{0, 0, 7, 1}, {0, 0, 15, 1}, {0, 0, 8, 0}, {0, 0, 8, 9}, {0, 1, 8, 1}, {1, 0, 8, 1}};
  static const char *const misnamed[] = {"h.npy", "h.npz", "h-ubyte", "h-ubyte.gz"};
  for (size_t index = 0; index < sizeof heads / sizeof *heads; index++) {
    ok(open_one(put("head", heads[index], 4)) && set.array[0].dim[1] == 3, "bytes that are almost an IDX header are text %s", error);
    close_all();
    refuse(put(misnamed[index % 4], heads[index], 4), "is not what its name says");
  }
}

static void
test_bindings(void)
{
  static actnn_input nameless[] = {{0, NULL}, {1, "y"}};
  unsigned char bytes[256], values[10] = {0};
  SET_INPUT(ACTNN_F32, 4, 2);
  SET_LABEL(ACTNN_I64, 4);
  SET_OUTPUT(4, 3);
  char one[300];
  snprintf(one, sizeof one, "x=%s", put("v.npy", bytes, npy(bytes, "|u1", "(5, 2)", "False", values, 10)));
  refuse(path_of("v.npy"), "input 'y' of the model gets no data");
  const char *several[] = {one, "xy=v.npy"}, *missing[] = {one, "y=absent.npy"};
  ok(!open_all(several, 2) && strstr(error, "must be INPUT=FILE"), "an input that there is not: %s", error);
  close_all();
  ok(!open_all(missing, 2) && strstr(error, "absent.npy: No such file"), "a file that there is not: %s", error);
  close_all();
  model.input = nameless;
  ok(!open_one(one) && strstr(error, "No such file"), "an input without a name cannot be named: %s", error);
  close_all();
  nameless[0].name = "";
  ok(!open_one("=v.npy") && strstr(error, "No such file"), "nor one whose name is empty: %s", error);
  close_all();
  model.input = inputs;
  model.input_count = 0;
  ok(!open_one(one) && strstr(error, "has no inputs to feed"), "a model without inputs needs no data: %s", error);
  close_all();
  model.input_count = 2;
}

/* A text of 200000 bytes that packs badly, so that a packed one is read in several pieces. */
static const unsigned char *
long_text(void)
{
  static unsigned char text[200000];
  uint64_t state = 1;
  for (size_t index = 0; index < sizeof text; index++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    text[index] = (unsigned char)(state >> 56);
  }
  return text;
}

/* A packed file of two blocks of bytes as they are, which ends exactly where a buffer of the reader does. */
static size_t
store_gzip(unsigned char *out, const unsigned char *text)
{
  enum { BUFFER = 1 << 17, STORED = BUFFER - 10 - 2 * 5 - 8, FIRST = 65535 };
  static const unsigned char head[10] = {0x1f, 0x8b, 8};
  size_t place = sizeof head;
  memcpy(out, head, sizeof head);
  for (size_t done = 0; done < STORED;) {
    size_t count = done ? STORED - FIRST : FIRST;
    out[place++] = done > 0;
    put_word(out + place, (uint32_t)count, 2);
    put_word(out + place + 2, ~(uint32_t)count, 2);
    memcpy(out + place + 4, text + done, count);
    place += 4 + count;
    done += count;
  }
  put_word(out + place, (uint32_t)crc32(0, text, STORED), 4);
  put_word(out + place + 4, STORED, 4);
  return place + 8;
}

static void
test_streams(void)
{
  enum { COUNT = 200000, WINDOW = 100 };
  const unsigned char *text = long_text();
  static unsigned char twice[2][400000];
  SET_INPUT(ACTNN_I64, 4, WINDOW);
  SET_LABEL(ACTNN_I64, 4, WINDOW);
  SET_OUTPUT(4, 256, WINDOW);
  put("long.txt", text, COUNT);
  put_gzip("long.txt.gz", text, COUNT);
  static const char *const names[] = {"long.txt", "long.txt.gz"};
  for (size_t which = 0; which < 2; which++) {
    int refused = 0, tried = 0;
    for (long number = 0;; number++, tried++) {
      reads_left = number;
      bool is_open = open_one(path_of(names[which]));
      bool was_reached = reads_left == -1;
      reads_left = -1;
      refused += !is_open && strstr(error, "cannot be read: Input/output error") != NULL;
      close_all();
      if (!was_reached)
        break;
    }
    ok(tried > 3 && refused == tried, "%s: each of %d reads that fail is told (%d)", names[which], tried, refused);
  }
  /* Members one behind another are one text; what else follows is none of it. Short reads change nothing. */
  FILE *file = fopen(path_of("long.txt.gz"), "rb");
  size_t length = file ? fread(twice[0], 1, sizeof twice[0], file) : 0;
  if (file)
    fclose(file);
  memcpy(twice[1], twice[0], length);
  static const size_t pieces[] = {0, 1000, 1};
  for (size_t which = 0; which < sizeof pieces / sizeof *pieces; which++) {
    file = fopen(path_of("twice.txt.gz"), "wb");
    if (!file || fwrite(twice[0], 1, length, file) != length || fwrite(twice[1], 1, length, file) != length || fputs("more", file) < 0 ||
        fclose(file))
      abort();
    largest_read = pieces[which];
    bool is_open = open_one(path_of("twice.txt.gz"));
    largest_read = 0;
    ok(is_open && source.samples == (2 * COUNT - 1) / WINDOW && !memcmp(set.array[0].data + COUNT, text, COUNT),
       "two members are one text, in reads of %zu bytes at most %s", pieces[which], error);
    close_all();
  }
  size_t whole = store_gzip(twice[0], text);
  memcpy(twice[0] + whole, twice[1], length);
  bool is_open = open_one(put("stored.txt.gz", twice[0], whole + length));
  ok(whole == 1 << 17 && is_open && source.samples == (whole - 28 + COUNT - 1) / WINDOW && !memcmp(set.array[0].data + whole - 28, text, COUNT),
     "a member may begin where a buffer does %s", error);
  close_all();
  reads_left = 1;
  refuse(path_of("stored.txt.gz"), "cannot be read: Input/output error");
  reads_left = -1;
  twice[1][length / 2] ^= 0x55;
  put("damaged.txt.gz", twice[1], length);
  refuse(path_of("damaged.txt.gz"), "its compressed data is damaged");
  put("damaged.npz.gz", twice[1], length);
  refuse_read(read_npz, path_of("damaged.npz.gz"), "its compressed data is damaged");
  refuse_read(read_text, path_of("damaged.txt.gz"), "its compressed data is damaged");
  refuse_read(read_text, path_of("missing"), "No such file");
  refuse_read(read_cifar, path_of("missing"), "No such file");
  refuse_read(data_read_idx, put("damaged.idx.gz", "\x1f\x8b\x08no gzip", 10), "its compressed data is damaged");
  refuse_read(data_read_idx, put("damaged.idx.gz", "\x1f\x8b\10\0\0\0\0\0\0\0\0\10\0\xf7\xff\0\0\10\1", 19), "is truncated");
  SET_INPUT(ACTNN_I64, 4, 3);
  SET_LABEL(ACTNN_I64, 4, 3);
  SET_OUTPUT(4, 256, 3);
  ok(open_one(put("almost.gz", "\x1f\x8c plain", 8)), "a first byte like gzip's does not make a packed file %s", error);
  close_all();
  refuse(put("few.txt", "a", 1), "has 1 bytes, too few for one window of 3 tokens");
  refuse(put("few.txt", "", 0), "has 0 bytes, too few for one window of 3 tokens");
  SET_INPUT(ACTNN_I64, 4, 0);
  refuse(put("few.txt", "abc", 3), "too few for one window of 0 tokens");
}

int
main(void)
{
  make_folder();
  test_room();
  test_bindings();
  test_streams();
  test_names();
  remove_folder();
  return tap_done();
}
