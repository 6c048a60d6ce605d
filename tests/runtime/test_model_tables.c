/* test_model_tables.c: tables of an emitted source that contradict each other or the memory plan, one change at a time, are refused. */
#include "changed_model.h"

static void
test_tensors(void)
{
  const char *message = "small: tensor 0 does not fit its place in the arena";
  REFUSES("version 7, this runtime is of version 9", c.model.version = 7);
  REFUSES(message, c.tensor[v_w1].type = ACTNN_STRING);
  REFUSES(message, c.tensor[v_w1].type = ACTNN_UNDEFINED);
  REFUSES(message, c.tensor[v_w1].rank = ACTNN_MAX_RANK + 1);
  REFUSES(message, c.tensor[v_w1].layout = ACTNN_STASH + 1);
  REFUSES(message, c.tensor[v_w1].dim[0] = -1);
  REFUSES(message, c.tensor[v_w1].dim[0] = INT64_MAX);
  REFUSES(message, c.tensor[v_w1].bytes -= 1);
  REFUSES(message, c.tensor[v_w1].bytes = at_end + 64);
  REFUSES(message, c.tensor[v_w1].offset = at_end);
  REFUSES(message, c.tensor[v_w1].offset = UINT64_MAX - 63);
  REFUSES(message, c.tensor[v_w1].offset = 32);
}

/* Elements of every type take their bytes: as many are enough, one less is not. */
static void
test_types(void)
{
  static const struct {
    actnn_type type;
    uint64_t bytes;
    const char *name;
  } types[] = {{ACTNN_U8, 1, "uint8"}, {ACTNN_I8, 1, "int8"}, {ACTNN_BOOL, 1, "bool"}, {ACTNN_U16, 2, "uint16"},
               {ACTNN_I16, 2, "int16"}, {ACTNN_F16, 2, "float16"}, {ACTNN_BF16, 2, "bfloat16"}, {ACTNN_F32, 4, "float32"},
               {ACTNN_I32, 4, "int32"}, {ACTNN_U32, 4, "uint32"}, {ACTNN_F64, 8, "float64"}, {ACTNN_I64, 8, "int64"},
               {ACTNN_U64, 8, "uint64"}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    changed c;
    char error[512] = "";
    copy_model(&c);
    c.tensor[v_dw1] = (actnn_tensor){(uint8_t)types[i].type, ACTNN_PLAIN, 1, {77}, at_dw1, 77 * types[i].bytes};
    actnn *trainer = actnn_create(&c.model, 1, 1, error, sizeof error);
    ok(trainer && trainer_elements(&c.tensor[v_dw1]) == 77, "77 elements of %s have room in %u bytes %s", types[i].name,
       (unsigned)c.tensor[v_dw1].bytes, error);
    actnn_destroy(trainer);
    c.tensor[v_dw1].bytes--;
    refuse(&c.model, types[i].name, "tensor 20 does not fit");
  }
}

static void
test_tables(void)
{
  const char *variable = "small: variable 1 is not a plain tensor", *input = "small: input 0 is not a plain tensor with samples";
  const char *plan = "small: the memory plan contradicts itself";
  REFUSES(variable, c.variable[1].tensor = v_count);
  REFUSES(variable, c.variable[1].tensor = v_stash);
  REFUSES(input, c.input[0].tensor = v_count);
  REFUSES(input, c.input[0].tensor = v_stash);
  REFUSES(input, c.input[0].tensor = v_loss);
  REFUSES(input, c.tensor[v_images].dim[0] = 0);
  REFUSES("names tensor 24, which it does not have", c.model.loss = v_count);
  REFUSES("names tensor 24, which it does not have", c.model.evaluation_loss = v_count);
  REFUSES("names tensor 24, which it does not have", c.model.evaluation_output = v_count);
  REFUSES("names tensor 24, which it does not have", c.model.evaluation_losses = v_count);
  REFUSES("names tensor 24, which it does not have", c.model.learning_rate = v_count);
  REFUSES("names tensor 24, which it does not have", c.model.step_number = v_count);
  REFUSES("names tensor 24, which it does not have", c.model.training_output = v_count);
  REFUSES("names label input 2, which it does not have", c.model.label = 2);
  REFUSES("learning rate must be float32", c.tensor[v_rate].type = ACTNN_F64);
  REFUSES("the step number int64", c.tensor[v_step].type = ACTNN_I32);
  REFUSES(plan, c.model.workspace_bytes = at_end + 64);
  REFUSES(plan, c.model.workspace_offset = at_end + 64);
  REFUSES(plan, c.model.stash_bytes = at_end + 64);
  REFUSES(plan, c.model.stash_offset = at_end);
  REFUSES(plan, c.model.window_bytes = c.model.stash_bytes + 64);
  REFUSES(plan, c.model.exact_bytes = at_end + 64);
  REFUSES(plan, c.model.exact_bytes = UINT64_MAX - 63);
  REFUSES(plan, c.model.variable_bytes = at_end + 64);
  REFUSES(plan, c.model.batch = 0);
  REFUSES("more than this machine can address", c.model.arena_bytes = UINT64_MAX / 2 + 1);
  REFUSES("cannot reserve 1099511627776.0 MiB", c.model.arena_bytes = UINT64_C(1) << 60);
}

static void
test_saves(void)
{
  REFUSES("hidden: the model allows none of the numbers of levels", c.save[0].choices = 0);
  REFUSES("hidden: its extents cannot be coded", c.save[0].spacing = ACTNN_NORMAL_LEVELS);
  REFUSES("hidden: only float values can be quantized", c.tensor[v_hidden].type = ACTNN_I32);
  changed c;
  copy_model(&c);
  c.model.stash_bytes = 0;
  fails(&c.model, "coded values need more than the 0 bytes planned for them, at hidden", "a pool without bytes");
  copy_model(&c);
  c.tensor[v_stash].bytes = 128;
  fails(&c.model, "hidden: its 128 bytes of the pool do not hold the fewest levels", "a share that is too small");
  c.save[0].adaptation = ACTNN_KEEPS_ITS_SHARE;
  fails(&c.model, "hidden: its 128 bytes of the pool do not hold the fewest levels", "and one that is kept");
  copy_model(&c);
  c.model.forward = small_evaluate;
  c.model.backward = small_initialize;
  fails(&c.model, "hidden: it is never coded", "a save that no function codes");
}

int
main(void)
{
  test_tensors();
  test_types();
  test_tables();
  test_saves();
  return tap_done();
}
