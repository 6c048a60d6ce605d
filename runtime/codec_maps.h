/* codec_maps.h: where in a sample squares and variances are, position by position. Part of codec.c. */

static void
squares_map(const actnn_tile_work *work, const void *value, double *map)
{
  float buffer[ACTNN_TILE_ROWS * LANES];
  actnn_tile tile = actnn_codec_tile(work->codec, work->tile);
  const float *rows = rows_in_place(work, tile, value, buffer);
  for (int64_t row = 0; row < tile.rows; row++) {
    float sum = 0;
    for (int lane = 0; lane < valid_lanes(work->codec, tile.first_row + row); lane++)
      sum += rows[row * LANES + lane] * rows[row * LANES + lane];
    map[(tile.first_row + row) % work->codec->positions] += sum;
  }
}

/* Variance of a code of a lane. The steps of square levels grow with the level. */
static float
variance_of_code(const actnn_code *code, const tile_groups *groups, int lane, uint32_t level)
{
  float step = groups->step[lane], variance = step * step * (code->dither ? 1.0f / 12 : 1.0f / 6);
  if (code->spacing == ACTNN_SQUARE_LEVELS) {
    float width = 2 * (float)level + 1;
    return step * step * width * width / 6;
  }
  if (code->spacing == ACTNN_MASKED_LEVELS && level == 0)
    return 0;
  return code->dither && groups->dither[lane] == 0 ? 0 : variance;
}

/* Variances of y for the lanes of a segment: of values that the rectifier passes, whichever side of the threshold they are on. */
static void
normal_variances(const normal_decoding *decoding, const float *scale, float *passing)
{
  for (int lane = 0; lane < LANES; lane++)
    passing[lane] = (float)passing_variance(decoding, lane) * scale[lane] * scale[lane];
}

static void
normal_noise_map(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, const actnn_affine *affine, double *map)
{
  normal_decoding decoding;
  float scale[LANES], passing[LANES];
  actnn_code plain = *code;
  plain.dither = false; /* what a code means does not matter here, only which side it is on */
  open_normal(&decoding, work, sample, &plain, (actnn_philox_key){{0, 0}}, affine);
  for (int64_t done = 0, rows; done < decoding.at.rows; done += rows) {
    int64_t first = decoding.at.first_row + done;
    rows = decode_segment(&decoding, done);
    decoding.code = code;
    channel_lanes(work->codec, first, affine->scale, scale);
    normal_variances(&decoding, scale, passing);
    decoding.code = &plain;
    for (int64_t row = 0; row < rows; row++) {
      float sum = 0;
      for (int lane = 0; lane < valid_lanes(work->codec, first); lane++)
        sum += affine->rectified && !decoding.passed[row * LANES + lane] ? 0 : passing[lane];
      map[(first + row) % work->codec->positions] += sum;
    }
  }
}

static void
noise_map(const actnn_tile_work *work, const uint8_t *sample, const actnn_code *code, const actnn_affine *affine, double *map)
{
  uint8_t codes[ACTNN_TILE_ROWS * LANES];
  tile_groups groups;
  actnn_tile tile = actnn_codec_tile(work->codec, work->tile);
  if (code->spacing == ACTNN_NORMAL_LEVELS) {
    normal_noise_map(work, sample, code, affine, map);
    return;
  }
  read_headers(work, sample, code, &groups);
  read_codes(work, tile, sample, code->levels, codes);
  for (int64_t row = 0; row < tile.rows; row++) {
    int64_t at = tile.first_row + row, first = at / work->codec->positions * LANES;
    float sum = 0;
    for (int lane = 0; lane < valid_lanes(work->codec, at); lane++) {
      float scale = affine->scale ? affine->scale[first + lane] : 1;
      sum += variance_of_code(code, &groups, lane, codes[row * LANES + lane]) * scale * scale;
    }
    map[at % work->codec->positions] += sum;
  }
}
