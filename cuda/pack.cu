/* pack.cu: small whole numbers, masks and triangles packed without loss, to the bytes that the processor makes (runtime/pack.c,
 * runtime/masks.c, src/operators/triangles.h). */
#include "floats.h"

#include "../src/operators/triangles.h"

/* ---- bytes as planes of bits ----------------------------------------------------------------------------------- */

/* A thread makes a word of whole chunks, whose planes are made of words; or a byte of the last one, behind them. */
typedef uint32_t packed_word;
enum { WORD = sizeof(packed_word) };

typedef struct PackJob {
  const uint8_t *from;
  uint8_t *to;
  int64_t chunks, left; /* whole ones; elements of the last */
  int64_t words, bytes; /* of a whole chunk's result; of the last one's */
  int bits;
} PackJob;

/* The plane of bits `shift` and up, `width` wide, and its bytes; codes that lie `size` apart share one. */
typedef struct BitPlane {
  int64_t start, size;
  int shift, width;
} BitPlane;

static __device__ BitPlane
first_plane(int64_t count, int bits)
{
  BitPlane plane = {0, 0, 0, actnn_codec_plane_width(bits)};
  plane.size = actnn_codec_plane_rows(count, plane.width);
  return plane;
}

static __device__ BitPlane
plane_after(const BitPlane &plane, int64_t count, int bits)
{
  BitPlane next = first_plane(count, bits - plane.shift - plane.width);
  next.start = plane.start + plane.size;
  next.shift = plane.shift + plane.width;
  return next;
}

/* In every byte of a word the lowest bits. */
template <typename Word>
static __device__ Word
low_bits(int width)
{
  return (Word)((Word)~(Word)0 / 255 * ((1u << width) - 1));
}

/* The packed bytes from `at` on. */
template <typename Word>
static __device__ Word
pack_codes(const uint8_t *codes, int64_t count, int bits, int64_t at)
{
  BitPlane plane = first_plane(count, bits);
  while (at >= plane.start + plane.size)
    plane = plane_after(plane, count, bits);
  Word packed = 0;
  int part = 0;
  for (int64_t place = at - plane.start; place < count; place += plane.size, part += plane.width)
    packed |= (Word)((*(const Word *)(codes + place) >> plane.shift & low_bits<Word>(plane.width)) << part);
  return packed;
}

/* The codes from `at` on. */
template <typename Word>
static __device__ Word
unpack_codes(const uint8_t *packed, int64_t count, int bits, int64_t at)
{
  Word codes = 0;
  for (BitPlane plane = first_plane(count, bits); plane.shift < bits; plane = plane_after(plane, count, bits)) {
    Word word = *(const Word *)(packed + plane.start + at % plane.size);
    codes |= (Word)((word >> (at / plane.size * plane.width) & low_bits<Word>(plane.width)) << plane.shift);
  }
  return codes;
}

/* Where a thread works. */
typedef struct PackPlace {
  int64_t chunk, at; /* in the result of that chunk */
  bool is_whole, is_beyond;
} PackPlace;

static __device__ PackPlace
pack_place(const PackJob &job)
{
  int64_t i = thread_number(), in_words = job.chunks * job.words;
  PackPlace place = {i / job.words, i % job.words * WORD, i < in_words, i >= in_words + job.bytes};
  if (!place.is_whole) {
    place.chunk = job.chunks;
    place.at = i - in_words;
  }
  return place;
}

KERNEL
pack(PackJob job)
{
  PackPlace place = pack_place(job);
  if (place.is_beyond)
    return;
  const uint8_t *codes = job.from + place.chunk * ACTNN_PACK_CHUNK;
  uint8_t *to = job.to + place.chunk * (ACTNN_PACK_CHUNK / 8) * job.bits + place.at;
  if (place.is_whole)
    *(packed_word *)to = pack_codes<packed_word>(codes, ACTNN_PACK_CHUNK, job.bits, place.at);
  else
    *to = pack_codes<uint8_t>(codes, job.left, job.bits, place.at);
}

