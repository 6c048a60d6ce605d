/* emit_c.c: the emitted trainer: tables for tensors, inputs, variables and saves, then one call a node.
 *
 * Nothing of a model reaches the source but through `quoted` (string literals, everything but [A-Za-z0-9_./:-] as octal escapes),
 * `safe_name` (comments), numbers, and steps of joined nodes, which have a grammar of their own. Identifiers are numbers with a letter. */
#include "emit.h"

#include "../passes/passes.h"
#include "joined.h"
#include "program_identity.h"
#include "text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Emitter {
  Program *program;
  const Options *options;
  const char *name;
  Text text;
  uint32_t *number; /* by value: its number in the emitted table, NO_VALUE if it has none */
  ValueId *value;   /* by number */
  uint32_t tensor_count;
  bool has_kernels; /* beside the source: of joined nodes, for a GPU */
} Emitter;

/* ---- words --------------------------------------------------------------------------------------- */

static const char *
quoted(Arena *arena, const char *name)
{
  Text text = {.arena = arena};
  text_append(&text, "\"");
  for (const unsigned char *at = (const unsigned char *)(name ? name : ""); *at; at++) {
    bool is_plain = (*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || strchr("_./:-", *at);
    if (is_plain) text_append_bytes(&text, at, 1);
    else text_append(&text, "\\%03o", *at);
  }
  text_append(&text, "\"");
  return text.bytes;
}

static const char *
c_type(actnn_type type)
{
  switch (type) {
  case ACTNN_F32: return "ACTNN_F32";
  case ACTNN_BF16: return "ACTNN_BF16";
  case ACTNN_U8: return "ACTNN_U8";
  case ACTNN_BOOL: return "ACTNN_BOOL";
  default: return "ACTNN_I64"; /* kernels hold every other integer in 64 bits */
  }
}

static const char *
c_layout(actnn_layout layout)
{
  return layout == ACTNN_BLOCKED ? "ACTNN_BLOCKED" : layout == ACTNN_STASH ? "ACTNN_STASH" : "ACTNN_PLAIN";
}

/* The command line in a comment: whatever could end the comment or join lines is shown as `_`. */
static const char *
safe_comment(Arena *arena, const char *line)
{
  char *copy = arena_text(arena, line ? line : "", strlen(line ? line : ""));
  for (char *at = copy; *at; at++)
    if (*at < ' ' || *at > '~' || strchr("*\\?", *at)) *at = '_';
  return copy;
}

/* A number that reads back as the same double. */
static const char *
c_real(Arena *arena, double value)
{
  if (isnan(value)) return "NAN";
  if (isinf(value)) return value < 0 ? "-INFINITY" : "INFINITY";
  return text_of_real(arena, value);
}

/* ---- numbering ------------------------------------------------------------------------------------ */

static void
number_value(Emitter *emitter, ValueId id)
{
  if (id == NO_VALUE || emitter->number[id] != NO_VALUE) return;
  const Program *program = emitter->program;
  if (program->plan->buffer_of[id] == NO_VALUE && value_at(program, id)->layout != ACTNN_STASH) return;
  emitter->value[emitter->tensor_count] = id;
  emitter->number[id] = emitter->tensor_count++;
}

static void
number_values(Emitter *emitter)
{
  const Program *program = emitter->program;
  emitter->number = arena_array(program->arena, program->value_count + 1, sizeof *emitter->number);
  emitter->value = arena_array(program->arena, program->value_count + 1, sizeof *emitter->value);
  for (uint32_t i = 0; i <= program->value_count; i++) emitter->number[i] = NO_VALUE;
  uint32_t count;
  const ValueId *values = persistent_values(program, &count);
  for (uint32_t i = 0; i < count; i++) number_value(emitter, values[i]);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->result_count; k++) number_value(emitter, node->results[k]);
  }
}

static void
append_id(Emitter *emitter, ValueId id)
{
  if (id == NO_VALUE || emitter->number[id] == NO_VALUE) text_append(&emitter->text, "NONE");
  else text_append(&emitter->text, "v%u", emitter->number[id]);
}

/* ---- tables ----------------------------------------------------------------------------------------- */

