/* test_data_formats.c: what a file of data may hold besides the usual (test_data.c): every type of element, headers that are wrong in one
 * place, archives that lie. */
#include "data_files.h"

static bool
read_npz(data_set *own, const char *path, const char *name)
{
  (void)name;
  return data_read_npz(own, path);
}

/* INPUT=FILE for both inputs; x is what changes, y are five labels. */
static bool
open_x(const char *path)
{
  char one[300], two[300];
  unsigned char bytes[256];
  static const unsigned char labels[5] = {0, 1, 2, 0, 1};
  put("labels.npy", bytes, npy(bytes, "|u1", "(5,)", "False", labels, 5));
  snprintf(one, sizeof one, "x=%s", path);
  snprintf(two, sizeof two, "y=%s", path_of("labels.npy"));
  return open_all((const char *[]){one, two}, 2);
}

static void
refuse_x(const char *what, const char *path, const char *message)
{
  bool is_open = open_x(path);
  ok(!is_open && strstr(error, message), "%s: refused with '%s': %s", what, message, error);
  close_all();
}

static void
test_idx_types(void)
{
  static const struct {
    unsigned char code, bytes[8];
    int type;
    size_t size;
    float value;
  } kind[] = {{0x08, {200}, ACTNN_U8, 1, 200},
              {0x09, {0x80}, ACTNN_I8, 1, -128},
              {0x0b, {0xff, 0x7f}, ACTNN_I16, 2, -129},
              {0x0c, {0xff, 0xfe, 0, 0}, ACTNN_I32, 4, -131072},
              {0x0d, {0x3f, 0xc0, 0, 0}, ACTNN_F32, 4, 1.5f},
              {0x0e, {0xc0, 4, 0, 0, 0, 0, 0, 0}, ACTNN_F64, 8, -2.5f}};
  SET_INPUT(ACTNN_F32, 4, 2);
  SET_LABEL(ACTNN_I64, 4);
  SET_OUTPUT(4, 3);
  for (size_t index = 0; index < sizeof kind / sizeof *kind; index++) {
    unsigned char bytes[128] = {0, 0, kind[index].code, 2, 0, 0, 0, 5, 0, 0, 0, 2};
    for (int element = 0; element < 10; element++)
      memcpy(bytes + 12 + (size_t)element * kind[index].size, kind[index].bytes, kind[index].size);
    bool is_open = open_x(put("values.idx", bytes, 12 + 10 * kind[index].size));
    if (is_open)
      batch_fill_in_order(&source, &trainer, 1);
    ok(is_open && set.array[0].type == kind[index].type && x[0] == kind[index].value && x[7] == kind[index].value,
       "IDX type 0x%02x: %g %s", kind[index].code, (double)x[7], error);
    close_all();
  }
  static const unsigned char empty[] = {0, 0, 0x0d, 2, 0, 0, 0, 0, 0, 0, 0, 2};
  refuse_x("no samples", put("values.idx", empty, sizeof empty), "samples");
  static const struct {
    const char *what;
    unsigned char bytes[4];
    size_t count;
    const char *message;
  } bad[] = {{"a type that there is not", {0, 0, 0x0a, 1}, 4, "IDX type 0x0a"},
             {"no axis", {0, 0, 8, 0}, 4, "with 0 axes is not supported"},
             {"nine axes", {0, 0, 8, 9}, 4, "with 9 axes is not supported"},
             {"a header cut short", {0, 0, 8}, 3, "is not a .npy file"},
             {"another first byte", {1, 0, 8, 1}, 4, "is not a .npy file"},
             {"another second byte", {0, 1, 8, 1}, 4, "is not a .npy file"}};
  for (size_t index = 0; index < sizeof bad / sizeof *bad; index++)
    refuse_x(bad[index].what, put("values.idx", bad[index].bytes, bad[index].count), bad[index].message);
  refuse_read(data_read_idx, put("values.idx", "\1\0\10\1", 4), "is not an IDX file");
  refuse_read(data_read_idx, put("values.idx", "\0\1\10\1", 4), "is not an IDX file");
  refuse_read(data_read_idx, put("values.idx", "\0\0\10", 3), "is not an IDX file");
  refuse_read(data_read_idx, path_of("missing"), "No such file");
}

/* A somewhat larger input has a border of zero pixels. */
static void
test_border(void)
{
  unsigned char bytes[16 + 5 * 64] = {0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 8};
  memset(bytes + 16, 9, 2 * 64);
  SET_INPUT(ACTNN_F32, 4, 1, 10, 10);
  if (ok(open_x(put("values.idx", bytes, sizeof bytes)), "8 x 8 pixels for 10 x 10 %s", error)) {
    batch_fill_in_order(&source, &trainer, 0);
    bool is_right = true;
    for (int row = 0; row < 10; row++)
      for (int column = 0; column < 10; column++)
        is_right &= (x[row * 10 + column] > 0) == (row > 0 && row < 9 && column > 0 && column < 9);
    ok(is_right, "lie in its middle");
  }
  close_all();
}

