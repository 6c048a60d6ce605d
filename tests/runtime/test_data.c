/* test_data.c: every format of data, as its writers write it and as an enemy might. Files are made here, byte
 * by byte, in a folder of their own (data_files.h). */
#include "data_files.h"
#include "sanitized.h"

#include <sys/resource.h>
#include <sys/stat.h>

/* ---- points ------------------------------------------------------------------------------------- */

static void
test_idx(void)
{
  unsigned char images[64];
  size_t count = idx_images(images);
  SET_INPUT(ACTNN_F32, 4, 1, 2, 3);
  SET_LABEL(ACTNN_I64, 4);
  SET_OUTPUT(4, 3);
  put("train-images-idx3-ubyte", images, count);
  put_gzip("train-labels-idx1-ubyte.gz", idx_labels, sizeof idx_labels);
  put("a-images-idx3-ubyte", images, count);
  put("a-labels-idx1-ubyte", idx_labels, sizeof idx_labels);
  if (ok(open_one(folder), "a folder of IDX files, one of them packed %s", error)) {
    double mean = 0, square = 0;
    for (int index = 0; index < 30; index++) {
      double value = index / 6 * 10 + index % 6;
      mean += value / 30;
      square += value * value / 30;
    }
    uint64_t real = batch_fill_in_order(&source, &trainer, 0);
    double wanted = (10 * 2 + 4 - mean) / sqrt(square - mean * mean);
    ok(real == 4 && fabs((double)x[2 * 6 + 4] - wanted) < 1e-5, "pixels are standardized: %g (%g)",
       (double)x[16], wanted);
    ok(y[0] == 0 && y[1] == 1 && y[2] == 2 && y[3] == 0, "labels are in place");
    real = batch_fill_in_order(&source, &trainer, 4);
    ok(real == 1 && y[0] == 1 && y[1] == 0 && x[6] < x[0], "the last batch has one real sample, then sample 0");
  }
  close_all();
  ok(open_one(path_of("a-images-idx3-ubyte")), "a file of images finds its labels %s", error);
  close_all();
  SET_INPUT(ACTNN_F32, 4, 6);
  ok(open_one(folder), "images fit a flat input %s", error);
  close_all();
  SET_INPUT(ACTNN_F32, 4, 3, 4, 6);
  if (ok(open_one(folder), "images fit three channels of twice the size %s", error)) {
    batch_fill_in_order(&source, &trainer, 0);
    ok(x[0] == x[1] && x[0] == x[6] && x[0] == x[24] && x[2] > x[0], "by repeating pixels and channels");
  }
  close_all();
  SET_INPUT(ACTNN_F32, 4, 7);
  refuse(folder, "shape [5,2,3] does not fit input 'x' of shape [4,7]");
  SET_INPUT(ACTNN_F32, 4, 1, 2, 3);
  SET_OUTPUT(4, 2);
  refuse(folder, "label 2 of sample 2 is out of range 0..1");
  SET_OUTPUT(4, 3);
  put("a-images-idx3-ubyte", images, count - 1);
  refuse(path_of("a-images-idx3-ubyte"), "truncated: 29 bytes of data instead of 30");
  put("a-images-idx3-ubyte", images, 10);
  refuse(path_of("a-images-idx3-ubyte"), "truncated in its header");
  memset(images + 4, 0xff, 12);
  put("a-images-idx3-ubyte", images, count);
  refuse(path_of("a-images-idx3-ubyte"), "more elements than memory");
  memcpy(images + 4, "\0\0\xff\xff\0\0\xff\xff\0\0\0\x10", 12);
  put("a-images-idx3-ubyte", images, count);
  refuse(path_of("a-images-idx3-ubyte"), "truncated: 30 bytes of data instead of 68717379600");
  refuse(path_of("missing"), "No such file");
}

static void
test_gzip(void)
{
  unsigned char images[64], packed[256];
  size_t count = idx_images(images);
  put_gzip("b-images-idx3-ubyte.gz", images, count);
  FILE *file = fopen(path_of("b-images-idx3-ubyte.gz"), "rb");
  size_t length = file ? fread(packed, 1, sizeof packed, file) : 0;
  if (file)
    fclose(file);
  put("b-images-idx3-ubyte.gz", packed, length - 12);
  refuse(path_of("b-images-idx3-ubyte.gz"), "truncated");
  packed[length / 2] ^= 0x55;
  put("b-images-idx3-ubyte.gz", packed, length);
  bool is_open = open_one(path_of("b-images-idx3-ubyte.gz"));
  ok(!is_open, "a damaged packed file is refused: %s", error);
  close_all();
}

