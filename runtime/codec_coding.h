/* codec_coding.h: coding and decoding a tile of any value; normalized ones are codec_normal_tiles.h's. Part of codec.c. */

/* ---- Headers ------------------------------------------------------------------------------------- */

static uint64_t
header_place(const actnn_tile_work *work)
{
  return (uint64_t)(work->tile * actnn_codec_tile_headers(work->codec) * work->codec->header_words) * sizeof(uint16_t);
}

static void
set_group(tile_groups *groups, int lane, actnn_group group)
{
  groups->base[lane] = group.base;
  groups->step[lane] = group.step;
  groups->scale[lane] = group.scale;
  groups->dither[lane] = group.dither;
}

static void
read_headers(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, tile_groups *groups)
{
  uint16_t word[LANES * 2 + 1] = {0};
  int count = (int)actnn_codec_tile_headers(work->codec), words = work->codec->header_words;
  memcpy(word, sample + header_place(work), (size_t)(count * words) * sizeof *word);
  for (int lane = 0; lane < LANES; lane++) {
    const uint16_t *own = word + (count == 1 ? 0 : lane * words);
    set_group(groups, lane, actnn_codec_group_of(code, (actnn_header){own[0], own[1]}));
  }
}

static void
write_headers(const actnn_tile_work *work, const actnn_tile_range *range, const actnn_code *code, uint8_t *sample)
{
  uint16_t word[LANES * 2];
  int count = (int)actnn_codec_tile_headers(work->codec), words = work->codec->header_words;
  for (int lane = 0; lane < count; lane++) {
    bool finite = range->magnitude[lane] < 0x7f800000u;
    actnn_header header = actnn_codec_header_of(code, range->minimum[lane], range->maximum[lane], finite);
    if (words > 0)
      word[lane * words] = header.base;
    if (words > 1)
      word[lane * words + 1] = header.step;
  }
  memcpy(sample + header_place(work), word, (size_t)(count * words) * sizeof *word);
}

/* ---- Rows of codes --------------------------------------------------------------------------------- */

/* Codes are made as wide as values and then narrowed: mixed widths would make the compiler choose short vectors. */
static void
narrow(const uint32_t *restrict wide, uint8_t *restrict code)
{
  for (int i = 0; i < EIGHT * LANES; i++)
    code[i] = (uint8_t)wide[i];
}

static void
code_masked_eight(const float *restrict row, const tile_groups *restrict groups, float top,
                  const uint32_t (*restrict draw)[LANES], uint8_t *restrict code)
{
  uint32_t wide[EIGHT * LANES];
  for (int lane = 0; lane < LANES; lane++) {
    float scale = groups->scale[lane];
#define CODE(k) \
  { \
    float x = row[(k)*LANES + lane]; \
    uint32_t above = 1 + actnn_codec_code(x, 0, scale, top, DRAW_OF(draw, k, lane)); \
    wide[(k)*LANES + lane] = x > 0 ? above : 0; \
  }
    FOR_EIGHT(CODE)
#undef CODE
  }
  narrow(wide, code);
}

static void
code_square_eight(const float *restrict row, const tile_groups *restrict groups, float top,
                  const uint32_t (*restrict draw)[LANES], uint8_t *restrict code)
{
  uint32_t wide[EIGHT * LANES];
  float most = ACTNN_TIMES(top, 65536.0f);
  for (int lane = 0; lane < LANES; lane++) {
    float scale = groups->scale[lane];
#define CODE(k) \
  wide[(k)*LANES + lane] = actnn_codec_square_code(row[(k)*LANES + lane], scale, most, DRAW_OF(draw, k, lane));
    FOR_EIGHT(CODE)
#undef CODE
  }
  narrow(wide, code);
}

