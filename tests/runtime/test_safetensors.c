/* test_safetensors.c: the headers of .safetensors files, every type of tensor there and back, and text: what is UTF-8 and what is not,
 * and strings as JSON has them. `pread` and `fstat` are replaced here, so that a file can shrink while it is read. */
#include "safetensors.h"
#include "tap.h"
#include "text_buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- faults ------------------------------------------------------------------------------------- */

static int reads_left = -1; /* before a read finds the end of the file, or fails; -1: none does */
static int failure;         /* errno of that read; 0: it finds the end */
static bool is_hidden;      /* fstat fails */

ssize_t
pread(int descriptor, void *data, size_t count, off_t place)
{
  if (reads_left >= 0 && reads_left-- == 0) {
    reads_left = -1;
    errno = failure;
    return failure ? -1 : 0;
  }
  return syscall(SYS_pread64, descriptor, data, count, place);
}

int
fstat(int descriptor, struct stat *status)
{
  if (is_hidden) {
    errno = EIO;
    return -1;
  }
  return (int)syscall(SYS_fstat, descriptor, status);
}

/* ---- helpers ------------------------------------------------------------------------------------ */

static char path[] = "/tmp/actnn-safetensors-XXXXXX";
static safetensors_file file;

static void
put_header(const char *header, size_t length, size_t data_bytes)
{
  static const char zeros[64];
  unsigned char count[8] = {(unsigned char)length, (unsigned char)(length >> 8)};
  FILE *stream = fopen(path, "wb");
  if (!stream || fwrite(count, 1, 8, stream) != 8 || fwrite(header, 1, length, stream) != length ||
      fwrite(zeros, 1, data_bytes, stream) != data_bytes || fclose(stream))
    abort();
}

static void
refuse(const char *what, const char *message)
{
  bool is_open = safetensors_open(&file, path);
  ok(!is_open && strstr(file.error, message), "%s: refused with '%s': %s", what, message, is_open ? "" : file.error);
  if (is_open)
    safetensors_close(&file);
}

/* ---- points ------------------------------------------------------------------------------------- */

#define TENSOR(NAME, SHAPE, BEGIN, END) "\"" NAME "\":{\"dtype\":\"F32\",\"shape\":[" SHAPE "],\"data_offsets\":[" #BEGIN "," #END "]}"