KERNEL
unpack(PackJob job)
{
  PackPlace place = pack_place(job);
  if (place.is_beyond)
    return;
  const uint8_t *packed = job.from + place.chunk * (ACTNN_PACK_CHUNK / 8) * job.bits;
  uint8_t *to = job.to + place.chunk * ACTNN_PACK_CHUNK + place.at;
  if (place.is_whole)
    *(packed_word *)to = unpack_codes<packed_word>(packed, ACTNN_PACK_CHUNK, job.bits, place.at);
  else
    *to = unpack_codes<uint8_t>(packed, job.left, job.bits, place.at);
}

/* False for what the processor refuses. */
static bool
make_pack_job(const actnn_call *call, const actnn_view *value, const actnn_view *stash, bool packs, PackJob *job)
{
  int64_t bits = call->attribute_count ? call->attribute[0].i : 0, count = elements_in_memory(call, value);
  if (element_bytes(value->type) != 1 || bits < 1 || bits > ACTNN_MAX_BITS || stash->bytes < actnn_pack_bytes((uint64_t)count, (int)bits))
    return false;
  job->from = (const uint8_t *)call->input[0].data;
  job->to = (uint8_t *)call->output[0].data;
  job->chunks = count / ACTNN_PACK_CHUNK;
  job->left = count % ACTNN_PACK_CHUNK;
  job->words = (packs ? ACTNN_PACK_CHUNK / 8 * bits : ACTNN_PACK_CHUNK) / WORD;
  job->bytes = packs ? (int64_t)actnn_pack_bytes((uint64_t)job->left, (int)bits) : job->left;
  job->bits = (int)bits;
  return true;
}

extern "C" int
gpu_PackBits(const actnn_call *call)
{
  PackJob job;
  if (!make_pack_job(call, &call->input[0], &call->output[0], true, &job))
    return DEVICE_DECLINES;
  return actnn_is_preparing(call) ? 0 : LAUNCH(call, pack, job.chunks * job.words + job.bytes, job);
}

extern "C" int
gpu_UnpackBits(const actnn_call *call)
{
  PackJob job;
  if (!make_pack_job(call, &call->output[0], &call->input[0], false, &job))
    return DEVICE_DECLINES;
  return actnn_is_preparing(call) ? 0 : LAUNCH(call, unpack, job.chunks * job.words + job.bytes, job);
}

/* ---- masks of floats ------------------------------------------------------------------------------------------- */

/* Bit i of byte l of a chunk stands for its element 16 i + l. A thread has four neighbouring bytes. */
enum { CHUNK = 128, ROW = 16, QUAD = 4, QUADS_A_CHUNK = ROW / QUAD, BITS = 8 };

struct alignas(4) FourBytes {
  uint8_t of[QUAD];
};

/* Where the thread's element of bit 0 of its first byte lies. */
static __device__ int64_t
quad_place(void)
{
  int64_t number = thread_number();
  return number / QUADS_A_CHUNK * CHUNK + number % QUADS_A_CHUNK * QUAD;
}

KERNEL
pack_positive(Floats x, FourBytes *code, int64_t count, int64_t quads)
{
  int64_t first = quad_place();
  if (thread_number() >= quads)
    return;
  FourBytes mask = FourBytes();
  Four<float> row[BITS];
  for (int bit = 0; bit < BITS; bit++)
    row[bit] = load_four(x, count, first + bit * ROW);
  for (int bit = 0; bit < BITS; bit++)
    for (int i = 0; i < QUAD; i++)
      mask.of[i] |= (uint8_t)((row[bit].of[i] > 0) << bit);
  code[thread_number()] = mask;
}

/* dx may be dy. */
KERNEL
select_packed(Floats dy, const FourBytes *code, Floats dx, int64_t count, int64_t quads)
{
  int64_t first = quad_place();
  if (thread_number() >= quads)
    return;
  FourBytes mask = code[thread_number()];
  Four<float> row[BITS];
  for (int bit = 0; bit < BITS; bit++)
    row[bit] = load_four(dy, count, first + bit * ROW);
  for (int bit = 0; bit < BITS; bit++) {
    for (int i = 0; i < QUAD; i++)
      row[bit].of[i] = mask.of[i] >> bit & 1 ? row[bit].of[i] : 0;
    store_four(dx, count, first + bit * ROW, row[bit]);
  }
}

static int64_t
quads_of(int64_t count)
{
  return (count + CHUNK - 1) / CHUNK * QUADS_A_CHUNK;
}