/* NumPy's types, each to a type of the model. */
static void
test_element_types(void)
{
  static const struct {
    const char *type;
    unsigned char bytes[8];
    size_t size;
    double value;
  } kind[] = {{"|i1", {0xfe}, 1, -2},
              {"|u1", {0xfe}, 1, 254},
              {"|b1", {1}, 1, 1},
              {"<u2", {1, 0xff}, 2, 65281},
              {"<i2", {1, 0xff}, 2, -255},
              {"<u4", {0, 0, 0, 0xff}, 4, 4278190080.0},
              {"<i4", {0, 0, 0, 0xff}, 4, -16777216},
              {"=i4", {3, 0, 0, 0}, 4, 3},
              {"<u8", {0, 0, 0, 0, 0, 0, 0, 0x80}, 8, 0x1p63},
              {"<i8", {0, 0, 0, 0, 0, 0, 0, 0xc0}, 8, -0x1p62},
              {"<f2", {0, 0x7c}, 2, HUGE_VAL},
              {"<f2", {0, 0xfc}, 2, -HUGE_VAL},
              {"<f4", {0, 0, 0xc0, 0x3f}, 4, 1.5},
              {"<f8", {0, 0, 0, 0, 0, 0, 4, 0xc0}, 8, -2.5}};
  unsigned char bytes[512], data[80];
  const double *doubles = (const double *)(const void *)arena;
  for (size_t index = 0; index < sizeof kind / sizeof *kind; index++) {
    for (int element = 0; element < 10; element++)
      memcpy(data + (size_t)element * kind[index].size, kind[index].bytes, kind[index].size);
    put("values.npy", bytes, npy(bytes, kind[index].type, "(5, 2)", "False", data, 10 * kind[index].size));
    for (int is_double = 0; is_double < 2; is_double++) {
      SET_INPUT(is_double ? ACTNN_F64 : ACTNN_F32, 4, 2);
      bool is_open = open_x(path_of("values.npy"));
      if (is_open)
        batch_fill_in_order(&source, &trainer, 1);
      double first = is_double ? doubles[0] : (double)x[0], last = is_double ? doubles[7] : (double)x[7];
      ok(is_open && first == kind[index].value && last == kind[index].value, "'%s' as a %s: %g %s", kind[index].type,
         is_double ? "double" : "float", last, error);
      close_all();
    }
  }
  static const int64_t numbers[10] = {0, 7, -1, 0, 0, 256, 0, 0, 0, -3};
  put("values.npy", bytes, npy(bytes, "<i8", "(5, 2)", "False", numbers, sizeof numbers));
  SET_INPUT(ACTNN_I32, 4, 2);
  if (ok(open_x(path_of("values.npy")), "integers of 64 bits to 32 %s", error)) {
    const int32_t *out = (const int32_t *)(const void *)arena;
    batch_fill_in_order(&source, &trainer, 1);
    ok(out[0] == -1 && out[1] == 0 && out[3] == 256 && out[7] == -3, "keep their values");
  }
  close_all();
  SET_INPUT(ACTNN_BOOL, 4, 2);
  if (ok(open_x(path_of("values.npy")), "integers to truths %s", error)) {
    batch_fill_in_order(&source, &trainer, 1);
    ok(arena[0] == 1 && arena[1] == 0 && arena[3] == 1 && arena[7] == 1, "are true unless zero, also where the low byte is zero");
  }
  close_all();
  SET_INPUT(ACTNN_I8, 4, 2);
  refuse_x("an input of another type", path_of("values.npy"), "cannot be converted to its type");
  SET_INPUT(ACTNN_I64, 4, 2);
  put("values.npy", bytes, npy(bytes, "<f8", "(5, 2)", "False", numbers, sizeof numbers));
  refuse_x("floats for integers", path_of("values.npy"), "holds floats, but input 'x' takes integers");
}

