/* command_line.h: what the user of a trainer asked for. */
#ifndef ACTNN_COMMAND_LINE_H
#define ACTNN_COMMAND_LINE_H

#include "batch.h"
#include "schedule.h"
#include "variance.h"

typedef struct text_list {
  const char *text[DATA_MAX_ARRAYS];
  size_t count;
} text_list;

typedef struct command_options {
  text_list data, eval;
  bool has_epochs, has_steps, has_rate, has_seed, no_shuffle, quiet, memory, profile, skips, tensor_float, may_vary, help;
  uint64_t epochs, steps, seed, every;
  double rate;
  schedule schedule;
  augmentation augmentation;
  int threads, channel_block;
  const char *checkpoint, *resume, *export, *log, *weights, *profile_generate, *dump_gradients;
  variance_request variance; /* draws 0: not asked for */
} command_options;

/* False after a message on stderr. */
bool command_line_parse(command_options *options, int argc, char **argv);
void command_line_help(const char *program, const actnn_model *model, FILE *stream);

#endif
