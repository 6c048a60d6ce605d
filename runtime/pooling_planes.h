/* pooling_planes.h: the windows of one plane, included by pooling.c once for each number of lanes (WIDTH). All
 * lanes of a position are one vector, which the compiler spreads over what registers the machine has. */
#define JOINED(name, width) name##_##width
#define JOIN(name, width) JOINED(name, width)
#define PLANE(name) JOIN(name, WIDTH)
#define reals JOIN(reals, WIDTH)
#define integers JOIN(integers, WIDTH)

typedef float reals __attribute__((vector_size(WIDTH * sizeof(float))));
typedef int32_t integers __attribute__((vector_size(WIDTH * sizeof(int32_t))));

#define LOAD(vector, from) memcpy(&(vector), (from), sizeof(vector))
#define STORE(to, vector) memcpy((to), &(vector), sizeof(vector))
/* yes where the mask is set, no elsewhere; of integers */
#define CHOOSE(mask, yes, no) (((mask) & (yes)) | (~(mask) & (no)))

/* The first of the largest; a NaN is larger than all. */
static void
PLANE(max_plane)(const plane *plane)
{
  const Window *window = plane->window;
  FOR_EACH_RESULT(window)
  {
    taps[2] = taps_at(window, 2, x);
    bool is_empty = taps[0].first == taps[0].last || taps[1].first == taps[1].last || taps[2].first == taps[2].last;
    int64_t first = (taps[0].first * window->kernel[1] + taps[1].first) * window->kernel[2] + taps[2].first;
    reals best = (reals){0} - INFINITY;
    integers at = (integers){0} + (is_empty ? 0 : (int32_t)first);
    FOR_EACH_ROW
    {
      const float *row = plane->image + row_place(window, taps, kz, ky) * WIDTH;
      int64_t tap = (kz * window->kernel[1] + ky) * window->kernel[2];
      for (int64_t kx = taps[2].first; kx < taps[2].last; kx++) {
        reals value;
        LOAD(value, row + kx * window->dilation[2] * WIDTH);
        integers is_larger = (value > best) | (value != value), here = (integers){0} + (int32_t)(tap + kx);
        at = CHOOSE(is_larger, here, at);
        best = (reals)CHOOSE(is_larger, (integers)value, (integers)best);
      }
    }
    STORE(plane->result + o * WIDTH, best);
    for (int lane = 0; lane < WIDTH; lane++) plane->offset[o * WIDTH + lane] = (uint8_t)at[lane];
    for (int lane = plane->used; lane < WIDTH; lane++) {
      plane->result[o * WIDTH + lane] = 0;
      plane->offset[o * WIDTH + lane] = 0;
    }
  }
}

/* Each tap takes the gradient where the offset names it: as many steps as the window has taps, but all lanes at once. */
static void
PLANE(max_grad_plane)(const plane *plane)
{
  const Window *window = plane->window;
  memset(plane->image, 0, (size_t)window_volume(window->input) * WIDTH * sizeof(float));
  FOR_EACH_RESULT(window)
  {
    taps[2] = taps_at(window, 2, x);
    reals gradient;
    integers at = {0};
    LOAD(gradient, plane->result + o * WIDTH);
    for (int lane = 0; lane < WIDTH; lane++) at[lane] = plane->offset[o * WIDTH + lane];
    FOR_EACH_ROW
    {
      float *row = plane->image + row_place(window, taps, kz, ky) * WIDTH;
      int64_t tap = (kz * window->kernel[1] + ky) * window->kernel[2];
      for (int64_t kx = taps[2].first; kx < taps[2].last; kx++) {
        reals sum;
        integers is_here = at == (integers){0} + (int32_t)(tap + kx);
        LOAD(sum, row + kx * window->dilation[2] * WIDTH);
        sum += (reals)(is_here & (integers)gradient);
        STORE(row + kx * window->dilation[2] * WIDTH, sum);
      }
    }
  }
}

static void
PLANE(average_plane)(const plane *plane)
{
  const Window *window = plane->window;
  FOR_EACH_RESULT(window)
  {
    taps[2] = taps_at(window, 2, x);
    reals sum = {0};
    FOR_EACH_ROW
    {
      const float *row = plane->image + row_place(window, taps, kz, ky) * WIDTH;
      for (int64_t kx = taps[2].first; kx < taps[2].last; kx++) {
        reals value;
        LOAD(value, row + kx * window->dilation[2] * WIDTH);
        sum += value;
      }
    }
    sum *= average_scale(plane, taps, z, y, x);
    STORE(plane->result + o * WIDTH, sum);
  }
}

static void
PLANE(average_grad_plane)(const plane *plane)
{
  const Window *window = plane->window;
  memset(plane->image, 0, (size_t)window_volume(window->input) * WIDTH * sizeof(float));
  FOR_EACH_RESULT(window)
  {
    taps[2] = taps_at(window, 2, x);
    reals share;
    LOAD(share, plane->result + o * WIDTH);
    share *= average_scale(plane, taps, z, y, x);
    FOR_EACH_ROW
    {
      float *row = plane->image + row_place(window, taps, kz, ky) * WIDTH;
      for (int64_t kx = taps[2].first; kx < taps[2].last; kx++) {
        reals sum;
        LOAD(sum, row + kx * window->dilation[2] * WIDTH);
        sum += share;
        STORE(row + kx * window->dilation[2] * WIDTH, sum);
      }
    }
  }
}

#undef JOINED
#undef JOIN
#undef PLANE
#undef reals
#undef integers
#undef LOAD
#undef STORE
#undef CHOOSE
#undef WIDTH