static void
test_npy_headers(void)
{
  static const struct {
    const char *header, *message;
  } bad[] = {{"{'fortran_order': False, 'shape': (5, 2)}", "header is not understood"},
             {"{'descr' '<f4', 'fortran_order': False, 'shape': (5, 2)}", "header is not understood"},
             {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (5, 2)}", "header is not understood"},
             {"{'descr': '<f4', 'shape': (5, 2)}", "header is not understood"},
             {"{'descr': '<f4', 'fortran_order': False}", "header is not understood"},
             {"{'descr': '!f4', 'fortran_order': False, 'shape': (5, 2)}", "header is not understood"},
             {"'fortran_order': False, 'shape': (5, 2), 'descr': '", "header is not understood"},
             {"'fortran_order': False, 'shape': (5, 2), 'descr': '<", "header is not understood"},
             {"{'descr': '<f9', 'fortran_order': False, 'shape': (5, 2)}", "neither integers nor floats"},
             {"{'descr': '<f44', 'fortran_order': False, 'shape': (5, 2)}", "neither integers nor floats"},
             {"{'descr': '<f4', 'fortran_order': False, 'shape': 5, 2}", "shape is not understood"},
             {"{'descr': '<f4', 'fortran_order': False, 'shape': (5, x)}", "shape is not understood"},
             {"{'descr': '<f4', 'fortran_order': False, 'shape': (5; 2)}", "shape is not understood"},
             {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808, 2)}", "shape is not understood"},
             {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4611686018427387904, 4)}", "more elements than memory"},
             {"{'descr': '<f4', 'fortran_order': False, 'shape': (576460752303423488, 4)}", "more elements than memory"},
             {"{'descr': '>f4', 'fortran_order': False, 'shape': (0, 2)}", "samples"},
             {"{'descr': '<f4', 'fortran_order': False, 'shape': (", "shape is not understood"}};
  unsigned char bytes[512] = "\x93NUMPY\1";
  SET_INPUT(ACTNN_F32, 4, 2);
  for (size_t index = 0; index < sizeof bad / sizeof *bad; index++) {
    size_t length = strlen(bad[index].header);
    put_word(bytes + 8, (uint32_t)length, 2);
    memcpy(bytes + 10, bad[index].header, length);
    memset(bytes + 10 + length, 0, 40);
    refuse_x(bad[index].header, put("header.npy", bytes, 10 + length + 40), bad[index].message);
  }
  const char *spaced = "{ 'descr'  : '<f4', 'shape'  :  ( 5 , 2 ), 'fortran_order' : False}";
  float values[10] = {0, 0, 3.5f};
  put_word(bytes + 8, (uint32_t)strlen(spaced), 2);
  memcpy(bytes + 10, spaced, strlen(spaced));
  memcpy(bytes + 10 + strlen(spaced), values, sizeof values);
  if (ok(open_x(put("header.npy", bytes, 10 + strlen(spaced) + sizeof values)), "a header with spaces %s", error)) {
    batch_fill_in_order(&source, &trainer, 1);
    ok(x[0] == 3.5f, "is read as one without");
  }
  close_all();
  refuse_x("a header cut short", put("header.npy", bytes, 40), "is truncated in its header");
  refuse_x("a few bytes", put("header.npy", bytes, 11), "is not a .npy file");
  refuse_read(data_read_npy, path_of("missing"), "No such file");
  bytes[0] = 'x';
  refuse_x("other first bytes", put("header.npy", bytes, 128), "is not a .npy file");
  memcpy(bytes, "\x93NUMPY\2", 7);
  put_word(bytes + 8, (uint32_t)strlen(spaced), 4);
  memcpy(bytes + 12, spaced, strlen(spaced));
  memcpy(bytes + 12 + strlen(spaced), values, sizeof values);
  if (ok(open_x(put("header.npy", bytes, 12 + strlen(spaced) + sizeof values)), "version 2, whose length has four bytes %s", error)) {
    batch_fill_in_order(&source, &trainer, 1);
    ok(x[0] == 3.5f, "has its data behind them");
  }
  close_all();
  put_word(bytes + 8, 0x10000, 4);
  refuse_x("a length of which the upper bytes matter", put("header.npy", bytes, 200), "is truncated in its header");
  SET_INPUT(ACTNN_F32, 4, 1);
  put("column.npy", bytes, npy(bytes, "<f4", "(5,)", "True", values, 20));
  ok(open_x(path_of("column.npy")), "one axis has one order, whatever it is called %s", error);
  close_all();
}

/* One archive with one member, changed in one place of its directory; `place` counts from the directory's start. */
static void
refuse_member(const char *what, const char *name, size_t place, uint32_t value, int count, const char *message)
{
  static zip_writer zip;
  unsigned char bytes[256], pixels[10] = {0};
  zip = (zip_writer){.length = 0};
  zip_add(&zip, name, bytes, npy(bytes, "|u1", "(5, 2)", "False", pixels, 10), false);
  put_word(zip.directory + place, value, count);
  zip_end(&zip);
  bool is_open = open_one(put("member.npz", zip.bytes, zip.length));
  ok(!is_open && strstr(error, message), "%s: refused with '%s': %s", what, message, error);
  close_all();
}

