/* test_library_failures.c: a trainer of convolutions and matrix products while oneDNN fails. The calls that libactnn makes of it come
 * through this program, which lets the n-th fail, for every n, or all of one kind. Where the library only has nothing to offer,
 * plain loops compute the same; where memory is short, no trainer is made; what fails in a step is told. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "library.h"
#include "small_model.h"
#include "tap.h"
#include "trainer.h"

#include <dlfcn.h>
#include <errno.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>

/* ---- oneDNN's calls ------------------------------------------------------------------------------- */

static int calls, failing;      /* calls so far, and the one that fails; 0: none */
static const char *failing_kind; /* all calls of this name fail; NULL: none */
static const char *last_failed;
static int error_number;        /* errno of a call that fails */

/* oneDNN's calls of itself come here too, and do not count. */
static bool
call_fails(const char *name, const void *caller)
{
  Dl_info of_caller, of_runtime;
  if (!dladdr(caller, &of_caller) || !dladdr((const void *)(uintptr_t)actnn_create, &of_runtime) || of_caller.dli_fbase != of_runtime.dli_fbase)
    return false;
  bool is_it = ++calls == failing || (failing_kind && !strcmp(name, failing_kind));
  if (is_it) {
    last_failed = name;
    errno = error_number;
  }
  return is_it;
}