static void
test_npy(void)
{
  unsigned char bytes[1024];
  float values[5 * 3];
  int32_t labels[5] = {2, 1, 0, 2, 1};
  for (int index = 0; index < 15; index++)
    values[index] = (float)index * 0.5f;
  SET_INPUT(ACTNN_F32, 4, 3);
  SET_LABEL(ACTNN_I64, 4);
  SET_OUTPUT(4, 3);
  char one[300], two[300];
  put("v.npy", bytes, npy(bytes, "<f4", "(5, 3)", "False", values, sizeof values));
  put("l.npy", bytes, npy(bytes, "<i4", "(5,)", "False", labels, sizeof labels));
  snprintf(one, sizeof one, "x=%s", path_of("v.npy"));
  snprintf(two, sizeof two, "y=%s", path_of("l.npy"));
  const char *both[] = {one, two};
  if (ok(open_all(both, 2), "INPUT=FILE.npy for each input %s", error)) {
    batch_fill_in_order(&source, &trainer, 1);
    ok(x[0] == 1.5f && x[11] == 7.0f && y[0] == 1 && y[3] == 1, "floats stay as they are, integers widen");
  }
  close_all();
  ok(!open_all(both, 1) && strstr(error, "input 'y' of the model gets no data"),
     "a missing binding is named: %s", error);
  close_all();
  data_swap_bytes((unsigned char *)values, 15, 4);
  put("v.npy", bytes, npy(bytes, ">f4", "(5, 3)", "False", values, sizeof values));
  if (ok(open_all(both, 2), "big-endian elements %s", error)) {
    batch_fill_in_order(&source, &trainer, 1);
    ok(x[0] == 1.5f, "are turned");
  }
  close_all();
  const uint16_t halves[] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x3555, 0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  put("v.npy", bytes, npy(bytes, "<f2", "(5, 3)", "False", halves, sizeof halves));
  if (ok(open_all(both, 2), "half precision %s", error)) {
    batch_fill_in_order(&source, &trainer, 0);
    ok(x[0] == 1 && x[1] == -2 && x[2] == 0x1p-24f && x[3] == 65504 && x[4] == 0.333251953125f && signbit(x[5]),
       "exactly");
  }
  close_all();
  static const struct {
    const char *type, *shape, *order, *message;
  } bad[] = {{"<f4", "(5, 3)", "True", "Fortran"},
             {"<f4", "(99999999999999999999, 3)", "False", "shape is not understood"},
             {"<f4", "(4611686018427387904, 4)", "False", "more elements than memory"},
             {"<f4", "(500, 3)", "False", "truncated"},
             {"<f4", "()", "False", "shape is not understood"},
             {"<f4", "(1,1,1,1,1,1,1,1,1)", "False", "shape is not understood"},
             {"|O", "(5, 3)", "False", "neither integers nor floats"},
             {"<c8", "(5, 3)", "False", "neither integers nor floats"},
             {"<U4", "(5, 3)", "False", "neither integers nor floats"},
             {"<f4", "(5, -3)", "False", "shape is not understood"},
             {"<f4", "(4, 3)", "False", "has 5 samples, but"},
             {"<f4", "(0, 3)", "False", "has 5 samples, but"}};
  for (size_t index = 0; index < sizeof bad / sizeof *bad; index++) {
    put("v.npy", bytes, npy(bytes, bad[index].type, bad[index].shape, bad[index].order, values, sizeof values));
    bool is_open = open_all(both, 2);
    ok(!is_open && strstr(error, bad[index].message), "%s %s: %s", bad[index].type, bad[index].shape, error);
    close_all();
  }
}