static uint64_t
offset_of(const Emitter *emitter, ValueId id, uint64_t *bytes)
{
  const Program *program = emitter->program;
  uint32_t buffer = program->plan->buffer_of[id];
  if (buffer != NO_VALUE) {
    *bytes = value_bytes(program, id);
    return program->plan->buffer[buffer].offset;
  }
  uint64_t offset = program->plan->stash_offset; /* in the pool: where it lies until bits move; of a window the trainer decides where */
  for (uint32_t i = 0; i < program->saves->count; i++) {
    const Save *save = &program->saves->save[i];
    *bytes = save->bytes;
    if (save->stash == id) return offset;
    if (!program->plan->window_bytes) offset += *bytes;
  }
  uint32_t count;
  const ValueId *exact = exact_saves(program, &count);
  for (uint32_t i = 0; i < count; i++) {
    *bytes = exact_save_bytes(program, exact[i]);
    if (exact[i] == id) return offset;
    if (!program->plan->window_bytes) offset += *bytes;
  }
  *bytes = 0;
  return offset;
}

static void
emit_tensors(Emitter *emitter)
{
  const Program *program = emitter->program;
  Text *text = &emitter->text;
  text_append(text, "enum {\n ");
  for (uint32_t i = 0; i < emitter->tensor_count; i++) text_append(text, " v%u,%s", i, i % 16 == 15 ? "\n " : "");
  text_append(text, "\n  TENSOR_COUNT\n};\n\n");
  text_append(text, "/* type, layout, rank, extents, offset in the arena, bytes */\nstatic const actnn_tensor tensors[TENSOR_COUNT] = {\n");
  for (uint32_t i = 0; i < emitter->tensor_count; i++) {
    ValueId id = emitter->value[i];
    const Value *value = value_at(program, id);
    uint64_t bytes = 0, offset = offset_of(emitter, id, &bytes);
    text_append(text, "  [v%u] = {%s, %s, %d, {", i, c_type(value->type), c_layout(value->layout), value->shape.rank);
    for (int k = 0; k < value->shape.rank; k++) text_append(text, "%s%" PRId64, k ? ", " : "", value->shape.dim[k]);
    text_append(text, "%s}, %" PRIu64 "u, %" PRIu64 "u},", value->shape.rank ? "" : "0", offset, bytes);
    if (value->name) text_append(text, " /* %s */", safe_name(program->arena, value->name));
    text_append(text, "\n");
  }
  text_append(text, "};\n\n");
}

static void
emit_inputs(Emitter *emitter, uint32_t *count, uint32_t *label)
{
  const Program *program = emitter->program;
  *count = 0;
  *label = NO_VALUE;
  text_append(&emitter->text, "static const actnn_input inputs[] = {\n");
  for (uint32_t i = 0; i < program->input_count; i++) {
    ValueId id = program->inputs[i];
    if (emitter->number[id] == NO_VALUE) continue;
    if (id == program->label) *label = *count;
    text_append(&emitter->text, "  {v%u, %s},\n", emitter->number[id], quoted(program->arena, value_at(program, id)->name));
    ++*count;
  }
  text_append(&emitter->text, "%s};\n\n", *count ? "" : "  {NONE, \"\"},\n");
}

static bool
is_variable(const Value *value)
{
  return value->kind == VALUE_PARAMETER || value->kind == VALUE_STATE || is_stored_constant(value);
}

/* By value: forward replaces it, as a running statistic. */
static const bool *
running_values(const Program *program)
{
  bool *is_running = arena_array(program->arena, program->value_count + 1, sizeof *is_running);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->result_count && node->phase == PHASE_FORWARD; k++) {
      ValueId replaced = node->results[k] == NO_VALUE ? NO_VALUE : value_at(program, node->results[k])->updates;
      if (replaced != NO_VALUE) is_running[replaced] = true;
    }
  }
  return is_running;
}

static const char *
role_of(const Value *value, bool is_running)
{
  if (value->kind == VALUE_CONSTANT) return "ACTNN_FIXED";
  if (value->kind == VALUE_PARAMETER) return value->is_frozen ? "ACTNN_FROZEN" : "ACTNN_PARAMETER";
  return is_running || value->data || value->drawn_from != NO_VALUE ? "ACTNN_RUNNING" : "ACTNN_OPTIMIZER";
}

