/* test_pack.c: what is kept packed for backward has the same bytes wherever it was packed. */
#include "both.h"

#include "../../runtime/bfloat.h"
#include "../../runtime/codec.h"

/* Some with less than a byte's codes, some with words, whole chunks and what is left of one. */
static const actnn_tensor values[] = {
    {.rank = 1, .dim = {1}},         {.rank = 1, .dim = {7}},         {.rank = 1, .dim = {1000}},
    {.rank = 1, .dim = {32768}},     {.rank = 1, .dim = {32769}},     {.rank = 2, .dim = {311, 257}},
    {.rank = 1, .dim = {65536 + 9}}, {.rank = 3, .dim = {2, 19, 35}}, {.layout = ACTNN_BLOCKED, .rank = 3, .dim = {2, 19, 35}},
    {.layout = ACTNN_BLOCKED, .rank = 4, .dim = {3, 32, 24, 25}},     {.layout = ACTNN_BLOCKED, .rank = 4, .dim = {1, 1, 1, 1}},
};
enum { VALUES = sizeof values / sizeof *values };

static void
test_bits(Both *both, const actnn_tensor *like, int bits)
{
  actnn_tensor value = *like;
  value.type = ACTNN_U8;
  uint32_t x = add_tensor(both, value, 1, 0), y = add_tensor(both, value, 1, 0);
  int64_t count = elements_in_memory(both, &value);
  actnn_tensor stash = value;
  stash.layout = ACTNN_STASH;
  uint32_t code = add_tensor(both, stash, 1, actnn_pack_bytes((uint64_t)count, bits));
  unsigned char *from = data_of(both, x);
  for (int64_t i = 0; i < count; i++) from[i] = (unsigned char)(random_byte(both) >> (8 - bits));
  char what[100];
  snprintf(what, sizeof what, "%lld elements of %d bits, packed,", (long long)count, bits);
  same_on_both(both, actnn_PackBits, OUT(code), IN(x), WITH(INT(bits)), what);
  snprintf(what, sizeof what, "%lld elements of %d bits, unpacked,", (long long)count, bits);
  same_on_both(both, actnn_UnpackBits, OUT(y), IN(code), WITH(INT(bits), INT(ACTNN_U8)), what);
  ok(!memcmp(data_of(both, x), data_of(both, y), (size_t)count), "and what comes back is what went in");
  forget_tensors(both);
}

/* Any bits at all, so that there are numbers of all sizes and such as are none, and zeros of both signs. */
static void
draw_floats(Both *both, uint32_t id, int64_t count)
{
  unsigned char *x = data_of(both, id);
  size_t size = both->tensor[id].type == ACTNN_BF16 ? 2 : 4;
  for (int64_t i = 0; i < count; i++) {
    float special = i % 5 == 0 ? (i % 2 ? 0.0f : -0.0f) : i % 4 == 1 ? NAN : INFINITY;
    uint16_t narrow = bfloat_rounded(special);
    for (size_t k = 0; k < size; k++) x[(size_t)i * size + k] = random_byte(both);
    if (i % 5 == 0 || i % 50 == 3) memcpy(x + (size_t)i * size, size == 2 ? (void *)&narrow : (void *)&special, size);
  }
}

/* Whether x and dy, and whether dx, are held as bfloat16. */
static void
test_mask(Both *both, const actnn_tensor *like, bool reads_bfloat, bool writes_bfloat)
{
  actnn_tensor value = *like, result = *like, stash = *like;
  value.type = reads_bfloat ? ACTNN_BF16 : ACTNN_F32;
  result.type = writes_bfloat ? ACTNN_BF16 : ACTNN_F32;
  stash.layout = ACTNN_STASH;
  stash.type = ACTNN_U8;
  int64_t count = elements_in_memory(both, &value);
  uint64_t size = reads_bfloat ? 2 : 4, result_size = writes_bfloat ? 2 : 4;
  uint32_t x = add_tensor(both, value, size, 0), dy = add_tensor(both, value, size, 0), dx = add_tensor(both, result, result_size, 0);
  uint32_t code = add_tensor(both, stash, 1, (uint64_t)(count + 127) / 128 * 16);
  draw_floats(both, x, count);
  draw_floats(both, dy, count);
  char what[100];
  snprintf(what, sizeof what, "the mask of %lld elements of %d bytes", (long long)count, (int)size);
  same_on_both(both, actnn_PackPositive, OUT(code), IN(x), WITHOUT, what);
  snprintf(what, sizeof what, "what it selects, to %d bytes an element,", (int)result_size);
  same_on_both(both, actnn_SelectPacked, OUT(dx), IN(dy, code), WITHOUT, what);
  if (reads_bfloat == writes_bfloat) same_on_both(both, actnn_SelectPacked, OUT(dy), IN(dy, code), WITHOUT, "the same in place");
  forget_tensors(both);
}

static void
test_triangles(Both *both, actnn_type type, uint64_t size, int64_t matrices, int64_t extent)
{
  actnn_tensor full = {.type = (uint8_t)type, .rank = 3, .dim = {matrices, extent, extent}};
  actnn_tensor triangle = {.type = (uint8_t)type, .rank = 2, .dim = {matrices, extent * (extent + 1) / 2}};
  uint32_t x = add_tensor(both, full, size, 0), packed = add_tensor(both, triangle, size, 0), y = add_tensor(both, full, size, 0);
  unsigned char *from = data_of(both, x);
  for (int64_t i = 0; i < matrices * extent * extent; i++)
    for (uint64_t k = 0; k < size; k++)
      from[(uint64_t)i * size + k] = i % extent > i / extent % extent ? 0 : random_byte(both);
  char what[100];
  snprintf(what, sizeof what, "%lld triangles of %lld rows of %llu bytes an element", (long long)matrices, (long long)extent,
           (unsigned long long)size);
  same_on_both(both, actnn_PackTriangle, OUT(packed), IN(x), WITH(INT(1)), what);
  same_on_both(both, actnn_UnpackTriangle, OUT(y), IN(packed), WITH(ABSENT), "the same unpacked");
  if (extent > 5) {
    ((unsigned char *)data_of(both, x))[(uint64_t)(2 * extent + 3) * size] = 1;
    same_on_both(both, actnn_PackTriangle, OUT(packed), IN(x), WITH(INT(0)), "one with something above its diagonal, not checked,");
    memset(data_of(both, x), 0, size); /* its row begins with a number */
    refused_on_both(both, actnn_PackTriangle, OUT(packed), IN(x), WITH(INT(1)), "the same, checked,");
  }
  forget_tensors(both);
}

int
main(void)
{
  static const int blocks[] = {1, 8, 16};
  Both both = {.state = 7};
  for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
    for (size_t i = 0; i < VALUES; i++) {
      both.block = blocks[b];
      if (both.block > 1 && values[i].layout != ACTNN_BLOCKED) continue;
      for (int bits = 1; bits <= ACTNN_MAX_BITS; bits++) test_bits(&both, &values[i], bits);
      for (int held = 0; held < 4; held++) test_mask(&both, &values[i], held & 1, held & 2);
    }
  both.block = 1;
  for (int64_t extent = 1; extent < 300; extent = extent * 3 + 1) {
    test_triangles(&both, ACTNN_BOOL, 1, 2, extent);
    test_triangles(&both, ACTNN_F32, 4, 3, extent);
    test_triangles(&both, ACTNN_BF16, 2, 3, extent);
    test_triangles(&both, ACTNN_I64, 8, 1, extent);
  }
  return tap_done();
}