static void
test_npz(void)
{
  unsigned char bytes[2048], pixels[5 * 4 * 4 * 3];
  int64_t labels[5] = {1, 0, 1, 0, 1};
  static zip_writer zip;
  for (size_t index = 0; index < sizeof pixels; index++)
    pixels[index] = (unsigned char)(index % 3 * 50 + index / 48); /* channels last: 0, 50, 100 and the sample */
  zip_add(&zip, "x_train.npy", bytes, npy(bytes, "|u1", "(5, 4, 4, 3)", "False", pixels, sizeof pixels), true);
  zip_add(&zip, "y_train.npy", bytes, npy(bytes, "<i8", "(5,)", "False", labels, sizeof labels), false);
  zip_end(&zip);
  SET_INPUT(ACTNN_F32, 4, 3, 5, 5);
  SET_LABEL(ACTNN_I64, 4);
  SET_OUTPUT(4, 2);
  if (ok(open_one(put("set.npz", zip.bytes, zip.length)), "an archive, one member deflated %s", error)) {
    batch_fill_in_order(&source, &trainer, 0);
    ok(y[0] == 1 && y[1] == 0, "labels by their usual name");
    ok(fabsf(x[0] - x[25]) < 1e-5f && x[75] > x[0],
       "channels last become channels first, each standardized by itself");
  }
  close_all();
  for (size_t length = 0; length < zip.length; length += 1 + length / 7) {
    put("cut.npz", zip.bytes, length);
    bool is_open = open_one(path_of("cut.npz"));
    if (is_open)
      ok(false, "an archive cut to %zu bytes must be refused", length);
    close_all();
  }
  ok(true, "archives cut anywhere are refused");
  int accepted = 0;
  for (size_t place = 0; place < zip.length;
       place++) { /* any single damaged byte: no crash, and never wrong pixels */
    unsigned char kept = zip.bytes[place];
    zip.bytes[place] ^= 0xff;
    put("cut.npz", zip.bytes, zip.length);
    accepted += open_one(path_of("cut.npz"));
    close_all();
    zip.bytes[place] = kept;
  }
  ok(accepted < (int)zip.length / 2, "a damaged byte does no harm (%d of %zu places do not matter)", accepted,
     zip.length);
}

static void
test_cifar_and_text(void)
{
  static unsigned char records[5 * 3073];
  for (size_t index = 0; index < sizeof records; index++)
    records[index] = (unsigned char)(index % 3073 ? index % 251 : index / 3073);
  SET_INPUT(ACTNN_F32, 4, 3, 32, 32);
  SET_LABEL(ACTNN_I64, 4);
  SET_OUTPUT(4, 10);
  if (ok(open_one(put("batch.bin", records, sizeof records)), "a CIFAR-10 batch %s", error)) {
    batch_fill_in_order(&source, &trainer, 0);
    ok(y[0] == 0 && y[3] == 3, "with its labels");
  }
  close_all();
  put("batch.bin", records, sizeof records - 1);
  refuse(path_of("batch.bin"), "not a whole number of CIFAR-10 records");
  SET_INPUT(ACTNN_I64, 4, 8);
  SET_LABEL(ACTNN_I64, 4, 8);
  SET_OUTPUT(4, 8, 256);
  const char *text = "The quick brown fox jumps over the lazy dog, and again.";
  const int64_t *tokens = (const int64_t *)(const void *)arena;
  if (ok(open_one(put("text.txt", text, strlen(text))), "a text %s", error)) {
    batch_fill_in_order(&source, &trainer, 0);
    ok(source.samples == 6 && tokens[0] == 'T' && tokens[8] == text[8] && y[0] == 'h' && y[7] == text[8] &&
           y[31] == text[32],
       "in windows of bytes, labels one byte on");
  }
  close_all();
  SET_OUTPUT(4, 256, 8);
  ok(open_one(path_of("text.txt")), "with classes on axis 1 %s", error);
  close_all();
  SET_OUTPUT(4, 8, 100);
  refuse(path_of("text.txt"), "is out of range 0..99");
  put("text.txt", text, 8);
  refuse(path_of("text.txt"), "too few for one window of 8 tokens");
  mkfifo(path_of("pipe"), 0600);
  refuse(path_of("pipe"), "is not a regular file");
  refuse("/dev/zero", "is not a regular file");
}