static uint32_t
emit_variables(Emitter *emitter)
{
  const Program *program = emitter->program;
  const bool *is_running = running_values(program);
  uint32_t count = 0;
  text_append(&emitter->text, "static const actnn_variable variables[] = {\n");
  for (uint32_t i = 0; i < emitter->tensor_count; i++) {
    const Value *value = value_at(program, emitter->value[i]);
    if (!is_variable(value)) continue;
    const char *name = value->name ? value->name : arena_format(program->arena, "actnn.constant.%u", emitter->value[i]);
    text_append(&emitter->text, "  {v%u, %s, %s, %s},\n", i, quoted(program->arena, name), role_of(value, is_running[emitter->value[i]]),
                value->drawn_from != NO_VALUE ? "true" : "false");
    count++;
  }
  text_append(&emitter->text, "%s};\n\n", count ? "" : "  {NONE, \"\", ACTNN_FROZEN, true},\n");
  return count;
}

static void
emit_saves(Emitter *emitter)
{
  static const char *const spacings[ACTNN_SPACINGS] = {"ACTNN_EVEN_LEVELS", "ACTNN_FIXED_LEVELS", "ACTNN_MASKED_LEVELS",
                                                       "ACTNN_SQUARE_LEVELS", "ACTNN_NORMAL_LEVELS"};
  static const char *const adaptations[] = {"ACTNN_KEEPS_ITS_SHARE", "ACTNN_ADAPTS_BY_READERS", "ACTNN_ADAPTS_BY_REDRAWS"};
  const Program *program = emitter->program;
  const SaveTable *table = program->saves;
  text_append(&emitter->text, "/* stash, saved value, levels, dither, fixed range, choices of levels, random stream, adaptation, weight,"
                              " parameter whose gradient reads it,\n * scale of the normalization */\nstatic const actnn_save saves[] = {\n");
  const ValueId *parameter = save_parameters(program);
  for (uint32_t i = 0; i < table->count; i++) {
    const Save *save = &table->save[i];
    text_append(&emitter->text, "  {v%u, %s, %s, %s, %s, %s, %u, %u, %s, %s, ", emitter->number[save->stash],
                quoted(program->arena, save_name(program, save)), spacings[save->spacing],
                save->dither ? "true" : "false", c_real(program->arena, save->low), c_real(program->arena, save->high), save->choices, i,
                adaptations[save->adaptation], c_real(program->arena, save->weight));
    append_id(emitter, parameter[i]);
    text_append(&emitter->text, ", ");
    append_id(emitter, save->spacing == ACTNN_NORMAL_LEVELS ? operand_id(node_at(program, value_at(program, save->stash)->producer), 3) : NO_VALUE);
    text_append(&emitter->text, "},\n");
  }
  text_append(&emitter->text, "%s};\n\n",
              table->count ? "" : "  {NONE, \"\", ACTNN_EVEN_LEVELS, false, 0.0, 0.0, 0, 0, ACTNN_KEEPS_ITS_SHARE, 0.0, NONE, NONE},\n");
}

/* ---- calls -------------------------------------------------------------------------------------------- */

static void
append_attribute(Emitter *emitter, const actnn_attribute *attribute, bool is_steps)
{
  Text *text = &emitter->text;
  Arena *arena = emitter->program->arena;
  switch (attribute->kind) {
  case ACTNN_ABSENT: text_append(text, "ABSENT"); break;
  case ACTNN_INT: text_append(text, "INT(%" PRId64 ")", attribute->i); break;
  case ACTNN_REAL: text_append(text, "REAL_NUMBER(%s)", c_real(arena, attribute->f)); break;
  case ACTNN_TEXT:
    if (is_steps) text_append(text, "TEXT(\"%s\")", attribute->text); /* no character of steps needs an escape */
    else text_append(text, "TEXT(%s)", quoted(arena, attribute->text));
    break;
  case ACTNN_INTS:
    if (!attribute->count) { text_append(text, "NO_INTS"); break; }
    text_append(text, "INTS(");
    for (size_t i = 0; i < attribute->count; i++) {
      if (attribute->ints[i] == INT64_MIN) text_append(text, "%sINT64_MIN", i ? ", " : "");
      else text_append(text, "%s%" PRId64, i ? ", " : "", attribute->ints[i]);
    }
    text_append(text, ")");
    break;
  case ACTNN_REALS:
    text_append(text, "REALS(");
    for (size_t i = 0; i < attribute->count; i++) text_append(text, "%s%s", i ? ", " : "", c_real(arena, attribute->reals[i]));
    text_append(text, ")");
    break;
  }
}

