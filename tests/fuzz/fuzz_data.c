/* fuzz_data.c: bytes as a file of data. What is read becomes batches of a small model.
 *
 * Two bytes of the input choose: how the file is named to the trainer, and which model asks for it. */
#include "harness.h"

#include "batch.h"

enum { PREFIX = 2, INPUT_BYTES = 1 << 16, BATCH = 2 };

static const actnn_input inputs[] = {{0, "x"}, {1, "labels"}};
static actnn_tensor tensors[3];
static const actnn_model model = {.version = ACTNN_VERSION, .name = "inputs", .tensor = tensors, .input = inputs, .tensor_count = 3,
                                  .input_count = 2, .label = 1, .loss = NONE, .evaluation_loss = NONE, .evaluation_output = 2, .evaluation_losses = NONE,
                                  .learning_rate = NONE, .step_number = NONE, .training_output = NONE, .batch = BATCH,
                                  .loss_kind = ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY};

static void
choose_model(unsigned choice)
{
  static const actnn_tensor samples[] = {{.type = ACTNN_F32, .rank = 4, .dim = {BATCH, 3, 32, 32}},
                                         {.type = ACTNN_F32, .rank = 4, .dim = {BATCH, 1, 4, 4}},
                                         {.type = ACTNN_F32, .rank = 2, .dim = {BATCH, 6}},
                                         {.type = ACTNN_I64, .rank = 2, .dim = {BATCH, 8}}};
  tensors[0] = samples[choice % 4];
  tensors[1] = (actnn_tensor){.type = ACTNN_I64, .rank = 1, .dim = {BATCH}, .offset = INPUT_BYTES};
  tensors[2] = (actnn_tensor){.type = ACTNN_F32, .rank = 2, .dim = {BATCH, 10}};
  if (choice % 4 == 3) { /* tokens have a label each */
    tensors[1].rank = 2, tensors[1].dim[1] = 8;
    tensors[2].rank = 3, tensors[2].dim[1] = 8, tensors[2].dim[2] = 256;
  }
}

static void
use(const data_set *set, bool shuffle)
{
  static _Alignas(64) unsigned char arena[2 * INPUT_BYTES];
  actnn trainer = {.model = &model, .arena = arena, .threads = 1};
  batch_source source;
  if (batch_open(&source, &model, set, NULL)) {
    source.shuffle = shuffle;
    for (uint64_t step = 0; step < 3 && batch_count(&source); step++) batch_fill(&source, &trainer, step);
    batch_fill_in_order(&source, &trainer, source.samples / 2);
  } else {
    MUST(source.error[0]);
  }
  batch_close(&source);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size < PREFIX) return -1;
  static data_set set;
  const char *path = file_of(data + PREFIX, size - PREFIX);
  char bound[64];
  snprintf(bound, sizeof bound, "x=%s", path);
  const char *name = data[0] % 4 == 1 ? bound : path;
  memset(&set, 0, sizeof set);
  choose_model(data[1]);
  bool is_read = data[0] % 4 == 2 ? data_read_cifar(&set, &path, 1)
                                  : data_open(&set, &name, 1, data[0] & 8 ? DATA_TEST : DATA_TRAINING, &model);
  MUST(is_read == !set.error[0]);
  if (is_read) use(&set, data[1] & 8);
  data_close(&set);
  return 0;
}