#if DNNL_VERSION_MAJOR == 2
#define WRAP(NAME, PARAMETERS, ...) \
  dnnl_status_t NAME PARAMETERS \
  { \
    static dnnl_status_t(*real) PARAMETERS; \
    if (!real) \
      *(void **)(void *)&real = dlsym(RTLD_NEXT, #NAME); \
    return call_fails(#NAME, __builtin_return_address(0)) ? dnnl_unimplemented : real(__VA_ARGS__); \
  }

WRAP(dnnl_memory_desc_init_by_tag, (dnnl_memory_desc_t * a, int b, const dnnl_dims_t c, dnnl_data_type_t d, dnnl_format_tag_t e), a, b, c, d, e)
WRAP(dnnl_memory_desc_init_by_strides, (dnnl_memory_desc_t * a, int b, const dnnl_dims_t c, dnnl_data_type_t d, const dnnl_dims_t e), a, b, c, d, e)
WRAP(dnnl_engine_create, (dnnl_engine_t * a, dnnl_engine_kind_t b, size_t c), a, b, c)
WRAP(dnnl_stream_create, (dnnl_stream_t * a, dnnl_engine_t b, unsigned c), a, b, c)
WRAP(dnnl_primitive_attr_create, (dnnl_primitive_attr_t * a), a)
WRAP(dnnl_primitive_attr_set_scratchpad_mode, (dnnl_primitive_attr_t a, dnnl_scratchpad_mode_t b), a, b)
WRAP(dnnl_primitive_attr_set_fpmath_mode, (dnnl_primitive_attr_t a, dnnl_fpmath_mode_t b), a, b)
WRAP(dnnl_post_ops_create, (dnnl_post_ops_t * a), a)
WRAP(dnnl_post_ops_append_sum, (dnnl_post_ops_t a, float b), a, b)
WRAP(dnnl_primitive_attr_set_post_ops, (dnnl_primitive_attr_t a, const_dnnl_post_ops_t b), a, b)
WRAP(dnnl_primitive_desc_query, (const_dnnl_primitive_desc_t a, dnnl_query_t b, int c, void *d), a, b, c, d)
WRAP(dnnl_memory_create, (dnnl_memory_t * a, const dnnl_memory_desc_t *b, dnnl_engine_t c, void *d), a, b, c, d)
WRAP(dnnl_primitive_create, (dnnl_primitive_t * a, const_dnnl_primitive_desc_t b), a, b)
WRAP(dnnl_reorder_primitive_desc_create,
     (dnnl_primitive_desc_t * a, const dnnl_memory_desc_t *b, dnnl_engine_t c, const dnnl_memory_desc_t *d, dnnl_engine_t e,
      const_dnnl_primitive_attr_t f),
     a, b, c, d, e, f)
WRAP(dnnl_primitive_desc_create,
     (dnnl_primitive_desc_t * a, const_dnnl_op_desc_t b, const_dnnl_primitive_attr_t c, dnnl_engine_t d, const_dnnl_primitive_desc_t e), a, b, c,
         d, e)
WRAP(dnnl_memory_get_data_handle, (const_dnnl_memory_t a, void **b), a, b)
WRAP(dnnl_memory_set_data_handle_v2, (dnnl_memory_t a, void *b, dnnl_stream_t c), a, b, c)
WRAP(dnnl_primitive_execute, (const_dnnl_primitive_t a, dnnl_stream_t b, int c, const dnnl_exec_arg_t *d), a, b, c, d)
WRAP(dnnl_stream_wait, (dnnl_stream_t a), a)
WRAP(dnnl_matmul_desc_init,
     (dnnl_matmul_desc_t * a, const dnnl_memory_desc_t *b, const dnnl_memory_desc_t *c, const dnnl_memory_desc_t *d, const dnnl_memory_desc_t *e),
         a, b,
     c, d, e)
WRAP(dnnl_dilated_convolution_forward_desc_init,
     (dnnl_convolution_desc_t * a, dnnl_prop_kind_t b, dnnl_alg_kind_t c, const dnnl_memory_desc_t *d, const dnnl_memory_desc_t *e,
      const dnnl_memory_desc_t *f, const dnnl_memory_desc_t *g, const dnnl_dims_t h, const dnnl_dims_t i, const dnnl_dims_t j, const dnnl_dims_t k),
     a, b, c, d, e, f, g, h, i, j, k)
WRAP(dnnl_dilated_convolution_backward_data_desc_init,
     (dnnl_convolution_desc_t * a, dnnl_alg_kind_t b, const dnnl_memory_desc_t *c, const dnnl_memory_desc_t *d, const dnnl_memory_desc_t *e,
      const dnnl_dims_t f, const dnnl_dims_t g, const dnnl_dims_t h, const dnnl_dims_t i),
     a, b, c, d, e, f, g, h, i)
WRAP(dnnl_dilated_convolution_backward_weights_desc_init,
     (dnnl_convolution_desc_t * a, dnnl_alg_kind_t b, const dnnl_memory_desc_t *c, const dnnl_memory_desc_t *d, const dnnl_memory_desc_t *e,
      const dnnl_memory_desc_t *f, const dnnl_dims_t g, const dnnl_dims_t h, const dnnl_dims_t i, const dnnl_dims_t j),
     a, b, c, d, e, f, g, h, i, j)

const dnnl_memory_desc_t *
dnnl_primitive_desc_query_md(const_dnnl_primitive_desc_t description, dnnl_query_t what, int index)
{
  static const dnnl_memory_desc_t *(*real)(const_dnnl_primitive_desc_t, dnnl_query_t, int);
  if (!real)
    *(void **)(void *)&real = dlsym(RTLD_NEXT, "dnnl_primitive_desc_query_md");
  /* That there is no scratch is an answer, not a failure. */
  return what != dnnl_query_scratchpad_md && call_fails("dnnl_primitive_desc_query_md", __builtin_return_address(0)) ? NULL : real(description,
      what, index);
}
#endif

/* ---- a trainer that uses them ----------------------------------------------------------------------- */

enum { t_x, t_w, t_b, t_y, t_dx, t_dw, t_up, t_few, t_a, t_m, t_p, t_dm, t_stack, t_other, t_sum, t_count };
enum { PLACE = 1 << 16 };
#define TABLE(name, layout, rank, ...) [t_##name] = {ACTNN_F32, layout, rank, {__VA_ARGS__}, t_##name * PLACE, PLACE}
static const actnn_tensor tensors[] = {
    TABLE(x, ACTNN_BLOCKED, 4, 2, 19, 9, 7),  TABLE(w, ACTNN_PLAIN, 4, 21, 19, 3, 3), TABLE(b, ACTNN_PLAIN, 1, 21),
    TABLE(y, ACTNN_BLOCKED, 4, 2, 21, 9, 7),  TABLE(dx, ACTNN_BLOCKED, 4, 2, 19, 9, 7), TABLE(dw, ACTNN_PLAIN, 4, 21, 19, 3, 3),
    TABLE(up, ACTNN_BLOCKED, 4, 2, 19, 9, 7), TABLE(few, ACTNN_PLAIN, 1, 19),         TABLE(a, ACTNN_PLAIN, 2, 33, 65),
    TABLE(m, ACTNN_PLAIN, 2, 65, 17),         TABLE(p, ACTNN_PLAIN, 2, 33, 17),       TABLE(dm, ACTNN_PLAIN, 2, 65, 17),
    TABLE(stack, ACTNN_PLAIN, 4, 2, 3, 7, 9), TABLE(other, ACTNN_PLAIN, 4, 2, 3, 7, 11), TABLE(sum, ACTNN_PLAIN, 4, 2, 1, 9, 11)};
static const uint32_t drawn[] = {t_x, t_w, t_b, t_few, t_a, t_m, t_stack, t_other};
static const uint32_t results[] = {t_y, t_dx, t_dw, t_up, t_p, t_dm, t_sum};

/* Random numbers; the lanes of a blocked image beyond its channels stay zero. */
static int
draw(const actnn_call *call)
{
  const actnn_view *y = &call->output[0];
  int lanes = y->layout == ACTNN_BLOCKED ? call->trainer->channel_block : 1;
  uint64_t state = 88172645463325252u + y->id;
  int64_t positions = 1, all = 1, channels = y->rank > 1 ? y->dim[1] : 1, blocks = (channels + lanes - 1) / lanes;
  if (actnn_is_preparing(call))
    return 0;
  for (int i = 0; i < y->rank; i++)
    all *= y->dim[i], positions *= i > 1 ? y->dim[i] : 1;
  for (int64_t i = 0; i < all; i++) {
    int64_t n = i / (positions * channels), c = i / positions % channels, p = i % positions;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    at(y)[y->layout == ACTNN_BLOCKED ? ((n * blocks + c / lanes) * positions + p) * lanes + c % lanes : i] = (float)(state >> 40) / 8388608 - 1;
  }
  return 0;
}

static int
initialize(actnn *trainer)
{
  for (size_t i = 0; i < sizeof drawn / sizeof *drawn; i++)
    RUN(draw, OUT(drawn[i]), IN(NONE), WITHOUT);
  return 0;
}

#define WINDOW WITH(TEXT("NOTSET"), INTS(3, 3), INTS(1, 1), INTS(1, 1), INTS(1, 1, 1, 1), INT(1))

static int
evaluate(actnn *trainer)
{
  RUN(actnn_Conv, OUT(t_y), IN(t_x, t_w, t_b), WINDOW);
  RUN(actnn_ConvGradInput, OUT(t_dx), IN(t_y, t_w), WINDOW);
  RUN(actnn_ConvGradWeight, OUT(t_dw), IN(t_y, t_x), WINDOW);
  RUN(actnn_ConvTranspose, OUT(t_up), IN(t_y, t_w, t_few), WINDOW);
  RUN(actnn_Product, OUT(t_p), IN(t_a, t_m, NONE), WITH(INT(0), INT(0)));
  RUN(actnn_ProductGradWeight, OUT(t_dm), IN(t_p, t_a), WITH(INT(0), INT(0)));
  RUN(actnn_ProductGradWeight, OUT(t_sum), IN(t_other, t_stack), WITH(INT(0), INT(0)));
  return 0;
}

static const actnn_model model = {.version = ACTNN_VERSION, .name = "library", .tensor = tensors, .tensor_count = t_count, .batch = 1,
                                  .arena_bytes = t_count * PLACE, .label = NONE, .loss = NONE, .evaluation_loss = NONE, .evaluation_output = NONE, .evaluation_losses = NONE,
                                  .learning_rate = NONE, .step_number = NONE, .training_output = NONE, .workspace_offset = t_count * PLACE,
                                  .initialize = initialize, .evaluate = evaluate};

static unsigned char right[t_count][PLACE];
static int block;

typedef enum ending { REFUSED, FAILED, DIFFERENT, SAME } ending;

/* Makes the trainer and lets it compute everything twice. */
static ending
live(char *error, size_t bytes, bool is_first)
{
  trainer_options options = {.threads = 1, .quiet = true, .channel_block = block};
  *error = 0;
  actnn *trainer = trainer_create(&model, &options, error, bytes);
  if (!trainer)
    return REFUSED;
  ending ending = SAME;
  if (actnn_evaluate_batch(trainer, NULL) || actnn_evaluate_batch(trainer, NULL)) {
    snprintf(error, bytes, "%s", actnn_error(trainer));
    ending = FAILED;
  }
  for (size_t i = 0; i < sizeof results / sizeof *results && ending == SAME; i++) {
    const float *got = actnn_data(trainer, results[i]), *wanted = (const float *)(const void *)right[results[i]];
    double distance = 0, norm = 0;
    for (size_t k = 0; k < PLACE / sizeof *got; k++) {
      distance += ((double)got[k] - wanted[k]) * ((double)got[k] - wanted[k]);
      norm += (double)wanted[k] * wanted[k];
    }
    if (is_first)
      memcpy(right[results[i]], got, PLACE);
    else if (!(distance <= 1e-10 * norm) || norm == 0) {
      snprintf(error, bytes, "result %u is %g away", (unsigned)i, sqrt(distance / norm));
      ending = DIFFERENT;
    }
  }
  actnn_destroy(trainer);
  return ending;
}

/* ---- points --------------------------------------------------------------------------------------- */

/* Every call by itself. */
static void
test_each(void)
{
  static const char *const name[] = {"a refused trainer", "a message", "another result", "the same result"};
  int count[4] = {0}, wrong = 0, all;
  char error[512];
  calls = failing = 0;
  ending first = live(error, sizeof error, false);
  all = calls;
  ok(first == SAME && all > 50, "blocks of %d: %d calls of oneDNN, the same again %s", block, all, error);
  for (failing = 1; failing <= all; failing++) {
    calls = 0;
    ending ending = live(error, sizeof error, false);
    bool is_good = ending == SAME || (ending == FAILED && strstr(error, "oneDNN's") && strstr(error, "failed"));
    count[ending]++;
    wrong += !is_good;
    if (!is_good)
      printf("# call %d, %s: %s: %s\n", failing, last_failed, name[ending], error);
  }
  failing = 0;
  ok(!wrong && count[SAME] > 30 && count[FAILED] > 10, "each of them failing: %d times the same result, %d times a message", count[SAME],
     count[FAILED]);
  calls = 0;
  wrong = 0;
  error_number = ENOMEM;
  for (failing = 1; failing <= all; failing++) {
    calls = 0;
    ending ending = live(error, sizeof error, false);
    bool is_good = ending != DIFFERENT && (ending != REFUSED || strstr(error, "library: no memory for the library's primitives"));
    wrong += !is_good;
    if (!is_good)
      printf("# call %d, %s: %s: %s\n", failing, last_failed, name[ending], error);
  }
  failing = error_number = 0;
  ok(!wrong, "for want of memory: a trainer that says so, or the same result");
}

/* All calls of a kind. */
static void
test_kinds(void)
{
  static const struct {
    const char *name;
    bool is_in_steps;
  } kinds[] = {{"dnnl_memory_desc_init_by_tag", false}, {"dnnl_memory_desc_init_by_strides", false}, {"dnnl_engine_create", false},
               {"dnnl_stream_create", false}, {"dnnl_primitive_attr_create", false}, {"dnnl_primitive_attr_set_scratchpad_mode", false},
               {"dnnl_primitive_attr_set_fpmath_mode", false}, {"dnnl_primitive_desc_query", false}, {"dnnl_memory_create", false},
               {"dnnl_primitive_create", false}, {"dnnl_reorder_primitive_desc_create", false}, {"dnnl_primitive_desc_create", false},
               {"dnnl_matmul_desc_init", false}, {"dnnl_dilated_convolution_forward_desc_init", false},
               {"dnnl_dilated_convolution_backward_data_desc_init", false}, {"dnnl_dilated_convolution_backward_weights_desc_init", false},
               {"dnnl_post_ops_create", false}, {"dnnl_primitive_attr_set_post_ops", false}, {"dnnl_primitive_desc_query_md", false},
               {"dnnl_memory_get_data_handle", true}, {"dnnl_memory_set_data_handle_v2", true}, {"dnnl_primitive_execute", true},
               {"dnnl_stream_wait", true}};
  char error[512];
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    failing_kind = kinds[i].name;
    last_failed = NULL;
    ending ending = live(error, sizeof error, false);
    failing_kind = NULL;
    bool is_used = last_failed || !strcmp(kinds[i].name, "dnnl_reorder_primitive_desc_create"); /* not where all lies as the library likes it */
    ok(is_used && (kinds[i].is_in_steps ? ending == FAILED && strstr(error, "oneDNN's") : ending == SAME), "blocks of %d: without %s %s%s", block,
       kinds[i].name, kinds[i].is_in_steps ? "it is said: " : "plain loops compute the same", error);
  }
}

static int
evaluate_one(actnn *trainer)
{
  RUN(actnn_Conv, OUT(t_y), IN(t_x, t_w, t_b), WINDOW);
  return 0;
}

static int
evaluate_many(actnn *trainer)
{
  static const uint32_t many[17] = {t_x, t_w, t_b};
  return actnn_run(trainer, actnn_Conv, OUT(t_y), (actnn_list){17, many}, WINDOW);
}

static int
evaluate_many_results(actnn *trainer)
{
  static const uint32_t many[17] = {t_y};
  return actnn_run(trainer, actnn_Conv, (actnn_list){17, many}, IN(t_x, t_w, t_b), WINDOW);
}

/* Without the library: the message that there is. */
static void
refuse_plain(actnn_function *function, const char *message)
{
  actnn_model other = model;
  trainer_options options = {.threads = 1, .quiet = true, .channel_block = 8};
  char error[512] = "";
  other.evaluate = function;
  failing_kind = "dnnl_primitive_desc_create";
  actnn *trainer = trainer_create(&other, &options, error, sizeof error);
  failing_kind = NULL;
  ok(!trainer && strstr(error, message), "plain loops: %s", error);
  actnn_destroy(trainer);
}

/* What no kernel asks for. */
static void
test_refusals(void)
{
  trainer_options options = {.threads = 1, .quiet = true, .channel_block = 8};
  void *const address[LIBRARY_OPERANDS] = {0};
  actnn *trainer = trainer_create(&model, &options, NULL, 0);
  ok(library_run(trainer, t_a, address) && strstr(actnn_error(trainer), "tensor 8: its primitive was not prepared"), "%s", actnn_error(trainer));
  ok(library_run(trainer, t_count, address) && strstr(actnn_error(trainer), "tensor 15: its primitive was not prepared"), "%s", actnn_error(trainer));
  library_convolution convolution = {.window = {.spatial = 0}};
  ok(!library_make_convolution(trainer, t_a, &convolution), "no convolution without axes");
  convolution.window.spatial = WINDOW_AXES + 1;
  ok(!library_make_convolution(trainer, t_a, &convolution), "nor with too many");
  library_product product = {.batch_rank = ACTNN_MAX_RANK + 1, .rows = 2, .inner = 2, .columns = 2};
  product.a.row = product.b.row = product.y.row = 2;
  product.a.column = product.b.column = product.y.column = 1;
  ok(!library_make_product(trainer, t_a, &product), "no product with too many batch axes");
  product.batch_rank = 0;
  ok(!library_make_product(trainer, t_count, &product) && library_make_product(trainer, t_a, &product) && library_has(trainer, t_a),
     "nor one of a tensor that is none");
  ok(trainer->workspace_bytes > 0, "the library wants scratch");
  trainer->workspace_bytes = 0;
  ok(actnn_evaluate_batch(trainer, NULL) && strstr(actnn_error(trainer), "the workspace of 0 bytes is too small"), "%s", actnn_error(trainer));
  actnn_destroy(trainer);
  failing_kind = "dnnl_primitive_desc_create";
  trainer = trainer_create(&model, &options, NULL, 0);
  failing_kind = NULL;
  trainer->workspace_bytes = 64;
  ok(actnn_evaluate_batch(trainer, NULL) && strstr(actnn_error(trainer), "tensor 3: the workspace of 64 bytes is too small"), "%s",
     actnn_error(trainer));
  actnn_destroy(trainer);
  refuse_plain(evaluate_many, "a kernel has more than 16 operands");
  refuse_plain(evaluate_many_results, "a kernel has more than 16 operands");
}

/* One extent is zero: there is nothing for the library to do, and plain loops touch nothing else. */
static void
test_empty(void)
{
  static const struct {
    uint32_t changed[3];
    int axis[3];
    const char *what;
  } cases[] = {{{t_x, t_y, t_y}, {0, 0, 0}, "samples"}, {{t_y, t_y, t_y}, {2, 2, 2}, "rows in the result"}, {{t_w, t_y, t_b}, {0, 1, 0}, "filters"}};
  trainer_options options = {.threads = 1, .quiet = true, .channel_block = 8};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    actnn_tensor changed[t_count];
    actnn_model other = model;
    memcpy(changed, tensors, sizeof changed);
    for (int k = 0; k < 3; k++)
      changed[cases[i].changed[k]].dim[cases[i].axis[k]] = 0;
    other.tensor = changed;
    other.initialize = NULL;
    other.evaluate = evaluate_one;
    actnn *trainer = trainer_create(&other, &options, NULL, 0);
    float *y = trainer ? actnn_data(trainer, t_y) : NULL;
    for (int k = 0; y && k < PLACE / 4; k++)
      y[k] = 7;
    bool is_untouched = y && !library_has(trainer, t_y) && !actnn_evaluate_batch(trainer, NULL);
    for (int k = 0; is_untouched && k < PLACE / 4; k++)
      is_untouched = y[k] == 7;
    ok(is_untouched, "a convolution without %s writes nothing %s", cases[i].what, trainer ? actnn_error(trainer) : "");
    actnn_destroy(trainer);
  }
}

int
main(void)
{
#if DNNL_VERSION_MAJOR == 2
  static const int blocks[] = {1, 8, 16};
  char error[512];
  for (int i = 0; i < 3; i++) {
    block = blocks[i];
    ok(live(error, sizeof error, true) == SAME, "blocks of %d: a trainer of convolutions and products %s", block, error);
    test_each();
    test_kinds();
  }
  test_refusals();
  test_empty();
#else
  printf("1..0 # SKIP the calls of another version of oneDNN are wrapped here\n");
  return 0;
#endif
  return tap_done();
}