static void
emit_comment(Emitter *emitter, const Node *node)
{
  const Program *program = emitter->program;
  pointwise_steps steps;
  bool is_joined = joined_steps(node, &steps);
  text_append(&emitter->text, "  /* ");
  if (is_joined) append_joined_names(&emitter->text, node, &steps);
  else text_append(&emitter->text, "%s", safe_name(program->arena, node->operator_name));
  if (!is_joined && *node->name) text_append(&emitter->text, " '%s'", safe_name(program->arena, node->name));
  if (node->phase == PHASE_RECOMPUTE) text_append(&emitter->text, ", computed again");
  for (uint32_t k = 0; k < node->result_count; k++) {
    const Value *value = result_value(program, node, k);
    if (!value || emitter->number[node->results[k]] == NO_VALUE) continue;
    text_append(&emitter->text, "%s v%u %s", k ? "," : ":", emitter->number[node->results[k]],
                shape_text(program->arena, value->type, &value->shape));
  }
  text_append(&emitter->text, " */\n");
}

static void
emit_call(Emitter *emitter, const Node *node)
{
  Program *program = emitter->program;
  Text *text = &emitter->text;
  actnn_attribute *attributes;
  size_t count = call_attributes(program, node, &attributes);
  emit_comment(emitter, node);
  text_append(text, "  RUN(actnn_%s, OUT(", node->operator->name);
  for (uint32_t k = 0; k < node->result_count; k++) {
    if (k) text_append(text, ", ");
    append_id(emitter, node->results[k]);
  }
  text_append(text, "%s), IN(", node->result_count ? "" : "NONE");
  for (uint32_t k = 0; k < node->operand_count; k++) {
    if (k) text_append(text, ", ");
    append_id(emitter, operand_slot(node->operator, k)->is_constant ? NO_VALUE : node->operands[k]);
  }
  text_append(text, "%s), ", node->operand_count ? "" : "NONE");
  text_append(text, count ? "WITH(" : "WITHOUT");
  pointwise_steps steps;
  bool has_steps = joined_steps(node, &steps) || coded_row_name(node);
  for (size_t k = 0; k < count; k++) {
    if (k) text_append(text, ", ");
    append_attribute(emitter, &attributes[k], has_steps);
  }
  text_append(text, "%s);\n", count ? ")" : "");
}

/* Constants that kernels read, set once. */
static void
emit_constants(Emitter *emitter)
{
  Program *program = emitter->program;
  for (uint32_t i = 0; i < emitter->tensor_count; i++) {
    const Value *value = value_at(program, emitter->value[i]);
    Tensor tensor;
    int64_t count = 0;
    if (value->kind != VALUE_CONSTANT || is_variable(value)) continue;
    if (!constant_tensor(program, emitter->value[i], program->arena, &tensor)) continue;
    shape_elements(&value->shape, &count);
    if (is_uniform(value)) count = 1;
    text_append(&emitter->text, "  RUN(actnn_Fill, OUT(v%u), IN(NONE), WITH(ABSENT, INT(%d), REALS(", i, value->type);
    for (int64_t k = 0; k < count; k++) {
      bool is_byte = tensor.type == ACTNN_BOOL || tensor.type == ACTNN_U8;
      double x = tensor.type == ACTNN_F32 ? ((const double *)tensor.data)[k]
                 : is_byte                ? ((const uint8_t *)tensor.data)[k]
                                          : (double)((const int64_t *)tensor.data)[k];
      text_append(&emitter->text, "%s%s", k ? ", " : "", c_real(program->arena, x));
    }
    text_append(&emitter->text, ")));\n");
  }
}