extern "C" int
gpu_PackPositive(const actnn_call *call)
{
  int64_t count = elements_in_memory(call, &call->input[0]), quads = quads_of(count);
  if (!is_floating(call->input[0].type) || (uint64_t)(quads * QUAD) > call->output[0].bytes)
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  return LAUNCH(call, pack_positive, quads, floats_of(&call->input[0]), (FourBytes *)call->output[0].data, count, quads);
}

extern "C" int
gpu_SelectPacked(const actnn_call *call)
{
  if (!is_floating(call->output[0].type))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  int64_t count = elements_in_memory(call, &call->output[0]), quads = quads_of(count);
  return LAUNCH(call, select_packed, quads, floats_of(&call->input[0]), (const FourBytes *)call->input[1].data,
                floats_of(&call->output[0]), count, quads);
}

/* ---- triangles ------------------------------------------------------------------------------------------------- */

typedef struct TriangleJob {
  Triangles triangles;
  const void *from;
  void *to;
  gpu_notes *notes; /* NULL: what lies above a diagonal is not looked at */
} TriangleJob;

typedef struct TrianglePlace {
  int64_t full, packed, row, beyond; /* beyond the diagonal: more than 0 */
} TrianglePlace;

/* Each thread has an element of the unpacked matrices; false: there is none for this one. */
static __device__ bool
find_place(const Triangles &triangles, TrianglePlace *place)
{
  place->full = thread_number();
  place->row = place->full / triangles.extent;
  int64_t column = place->full % triangles.extent;
  place->beyond = column - place->row % triangles.extent;
  place->packed = packed_row(&triangles, place->row) + column;
  return place->row < triangles.rows;
}

/* A row that begins with what is not a number is for others to tell. */
static __device__ bool
is_number(uint32_t bits)
{
  return (bits & 0x7fffffffu) <= 0x7f800000u;
}

static __device__ bool
is_number(uint16_t bits)
{
  return is_number((uint32_t)bits << 16);
}

/* Other elements are no floats. */
template <typename Unit>
static __device__ bool
is_number(Unit)
{
  return true;
}

template <typename Unit>
KERNEL
pack_triangle(TriangleJob job)
{
  TrianglePlace place;
  if (!find_place(job.triangles, &place))
    return;
  const Unit *from = (const Unit *)job.from;
  if (place.beyond <= 0) {
    ((Unit *)job.to)[place.packed] = from[place.full];
  } else if (job.notes && from[place.full]) {
    if (is_number(from[place.row * job.triangles.extent]))
      note_refusal(job.notes, NOT_TRIANGULAR, place.row, 0);
  }
}

template <typename Unit>
KERNEL
unpack_triangle(TriangleJob job)
{
  TrianglePlace place;
  if (find_place(job.triangles, &place))
    ((Unit *)job.to)[place.full] = place.beyond <= 0 ? ((const Unit *)job.from)[place.packed] : 0;
}

static TriangleJob
triangle_job(const actnn_call *call, const actnn_view *full, bool is_checked)
{
  TriangleJob job = {triangles_of(full), call->input[0].data, call->output[0].data, is_checked ? call->trainer->device_state->notes : NULL};
  return job;
}

/* run(an integer as wide as an element). */
template <typename Run>
static int
with_integer(size_t bytes, Run run)
{
  return bytes == 1 ? run(uint8_t()) : bytes == 2 ? run(uint16_t()) : bytes == 4 ? run(uint32_t()) : run(uint64_t());
}

extern "C" int
gpu_PackTriangle(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  TriangleJob job = triangle_job(call, &call->input[0], call->attribute[0].i != 0);
  return with_integer(job.triangles.size, [=](auto unit) {
    return LAUNCH(call, pack_triangle<decltype(unit)>, job.triangles.rows * job.triangles.extent, job);
  });
}

extern "C" int
gpu_UnpackTriangle(const actnn_call *call)
{
  if (actnn_is_preparing(call))
    return 0;
  TriangleJob job = triangle_job(call, &call->output[0], false);
  return with_integer(job.triangles.size, [=](auto unit) {
    return LAUNCH(call, unpack_triangle<decltype(unit)>, job.triangles.rows * job.triangles.extent, job);
  });
}
