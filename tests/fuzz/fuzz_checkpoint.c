/* fuzz_checkpoint.c: bytes as a safetensors file: every tensor is read; and as a checkpoint, or weights, of a small model. What is
 * loaded is written again and loads again. */
#include "harness.h"

#include "checkpoint.h"
#include "safetensors.h"
#include "trainer.h"

enum { VARIABLES = 3 };

static const actnn_tensor tensors[] = {{.type = ACTNN_F32, .rank = 2, .dim = {2, 3}, .bytes = 64},
                                       {.type = ACTNN_F32, .rank = 1, .dim = {3}, .offset = 64, .bytes = 64},
                                       {.type = ACTNN_F32, .rank = 2, .dim = {2, 3}, .offset = 128, .bytes = 64},
                                       {.type = ACTNN_F32, .offset = 192, .bytes = 64}};
static const actnn_variable variables[VARIABLES] = {
    {0, "w", ACTNN_PARAMETER, false}, {1, "b", ACTNN_RUNNING, false}, {2, "w.momentum", ACTNN_OPTIMIZER, false}};
static const actnn_save saves[] = {{.tensor = 3, .name = "h"}};
static const actnn_model model = {.version = ACTNN_VERSION, .name = "small", .tensor = tensors, .variable = variables,
                                  .save = saves, .tensor_count = 4, .variable_count = VARIABLES, .save_count = 1, .label = NONE,
                                  .loss = 3, .evaluation_loss = NONE, .evaluation_output = NONE, .evaluation_losses = NONE, .learning_rate = NONE,
                                  .step_number = NONE, .training_output = NONE, .batch = 1, .arena_bytes = 256,
                                  .variable_bytes = 192, .stash_offset = 256, .workspace_offset = 256, .model_hash = 42};

static void
read_tensors(const char *path)
{
  safetensors_file file;
  if (!safetensors_open(&file, path)) {
    MUST(file.error[0]);
    return;
  }
  for (size_t i = 0; i < file.entry_count; i++) {
    const safetensors_entry *entry = &file.entry[i];
    uint32_t checksum;
    MUST(safetensors_find(&file, entry->name) == entry);
    unsigned char *bytes = malloc((size_t)entry->bytes + 1);
    MUST(bytes && safetensors_read(&file, entry, bytes) && safetensors_checksum(&file, entry, &checksum));
    free(bytes);
  }
  for (size_t i = 0; i < file.metadata_count; i++) MUST(safetensors_metadata(&file, file.metadata[i].key));
  safetensors_close(&file);
}

static actnn *trainer;

/* With WRITE_SEED=FILE a checkpoint is written, to start from. */
int LLVMFuzzerInitialize(int *count, char ***arguments);
int
LLVMFuzzerInitialize(int *count, char ***arguments)
{
  const char *seed = getenv("WRITE_SEED");
  char reason[200];
  (void)count, (void)arguments;
  trainer = trainer_create(&model, &(trainer_options){.threads = 1, .channel_block = 1, .quiet = true}, reason, sizeof reason);
  MUST(trainer);
  if (seed) exit(actnn_save_checkpoint(trainer, seed));
  return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const char *path = file_of(data, size);
  read_tensors(path);
  trainer->error[0] = 0;
  checkpoint_kind kind = checkpoint_load(trainer, path);
  MUST(kind != CHECKPOINT_NONE || trainer->error[0]);
  trainer->error[0] = 0;
  MUST(!checkpoint_load_weights(trainer, path) || trainer->error[0]);
  return 0;
}