static void
emit_function(Emitter *emitter, const char *name, unsigned phases, const char *what)
{
  const Program *program = emitter->program;
  text_append(&emitter->text, "/* %s */\nstatic int\n%s(actnn *trainer)\n{\n", what, name);
  if (phases & 1u << PHASE_INITIALIZE) emit_constants(emitter);
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (phases & 1u << node->phase) emit_call(emitter, node);
  }
  text_append(&emitter->text, "  (void)trainer;\n  return 0;\n}\n\n");
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static void
emit_prologue(Emitter *emitter)
{
  const Program *program = emitter->program;
  const Plan *plan = program->plan;
  Text *text = &emitter->text;
  text_append(text, "/* %s.c: a trainer emitted by actnnc.\n *\n * command  %s\n * model    %s\n", emitter->name,
              safe_comment(program->arena, emitter->options->command_line), safe_name(program->arena, program->name));
  text_append(text, " * memory   %" PRIu64 " bytes in one arena: variables and inputs %" PRIu64 ", a step's buffers %" PRIu64
                    ",\n *          coded saves %" PRIu64 ", library workspace %" PRIu64 "\n",
              plan->arena_bytes, plan->variable_bytes, plan->stash_offset - plan->variable_bytes,
              planned_pool_in_arena(plan), plan->workspace_bytes);
  if (plan->window_bytes)
    text_append(text, " *          saves in all %" PRIu64 " bytes, which wait in the host's memory\n", planned_pool(plan));
  text_append(text, " * saved    %" PRIu64 " bytes for backward; uncompressed %" PRIu64 " (%.1f times as much)\n", plan->saved_bytes,
              plan->saved_bytes_fp32, plan->saved_bytes ? (double)plan->saved_bytes_fp32 / (double)plan->saved_bytes : 1.0);
  const char *name = emitter->name;
  if (emitter->has_kernels)
    text_append(text, " *\n * nvcc -O3 -fmad=false -arch=native %s.c %s.cu $(pkg-config --cflags --libs actnn-cuda) -o %s\n", name, name, name);
  else
    text_append(text, " *\n * cc -O3 %s.c $(pkg-config --cflags --libs %s) -o %s\n", name,
                emitter->options->is_for_gpu ? "actnn-cuda" : "actnn", name);
  text_append(text, " */\n#include \"%s.h\"\n\n", name);
}

static void
emit_model_bytes(Emitter *emitter)
{
  const Program *program = emitter->program;
  text_append(&emitter->text, "/* The model in inference mode without its weights, as ONNX: what --export starts from. */\n"
                              "static const unsigned char onnx_model[] = {");
  for (size_t i = 0; i < program->inference_model_bytes; i++)
    text_append(&emitter->text, "%s%u,", i % 32 ? "" : "\n  ", program->inference_model[i]);
  text_append(&emitter->text, "%s\n};\n\n", program->inference_model_bytes ? "" : "0");
}

static int64_t
batch_of(const Program *program)
{
  for (uint32_t i = 0; i < program->input_count; i++) {
    const Shape *shape = &value_at(program, program->inputs[i])->shape;
    if (shape->rank > 0) return shape->dim[0];
  }
  return 1;
}