static void
test_archives(void)
{
  static zip_writer zip;
  static unsigned char large[7 << 20];
  unsigned char bytes[512], labels[5] = {0, 1, 2, 0, 1}, pixels[10] = {1, 2};
  SET_INPUT(ACTNN_F32, 4, 2);
  SET_LABEL(ACTNN_I64, 4);
  SET_OUTPUT(4, 3);
  refuse_member("a packed length of 4 GiB", "x.npy", 20, UINT32_MAX, 4, "larger than 4 GiB");
  refuse_member("a length of 4 GiB", "x.npy", 24, UINT32_MAX, 4, "larger than 4 GiB");
  refuse_member("a place behind 4 GiB", "x.npy", 42, UINT32_MAX, 4, "larger than 4 GiB");
  refuse_member("a member that is encrypted", "x.npy", 8, 1, 2, "is encrypted");
  refuse_member("a place in the directory", "x.npy", 42, 100000, 4, "not where its directory says");
  refuse_member("another length than is stored", "x.npy", 24, 20, 4, "packed in an unknown way");
  refuse_member("another packing", "x.npy", 10, 12, 2, "packed in an unknown way");
  refuse_member("another sum", "x.npy", 16, 12, 4, "is damaged");
  refuse_member("a name longer than the directory", "x.npy", 28, 5000, 2, "directory is damaged");
  char name[301];
  memset(name, 'n', 300);
  name[300] = 0;
  refuse_member("an endless name", name, 28, 300, 2, "directory is damaged");
  refuse_member("a member that is no array", "x.npy", 24, 0, 0, "gets no data");
  zip = (zip_writer){.length = 4, .bytes = "PK\3\4"};
  zip_end(&zip);
  refuse(put("none.npz", zip.bytes, zip.length), "holds no arrays");
  refuse(put("none.npz", "PK\3\4PK\5\6", 8), "too short to be a .npz file");
  zip = (zip_writer){.length = 0};
  zip_add(&zip, "x.npy", (const unsigned char *)"no array", 8, false);
  zip_end(&zip);
  refuse(put("text.npz", zip.bytes, zip.length), "is not a .npy file");

  zip = (zip_writer){.length = 0};
  zip_add(&zip, "x", bytes, npy(bytes, "|u1", "(5, 2)", "False", pixels, 10), false);
  zip_add(&zip, "labels.txt", bytes, npy(bytes, "|u1", "(5,)", "False", labels, 5), false);
  zip_add(&zip, "targets", bytes, npy(bytes, "|u1", "(5,)", "False", labels, 5), false);
  zip_end(&zip);
  ok(open_one(put("names.npz", zip.bytes, zip.length)) && set.array_count == 3 && !strcmp(set.array[0].name, "samples") &&
         !strcmp(set.array[1].name, "labels.txt") && !strcmp(set.array[2].name, "labels"),
     "members have names with or without .npy %s", error);
  close_all();

  /* A member of a megabyte or more is unpacked into memory that grows: twice as much each time, or just what is left. */
  for (int megabytes = 1; megabytes <= 5; megabytes += 4) {
    char shape[40];
    size_t extent = (size_t)megabytes * 250000, count;
    snprintf(shape, sizeof shape, "(5, %zu)", extent);
    SET_INPUT(ACTNN_U8, 4, (int64_t)extent);
    count = npy(large, "|u1", shape, "False", "", 0);
    memset(large + count, 0, 5 * extent);
    large[count + 5 * extent - 1] = 77;
    zip = (zip_writer){.length = 0};
    zip_add(&zip, "x.npy", large, count + 5 * extent, true);
    zip_add(&zip, "y.npy", bytes, npy(bytes, "|u1", "(5,)", "False", labels, 5), false);
    zip_end(&zip);
    bool is_open = open_one(put("large.npz", zip.bytes, zip.length));
    ok(is_open && set.array[0].data[5 * extent - 1] == 77 && set.array[0].data[5 * extent - 2] == 0,
       "a member that unpacks to %zu bytes %s", 5 * extent, error);
    close_all();
  }
  /* The end record is looked for in the last 64 KiB, behind which there may be a comment. */
  SET_INPUT(ACTNN_F32, 4, 2);
  zip = (zip_writer){.length = 0};
  zip_add(&zip, "padding.npy", large, npy(large, "|u1", "(90000,)", "False", large + (1 << 20), 90000), false);
  zip_add(&zip, "x.npy", bytes, npy(bytes, "|u1", "(5, 2)", "False", pixels, 10), false);
  zip_add(&zip, "y.npy", bytes, npy(bytes, "|u1", "(5,)", "False", labels, 5), false);
  zip_end(&zip);
  ok(open_one(put("commented.npz", zip.bytes, zip.length + 500)), "an archive with a comment %s", error);
  close_all();
  refuse(put("commented.npz", zip.bytes, zip.length + 65536), "directory is missing");
  refuse_read(read_npz, path_of("missing"), "No such file");
}

int
main(void)
{
  make_folder();
  test_idx_types();
  test_border();
  test_element_types();
  test_npy_headers();
  test_archives();
  remove_folder();
  return tap_done();
}