static void
decode_row(const uint8_t *restrict code, actnn_spacing spacing, const tile_groups *restrict groups,
           const uint32_t *restrict draw, float *restrict value)
{
  uint32_t wide[LANES];
  for (int lane = 0; lane < LANES; lane++)
    wide[lane] = code[lane];
  if (spacing == ACTNN_MASKED_LEVELS) {
    for (int lane = 0; lane < LANES; lane++) {
      float zero = groups->base[lane];
      float above = actnn_codec_value(wide[lane] - 1, zero, groups->step[lane], groups->dither[lane], draw[lane]);
      value[lane] = choose(wide[lane] > 0, above, zero);
    }
    return;
  }
  if (spacing == ACTNN_SQUARE_LEVELS)
    for (int lane = 0; lane < LANES; lane++)
      wide[lane] *= wide[lane];
  for (int lane = 0; lane < LANES; lane++)
    value[lane] = actnn_codec_value(wide[lane], groups->base[lane], groups->step[lane], groups->dither[lane], draw[lane]);
}

/* ---- Noise ----------------------------------------------------------------------------------------- */

/* Variance of rounding one value stochastically. */
static double
noise_of_element(float value, const actnn_code *code, float base, float scale, double step)
{
  double place = (double)(value - base) * scale * 0x1p-16, low = floor(place), high = low + 1;
  if (!(place > 0 && place < (double)actnn_codec_top(code)))
    return 0;
  if (code->spacing == ACTNN_SQUARE_LEVELS) {
    double level = floor(sqrt(place));
    low = level * level;
    high = (level + 1) * (level + 1);
  }
  return (place - low) * (high - place) * step * step;
}

/* Summed over the tile's real elements; without `exact`, as if places between levels were equally likely. Of square
 * levels there is no such mean: the steps around a value depend on it. */
static double
noise_of_tile(const actnn_tile_work *work, actnn_tile tile, const tile_rows *rows, const actnn_code *code,
              const tile_groups *groups, bool exact)
{
  int32_t positives[LANES];
  double sum = 0;
  if (code->spacing != ACTNN_SQUARE_LEVELS && (code->dither || !exact)) {
    if (code->spacing == ACTNN_MASKED_LEVELS)
      count_positives(work, tile, rows, positives);
    for (int lane = 0; lane < LANES; lane++) {
      double step = groups->step[lane];
      int64_t count = code->spacing == ACTNN_MASKED_LEVELS ? positives[lane] : elements_of_lane(work, tile, lane);
      if (!code->dither || groups->dither[lane] != 0)
        sum += (double)count * step * step / (code->dither ? 12 : 6);
    }
    return sum;
  }
  for (int64_t row = 0; row < tile.rows; row++) {
    int lanes = valid_lanes(work->codec, tile.first_row + row);
    for (int lane = 0; lane < lanes; lane++)
      sum += noise_of_element(rows->row[row * LANES + lane], code, groups->base[lane], groups->scale[lane],
                              groups->step[lane]);
  }
  return sum;
}

/* ---- Tiles ----------------------------------------------------------------------------------------- */

static void
quantize(const actnn_tile_work *work, const void *value, const actnn_code *code, actnn_philox_key key, uint8_t *sample,
         const actnn_tile_range *known, bool exact_noise, actnn_tile_noise *noise)
{
  float buffer[ACTNN_TILE_ROWS * LANES], some[EIGHT * LANES];
  uint8_t codes[(ACTNN_TILE_ROWS + EIGHT) * LANES];
  uint32_t draw[4][LANES];
  tile_rows rows;
  actnn_tile_range extremes;
  tile_groups groups;
  actnn_tile tile = actnn_codec_tile(work->codec, work->tile);
  bool is_even = code->spacing == ACTNN_EVEN_LEVELS || code->spacing == ACTNN_FIXED_LEVELS;
  float top = actnn_codec_top(code);
  open_tile(work, tile, value, known, is_even && !(exact_noise && !code->dither), buffer, &rows, &extremes);
  write_headers(work, &extremes, code, sample);
  read_headers(work, sample, code, &groups);
  for (int64_t eight = 0; eight < eights(&rows); eight++) {
    const float *row = eight_rows(&rows, eight, some);
    uint8_t *to = codes + eight * EIGHT * LANES;
    draw_eight(work, eight, key, draw);
    if (is_even)
      code_eight(row, &groups, top, (const uint32_t(*)[LANES])draw, to);
    else if (code->spacing == ACTNN_MASKED_LEVELS)
      code_masked_eight(row, &groups, top, (const uint32_t(*)[LANES])draw, to);
    else
      code_square_eight(row, &groups, top, (const uint32_t(*)[LANES])draw, to);
  }
  pack_levels(codes, tile.rows, code->levels, sample + actnn_codec_code_offset(work->codec, tile, code->levels));
  *noise = (actnn_tile_noise){.above = noise_of_tile(work, tile, &rows, code, &groups, exact_noise)};
}