static void
test_order(void)
{
  unsigned char bytes[4096], values[103];
  int seen[103] = {0}, moved = 0, same_again = 0;
  int64_t first[100];
  for (int index = 0; index < 103; index++)
    values[index] = (unsigned char)index;
  SET_INPUT(ACTNN_I64, 4, 1);
  SET_LABEL(ACTNN_I64, 4);
  SET_OUTPUT(4, 103);
  char one[300], two[300];
  put("o.npy", bytes, npy(bytes, "|u1", "(103, 1)", "False", values, 103));
  put("p.npy", bytes, npy(bytes, "|u1", "(103,)", "False", values, 103));
  snprintf(one, sizeof one, "x=%s", path_of("o.npy"));
  snprintf(two, sizeof two, "y=%s", path_of("p.npy"));
  const char *both[] = {one, two};
  if (!ok(open_all(both, 2), "numbered samples %s", error))
    return;
  source.seed = 5;
  ok(batch_count(&source) == 25, "the last partial batch is dropped");
  for (uint64_t step = 0; step < 25; step++) {
    batch_fill(&source, &trainer, step);
    for (int place = 0; place < 4; place++) {
      first[step * 4 + (uint64_t)place] = y[place];
      seen[y[place]]++;
      moved += y[place] != (int64_t)step * 4 + place;
    }
  }
  int most = 0;
  for (int index = 0; index < 103; index++)
    most = seen[index] > most ? seen[index] : most;
  ok(most == 1 && moved > 80, "an epoch sees each sample at most once, shuffled (%d of 100 moved)", moved);
  for (uint64_t step = 25; step < 50; step++) {
    batch_fill(&source, &trainer, step);
    for (int place = 0; place < 4; place++)
      same_again += y[place] == first[(step - 25) * 4 + (uint64_t)place];
  }
  ok(same_again < 10, "the next epoch has another order");
  batch_fill(&source, &trainer, 17);
  ok(!memcmp(y, first + 68, 32), "going back to a step gives its batch again");
  source.shuffle = false;
  source.has_order = false;
  batch_fill(&source, &trainer, 30);
  ok(y[0] == 20 && y[3] == 23, "without shuffling samples come as stored");
  close_all();
}

static void
test_augmentation(void)
{
  unsigned char images[64];
  size_t count = idx_images(images);
  bool has_flip = false, has_straight = false, is_right = true, has_border = false;
  SET_INPUT(ACTNN_F32, 4, 1, 2, 3);
  SET_LABEL(ACTNN_I64, 4);
  SET_OUTPUT(4, 3);
  put("a-images-idx3-ubyte", images, count);
  if (!ok(open_one(path_of("a-images-idx3-ubyte")), "images %s", error))
    return;
  source.augmentation.flip = true;
  for (uint64_t step = 0; step < 20; step++) {
    batch_fill(&source, &trainer, step);
    for (int place = 0; place < 4; place++) {
      const float *image = x + 6 * place;
      bool is_flipped = image[0] > image[2];
      has_flip |= is_flipped;
      has_straight |= !is_flipped;
      is_right &=
          is_flipped ? image[0] > image[1] && image[3] > image[5] : image[0] < image[1] && image[3] < image[5];
    }
  }
  ok(has_flip && has_straight && is_right, "flip mirrors some images, whole rows at a time");
  source.augmentation = (augmentation){.crop = 1};
  for (uint64_t step = 0; step < 20; step++) {
    batch_fill(&source, &trainer, step);
    for (int place = 0; place < 4; place++)
      has_border |= x[6 * place] == x[6 * place + 1] && x[6 * place + 1] == x[6 * place + 2] &&
                    x[6 * place + 3] < x[6 * place + 4];
  }
  ok(has_border, "crop moves a border of zeros in");
  float kept[24];
  batch_fill(&source, &trainer, 7);
  memcpy(kept, x, sizeof kept);
  batch_fill(&source, &trainer, 8);
  bool differs = memcmp(kept, x, sizeof kept) != 0;
  trainer.threads = 3;
  batch_fill(&source, &trainer, 7);
  trainer.threads = 1;
  ok(differs && !memcmp(kept, x, sizeof kept), "the same step gives the same images, with other threads too");
  close_all();
}

int
main(void)
{
  struct rlimit limit = {1u << 30, 1u << 30}; /* a file that claims much must not make the readers reserve it */
  make_folder();
  if (!IS_SANITIZED)
    setrlimit(RLIMIT_AS, &limit);
  test_idx();
  test_gzip();
  test_npy();
  test_npz();
  test_cifar_and_text();
  test_order();
  test_augmentation();
  remove_folder();
  return tap_done();
}