static void
emit_model(Emitter *emitter, uint32_t input_count, uint32_t variable_count, uint32_t label)
{
  static const char *const loss_kinds[] = {"ACTNN_LOSS_OUTPUT", "ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY", "ACTNN_LOSS_MSE", "ACTNN_LOSS_L1",
                                           "ACTNN_LOSS_BCE_WITH_LOGITS"};
  const Program *program = emitter->program;
  const Plan *plan = program->plan;
  Text *text = &emitter->text;
  uint32_t exact_count;
  exact_saves(program, &exact_count);
  const struct { const char *field; ValueId value; } tensors[] = {
      {"loss", program->loss}, {"evaluation_loss", program->evaluation_loss}, {"evaluation_output", program->evaluation_output},
      {"evaluation_losses", program->evaluation_losses},
      {"learning_rate", program->learning_rate}, {"step_number", program->step_number}, {"training_output", program->prediction}};
  const char *kernels = emitter->has_kernels ? arena_format(program->arena, "%s_pointwise", emitter->name) : "NULL";
  if (emitter->has_kernels) text_append(text, "/* In %s.cu. */\nextern const actnn_pointwise %s[];\n\n", emitter->name, kernels);
  text_append(text, "const actnn_model %s_model = {\n  .version = ACTNN_VERSION,\n  .name = \"%s\",\n", emitter->name, emitter->name);
  text_append(text, "  .tensor = tensors,\n  .input = inputs,\n  .variable = variables,\n  .save = saves,\n");
  text_append(text, "  .tensor_count = TENSOR_COUNT,\n  .input_count = %u,\n  .variable_count = %u,\n  .save_count = %u,\n  .exact_count = %u,\n",
              input_count, variable_count, program->saves->count, exact_count);
  if (label == NO_VALUE) text_append(text, "  .label = NONE,\n");
  else text_append(text, "  .label = %u,\n", label);
  for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
    text_append(text, "  .%s = ", tensors[i].field);
    append_id(emitter, tensors[i].value);
    text_append(text, ",\n");
  }
  text_append(text, "  .loss_kind = %s,\n  .batch = %" PRId64 ",\n", loss_kinds[program->loss_kind], batch_of(program));
  text_append(text, "  .arena_bytes = %" PRIu64 "u,\n  .variable_bytes = %" PRIu64 "u,\n  .stash_offset = %" PRIu64
                    "u,\n  .stash_bytes = %" PRIu64 "u,\n  .exact_bytes = %" PRIu64 "u,\n  .window_bytes = %" PRIu64
                    "u,\n  .workspace_offset = %" PRIu64 "u,\n  .workspace_bytes = %" PRIu64 "u,\n",
              plan->arena_bytes, plan->variable_bytes, plan->stash_offset, plan->stash_bytes, plan->exact_bytes, plan->window_bytes,
              plan->workspace_offset, plan->workspace_bytes);
  text_append(text, "  .saved_bytes = %" PRIu64 "u,\n  .saved_bytes_fp32 = %" PRIu64 "u,\n  .model_hash = %" PRIu64 "u,\n  .seed = %" PRIu64 "u,\n",
              plan->saved_bytes, plan->saved_bytes_fp32, program_identity(program), emitter->options->seed);
  text_append(text, "  .default_learning_rate = %s,\n  .device = %s,\n  .pointwise = %s,\n  .scheme = %s,\n  .level = %d,\n",
              c_real(program->arena, program->default_learning_rate), emitter->options->is_for_gpu ? "&actnn_cuda" : "NULL", kernels,
              quoted(program->arena, emitter->options->scheme), emitter->options->level);
  text_append(text, "  .initialize = initialize,\n  .forward = forward,\n  .backward = backward,\n  .evaluate = evaluate,\n"
                    "  .onnx = onnx_model,\n  .onnx_bytes = %zu,\n};\n\n", program->inference_model_bytes);
}

char *
emit_source(Program *program, const Options *options, const char *name, Arena *arena, size_t *length)
{
  Emitter emitter = {.program = program, .options = options, .name = name, .text = {.arena = arena}};
  uint32_t input_count, label;
  const char **steps = arena_array(program->arena, program->order_count + 1u, sizeof *steps);
  emitter.has_kernels = options->is_for_gpu && list_joined(program, steps);
  number_values(&emitter);
  emit_prologue(&emitter);
  emit_tensors(&emitter);
  emit_inputs(&emitter, &input_count, &label);
  uint32_t variable_count = emit_variables(&emitter);
  emit_saves(&emitter);
  emit_function(&emitter, "initialize", 1u << PHASE_INITIALIZE, "First values: constants that kernels read, and weights that are drawn.");
  emit_function(&emitter, "forward", 1u << PHASE_FORWARD, "The loss of one batch; what backward needs is saved, coded.");
  emit_function(&emitter, "backward", 1u << PHASE_RECOMPUTE | 1u << PHASE_BACKWARD | 1u << PHASE_UPDATE,
                "Gradients, and each parameter's update, once its gradient is there.");
  emit_function(&emitter, "evaluate", 1u << PHASE_EVALUATE, "The prediction in inference mode: running statistics, no dropout.");
  emit_model_bytes(&emitter);
  emit_model(&emitter, input_count, variable_count, label);
  emit_interface(&emitter.text, name);
  *length = emitter.text.length;
  return emitter.text.bytes;
}