static void
read_codes(const actnn_tile_work *work, actnn_tile tile, const uint8_t *sample, int levels, uint8_t *codes)
{
  unpack_levels(sample + actnn_codec_code_offset(work->codec, tile, levels), tile.rows, levels, codes);
}

/* Where a tile's rows are to be written one after the other: in place if they lie so in memory, else in `buffer`. */
static float *
place_of_rows(const actnn_tile_work *work, actnn_tile tile, void *value, float *buffer)
{
  if (work->writes_bfloat || !is_contiguous(work, tile))
    return buffer;
  return (float *)value + actnn_codec_element(work->codec, work->block, work->sample, tile.first_row, 0);
}

/* The same for reading. */
static const float *
rows_in_place(const actnn_tile_work *work, actnn_tile tile, const void *value, float *buffer)
{
  static const float zeros[LANES];
  if (!work->reads_bfloat && is_contiguous(work, tile))
    return (const float *)value + actnn_codec_element(work->codec, work->block, work->sample, tile.first_row, 0);
  gather(work, tile, value, zeros, buffer);
  return buffer;
}

static void
decode_rows(const actnn_tile_work *work, actnn_tile tile, const uint8_t *sample, const actnn_code *code, actnn_philox_key key, float *rows)
{
  uint8_t codes[ACTNN_TILE_ROWS * LANES];
  uint32_t draw[4][LANES] = {{0}}, of_row[LANES] = {0};
  tile_groups groups;
  read_headers(work, sample, code, &groups);
  read_codes(work, tile, sample, code->levels, codes);
  for (int64_t row = 0; row < tile.rows; row++) {
    if (code->dither) {
      if (row % EIGHT == 0)
        draw_eight(work, row / EIGHT, key, draw);
      for (int lane = 0; lane < LANES; lane++)
        of_row[lane] = DRAW_OF(draw, row % EIGHT, lane);
    }
    decode_row(codes + row * LANES, code->spacing, &groups, of_row, rows + row * LANES);
  }
}

static void
dequantize(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, actnn_philox_key key, void *value)
{
  float buffer[ACTNN_TILE_ROWS * LANES];
  actnn_tile tile = actnn_codec_tile(work->codec, work->tile);
  float *rows = place_of_rows(work, tile, value, buffer);
  decode_rows(work, tile, sample, code, key, rows);
  if (rows == buffer)
    scatter(work, tile, buffer, value);
}

static void
select_tile(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, const void *dy, void *dx)
{
  float buffer[ACTNN_TILE_ROWS * LANES], other[ACTNN_TILE_ROWS * LANES];
  uint8_t codes[ACTNN_TILE_ROWS * LANES];
  actnn_tile tile = actnn_codec_tile(work->codec, work->tile);
  const float *from = rows_in_place(work, tile, dy, buffer);
  float *to = place_of_rows(work, tile, dx, other);
  read_codes(work, tile, sample, code->levels, codes);
  for (int64_t i = 0; i < tile.rows * LANES; i++)
    to[i] = codes[i] ? from[i] : 0;
  if (to == other)
    scatter(work, tile, other, dx);
}

static void
multiply_tile(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, actnn_philox_key key, const void *dy, void *dx)
{
  float buffer[ACTNN_TILE_ROWS * LANES], other[ACTNN_TILE_ROWS * LANES], value[ACTNN_TILE_ROWS * LANES];
  actnn_tile tile = actnn_codec_tile(work->codec, work->tile);
  const float *from = rows_in_place(work, tile, dy, buffer);
  float *to = place_of_rows(work, tile, dx, other);
  decode_rows(work, tile, sample, code, key, value);
  for (int64_t i = 0; i < tile.rows * LANES; i++)
    to[i] = from[i] * value[i];
  if (to == other)
    scatter(work, tile, other, dx);
}