static void
test_headers(void)
{
  static const char *const lies[] = {
      "",
      "{",
      "[]",
      "{}x",
      "{\"a\":1}",
      "{\"a\":{}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[01],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[18446744073709551612,18446744073709551616]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
      "\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"dtype\":\"F32\"}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
      "\"data_offsets\":[0,4]}}",
      "{\"a\\u0000\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
      "{\"\\ud800\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
      "{\"\xff\":1}",
      "{\"a\\",
      "{\"__metadata__\":{\"a\":1}}",
            "{\"__metadata__\":{\"a\":\"b\"},\"__metadata__\":{}}",
      "{\"__metadata__\":{\"a\":\"b\"",
      "{\"__metadata__\":{\"a\":\"b\",}}",
      "{\"__metadata__\":[]}",
      "{" TENSOR("a", "1", 0, 4) "",
      "{" TENSOR("a", "1,", 0, 4) "}",
      "{" TENSOR("a", "1 1", 0, 4) "}",
      "{" TENSOR("a", "1e0", 0, 4) "}",
      "{" TENSOR("a", "+1", 0, 4) "}",
      "{" TENSOR("a", "x", 0, 4) "}",
      "{" TENSOR("a", "18446744073709551616", 0, 4) "}",
      "{" TENSOR("a", "9223372036854775808", 0, 4) "}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}",
      "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"data_offsets\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"order\":[0,4]}}",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[",
      "{\"a\":{\"dtype\":32}}",
      "{\"a\" " TENSOR("a", "1", 0, 4) "}",
      "{" TENSOR("a\t", "1", 0, 4) "}",
      "{" TENSOR("a\\q", "1", 0, 4) "}",
      "{" TENSOR("\\u12g4", "1", 0, 4) "}",
      "{" TENSOR("\\u123", "1", 0, 4) "}",
      "{\"\\u12",
      "{" TENSOR("\\udc00", "1", 0, 4) "}",
      "{" TENSOR("\\ud800\\ud800", "1", 0, 4) "}",
      "{" TENSOR("\\ud800\\ue000", "1", 0, 4) "}",
      "{" TENSOR("\\ud800\\u12", "1", 0, 4) "}",
      "{" TENSOR("\\ud800\\n00000", "1", 0, 4) "}",
      "{" TENSOR("\\ud800 u0000", "1", 0, 4) "}",
      "{\"\\ud800\\u",
      "{" TENSOR("\xc0\x80", "1", 0, 4) "}"};
  int accepted = 0;
  for (size_t index = 0; index < sizeof lies / sizeof *lies; index++) {
    put_header(lies[index], strlen(lies[index]), 4);
    if (safetensors_open(&file, path)) {
      accepted++;
      fprintf(stderr, "# accepted: %s\n", lies[index]);
      safetensors_close(&file);
    }
  }
  ok(!accepted, "headers that lie are refused");
  static const char with_nul[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1\0],\"data_offsets\":[0,4]}}";
  put_header(with_nul, sizeof with_nul - 1, 4);
  refuse("a NUL behind a number", "its header is not understood at byte");
  put_header("", 0, 4);
  refuse("no header", "its header is not understood at byte 8");
  FILE *stream = fopen(path, "wb");
  if (!stream || fwrite("\xff\xff\xff\xff\xff\xff\xff\xff", 1, 8, stream) != 8 || fclose(stream))
    abort();
  refuse("an absurd length", "is no safetensors file, or truncated");
  if (truncate(path, 7))
    abort();
  refuse("seven bytes", "is too short");
  put_header("{}", 2, 4);
  refuse("more than its tensors", "longer than its tensors");
  put_header("{" TENSOR("a", "1", 4, 8) "}", strlen("{" TENSOR("a", "1", 4, 8) "}"), 8);
  refuse("a gap", "leave a gap");
  put_header("{" TENSOR("a", "2", 0, 8) "," TENSOR("b", "1", 4, 8) "}", strlen("{" TENSOR("a", "2", 0, 8) "," TENSOR("b", "1", 4, 8) "}"), 8);
  refuse("two that overlap", "overlap");

  static const char good[] = " {\t\"__metadata__\" :\n{ } ,\r\"\\ud83d\\uDE00\\n\\\"\\u00e9\\u20Ac\\u004a\\ue000\" : {\"shape\":[ "
                             "],\"data_offsets\":[4,8], \"dtype\":\"F32\"}, "
                             "\"none\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[4,4]}, " TENSOR("a", "1", 0, 4) " } ";
  put_header(good, sizeof good - 1, 8);
  bool is_open = safetensors_open(&file, path);
  const safetensors_entry *entry = is_open ? safetensors_find(&file, "\xf0\x9f\x98\x80\n\"\xc3\xa9\xe2\x82\xacJ\xee\x80\x80") : NULL;
  ok(entry && entry->begin == 4 && entry->rank == 0 && safetensors_find(&file, "a") && safetensors_find(&file, "none"),
     "escapes, spaces and any order of keys and tensors are understood %s", is_open ? "" : file.error);
  ok(is_open && !safetensors_metadata(&file, "a") && !safetensors_find(&file, "b"), "what is not there is not found");
  if (is_open)
    safetensors_close(&file);
  safetensors_close(&file);
  ok(file.descriptor < 0 && !file.entry_count, "closed twice is closed");
  put_header("{}", 2, 0);
  is_open = safetensors_open(&file, path);
  ok(is_open && !safetensors_find(&file, "a"), "a file without tensors holds none");
  if (is_open)
    safetensors_close(&file);
}

static void
test_reading(void)
{
  static const char header[] = "{" TENSOR("a", "4", 0, 16) "}";
  put_header(header, sizeof header - 1, 16);
  for (int which = 0; which < 2; which++) {
    failure = which ? EIO : 0;
    const char *message = which ? "cannot be read: Input/output error" : "was truncated while it was read";
    for (int before = 0; before < 2; before++) {
      reads_left = before;
      refuse(before ? "its text" : "its length", message);
    }
    float values[4];
    uint32_t sum;
    if (!safetensors_open(&file, path))
      abort();
    reads_left = 0;
    bool is_read = safetensors_read(&file, safetensors_find(&file, "a"), values);
    ok(!is_read && strstr(file.error, message), "a tensor: %s", file.error);
    reads_left = 0;
    is_read = safetensors_checksum(&file, safetensors_find(&file, "a"), &sum);
    ok(!is_read && strstr(file.error, message), "a tensor whose sum is wanted: %s", file.error);
    safetensors_close(&file);
  }
  reads_left = -1;
  is_hidden = true;
  refuse("a file that nobody knows the length of", "cannot be examined");
  is_hidden = false;
  bool is_open = safetensors_open(&file, "/tmp");
  ok(!is_open && strstr(file.error, "is not a regular file"), "a folder: %s", file.error);
  is_open = safetensors_open(&file, "/tmp/no/such\nfile");
  ok(!is_open && strstr(file.error, "No such file"), "a file that there is not: %s", file.error);
}

/* Every type is written under the name that the reader knows it by. */
static void
test_types(void)
{
  static const struct {
    int type;
    const char *name;
    uint64_t bytes;
  } kind[] = {{ACTNN_F32, "F32", 4}, {ACTNN_F64, "F64", 8}, {ACTNN_F16, "F16", 2}, {ACTNN_BF16, "BF16", 2}, {ACTNN_I64, "I64", 8},
              {ACTNN_I32, "I32", 4}, {ACTNN_I16, "I16", 2}, {ACTNN_I8, "I8", 1},   {ACTNN_U64, "U64", 8},   {ACTNN_U32, "U32", 4},
              {ACTNN_U16, "U16", 2}, {ACTNN_U8, "U8", 1},   {ACTNN_BOOL, "BOOL", 1}};
  enum { KINDS = sizeof kind / sizeof *kind };
  static const int64_t dim[] = {3, 1};
  static const char data[24] = "abcdefghijklmnopqrstuvw";
  safetensors_tensor tensor[KINDS];
  char error[400], wanted[40], text[4096] = "";
  for (int index = 0; index < KINDS; index++)
    tensor[index] = (safetensors_tensor){kind[index].name, kind[index].type, 2, dim, data, 3 * kind[index].bytes};
  const safetensors_pair pair[] = {{"first", "1\"\\\n"}, {"second", ""}};
  bool done = safetensors_write(path, tensor, KINDS, pair, 2, false, error, sizeof error) && safetensors_open(&file, path);
  ok(done && file.entry_count == KINDS && !strcmp(safetensors_metadata(&file, "first"), "1\"\\\n") && !*safetensors_metadata(&file, "second"),
     "tensors of every type are written and read %s", error);
  FILE *stream = fopen(path, "rb");
  if (!done || !stream || !fread(text, 1, sizeof text - 1, stream))
    abort();
  fclose(stream);
  for (int index = 0; index < KINDS; index++) {
    const safetensors_entry *entry = safetensors_find(&file, kind[index].name);
    char read[24];
    snprintf(wanted, sizeof wanted, "\"%s\":{\"dtype\":\"%s\"", kind[index].name, kind[index].name);
    ok(entry && entry->type == kind[index].type && entry->bytes == 3 * kind[index].bytes && safetensors_read(&file, entry, read) &&
           !memcmp(read, data, entry->bytes) && memmem(text, sizeof text, wanted, strlen(wanted)),
       "%s is itself again", kind[index].name);
  }
  safetensors_close(&file);
  done = safetensors_write(path, NULL, 0, pair, 2, false, error, sizeof error) && safetensors_open(&file, path);
  ok(done && !file.entry_count && file.metadata_count == 2, "metadata alone can be written");
  if (done)
    safetensors_close(&file);
}

static void
test_text(void)
{
  static const struct {
    const char *text;
    size_t length;
  } character[] = {{"a", 1},
                   {"\x7f", 1},
                   {"\x80", 0},
                   {"\xc1\xbf", 0},
                   {"\xc2\x80", 2},
                   {"\xc2", 0},
                   {"\xc2" "a", 0},
                   {"\xdf\xbf", 2},
                   {"\xe0\x9f\xbf", 0},
                   {"\xe0\xa0\x80", 3},
                   {"\xe1\x80\x80", 3},
                   {"\xe1\x80", 0},
                   {"\xed\x9f\xbf", 3},
                   {"\xed\xa0\x80", 0},
                   {"\xef\xbf\xbf", 3},
                   {"\xf0\x8f\xbf\xbf", 0},
                   {"\xf0\x90\x80\x80", 4},
                   {"\xf1\x80\x80\x80", 4},
                   {"\xf1\x80\x80", 0},
                   {"\xf4\x8f\xbf\xbf", 4},
                   {"\xf4\x90\x80\x80", 0},
                   {"\xf5\x80\x80\x80", 0},
                   {"\xff", 0}};
  for (size_t index = 0; index < sizeof character / sizeof *character; index++)
    ok(utf8_length(character[index].text) == character[index].length, "%s of %zu bytes, the first 0x%02x, the second 0x%02x",
       character[index].length ? "a character" : "no character", strlen(character[index].text), (unsigned char)character[index].text[0],
       (unsigned char)character[index].text[1]);
  ok(safetensors_is_utf8("") && safetensors_is_utf8("a\xc3\xa9") && !safetensors_is_utf8("a\xc3"), "a text is UTF-8 as a whole");
  text_buffer text = {0};
  text_add_json(&text, "a\"\\\n\x1f\x7f\xc3\xa9\xff!");
  ok(!text.failed && !strcmp(text.text, "\"a\\\"\\\\\\u000a\\u001f\\u007f\xc3\xa9\xef\xbf\xbd!\""), "a string as JSON has it: %s", text.text);
  free(text.text);
  char printed[] = "a\n\x7f\t\xc3\xa9";
  ok(!strcmp(text_make_printable(printed), "a???\xc3\xa9"), "what a terminal would obey is a question mark");
}

int
main(void)
{
  int descriptor = mkstemp(path);
  if (descriptor < 0 || close(descriptor))
    return 99;
  test_headers();
  test_reading();
  test_types();
  test_text();
  return unlink(path) ? 99 : tap_done();
}
