/* mutants_program.c: mutants of what the program says: its nodes and updates (V7), its tables and numbers (V8); see mutants.h. */
#include "mutants.h"

/* ---- V7: operators, operands, attributes ------------------------------------------------------------------------------------ */

/* Slots and their marks without names: kernels alike in this take the same calls. */
static const char *
form_of(const Bench *bench, const Kernel *kernel)
{
  char *form = arena_text(bench->scratch, kernel->signature, strlen(kernel->signature)), *to = form;
  for (const char *at = form; *at;) {
    size_t name = strcspn(at, " ?#*:;-");
    if (name) *to++ = 'x';
    at += name;
    if (*at == ':') {
      size_t kind = strcspn(at, " =");
      memmove(to, at, kind);
      to += kind;
      at += strcspn(at, " ");
    } else if (*at) {
      *to++ = *at++;
    }
  }
  *to = 0;
  return form;
}

static void
compute_otherwise(Bench *bench, uint32_t index)
{
  const EmittedCall *call = &bench->emitted.call[index];
  const char *form = form_of(bench, call->kernel);
  for (size_t i = 0; i < operator_count(); i++) {
    const Kernel *kernel = find_kernel(operator_at(i)->name);
    if (kernel && strcmp(kernel->name, call->name) && (i + index) % 3 == 0 && !strcmp(form_of(bench, kernel), form))
      change(bench, "another operator of the same form", callee_of(bench, call), FORMAT("actnn_%s", kernel->name));
  }
}

/* Numbers of an attribute, one by one; NAN and what is not given stay. */
static void
change_constants(Bench *bench, const EmittedCall *call)
{
  for (uint32_t k = 0; k < call->attribute_count; k++) {
    const actnn_attribute *attribute = &call->attribute[k];
    Span span = attribute_of(bench, call, k);
    size_t open = span.from + strcspn(bench->source + span.from, "(");
    size_t count = attribute->kind == ACTNN_INTS || attribute->kind == ACTNN_REALS ? attribute->count : 1;
    for (uint32_t i = 0; i < count && i < 6; i++) {
      Span item = item_of(bench, open, i);
      switch (attribute->kind) {
      case ACTNN_INT: change(bench, "another number", item, FORMAT("%lld", (long long)attribute->i + 1)); break;
      case ACTNN_INTS: change(bench, "another number", item, FORMAT("%lld", (long long)attribute->ints[i] + 1)); break;
      case ACTNN_REAL: change(bench, "another number", item, attribute->f == 0.375 ? "0.25" : "0.375"); break;
      case ACTNN_REALS: change(bench, "another number", item, attribute->reals[i] == 0.375 ? "0.25" : "0.375"); break;
      case ACTNN_TEXT: insert(bench, "another text", item.from + 1, "x"); break;
      default: break;
      }
    }
    if (attribute->kind == ACTNN_INTS && attribute->count) insert(bench, "a number more", span.to - 1, ", 1");
  }
}

static bool
same_kind(const Bench *bench, uint32_t one, uint32_t other)
{
  const actnn_tensor *a = &bench->emitted.tensor[one].at, *b = &bench->emitted.tensor[other].at;
  return same_extents(&bench->emitted, one, other) && a->type == b->type && a->layout == b->layout;
}

/* What comes to the same in any order. */
static bool
is_commutative(const EmittedCall *call)
{
  static const char *const names[] = {"Add", "Mul", "Max", "Min", "Sum", "Mean", "And", "Or", "Xor", "Equal"};
  return is_one_of(call->name, names, COUNT(names));
}

static void
read_others(Bench *bench, uint32_t index)
{
  const Emitted *emitted = &bench->emitted;
  const EmittedCall *call = &emitted->call[index];
  for (uint32_t k = 0; k < call->input_count; k++) {
    uint32_t own = call->input[k];
    for (uint32_t other = 0; other < emitted->tensor_count && own != NONE; other++) {
      bool is_there = emitted->writer[other] == NONE ? call->phase != INITIALIZE : emitted->writer[other] < index;
      if (other != own && is_there && same_kind(bench, own, other) && (other + k) % 2)
        change(bench, "another operand of the same kind", operand_of(bench, call, k), FORMAT("v%u", other));
    }
    for (uint32_t j = 0; j < k && !is_commutative(call) && own != NONE; j++)
      if (call->input[j] != NONE && call->input[j] != own)
        change_two(bench, "operands swapped", operand_of(bench, call, k), FORMAT("v%u", call->input[j]), operand_of(bench, call, j),
                   FORMAT("v%u", own));
  }
  for (uint32_t k = 0; k < call->output_count; k++)
    for (uint32_t j = 0; j < k; j++)
      if (call->output[k] != NONE && call->output[j] != NONE && same_kind(bench, call->output[k], call->output[j]))
        change_two(bench, "results swapped", result_of(bench, call, k), FORMAT("v%u", call->output[j]), result_of(bench, call, j),
                   FORMAT("v%u", call->output[k]));
}

/* Other extents for the same number of elements, or fewer. */
static void
reshape(Bench *bench, uint32_t tensor)
{
  const actnn_tensor *at = &bench->emitted.tensor[tensor].at;
  Span extents = field_of(bench, tensor, EXTENTS);
  for (int axis = 0; axis < at->rank; axis++) {
    Span span = item_of(bench, extents.from, (uint32_t)axis);
    if (at->dim[axis] > 1) change(bench, "an extent less", span, FORMAT("%lld", (long long)at->dim[axis] - 1));
    if (axis && at->dim[axis] != at->dim[axis - 1])
      change_two(bench, "extents swapped", span, FORMAT("%lld", (long long)at->dim[axis - 1]),
                 item_of(bench, extents.from, (uint32_t)axis - 1), FORMAT("%lld", (long long)at->dim[axis]));
  }
  if (at->type == ACTNN_F32) change(bench, "another type", field_of(bench, tensor, TYPE), "ACTNN_BOOL");
  if (at->type == ACTNN_F32) change(bench, "rounded floats", field_of(bench, tensor, TYPE), "ACTNN_BF16");
  if (at->type == ACTNN_BF16) change(bench, "floats as they are", field_of(bench, tensor, TYPE), "ACTNN_F32");
  if (at->layout == ACTNN_BLOCKED) change(bench, "another layout", field_of(bench, tensor, LAYOUT), "ACTNN_PLAIN");
}

/* ---- V7: updates -------------------------------------------------------------------------------------------------------------- */

/* An update that also writes elsewhere: to a place of its own, or over another variable. */
static void
update_elsewhere(Bench *bench, const EmittedCall *call)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t k = 0; k < call->output_count; k++) {
    uint32_t result = call->output[k];
    if (result == NONE || emitted->place[result] != PLACE_REPLACING) continue;
    const actnn_tensor *at = &emitted->tensor[result].at;
    if (emitted->model.variable_bytes + at->bytes <= emitted->model.stash_offset)
      change(bench, "an update that writes elsewhere", field_of(bench, result, OFFSET), decimal(bench, emitted->model.variable_bytes));
    for (uint32_t i = 0; i < emitted->variable_count; i++) {
      const actnn_tensor *other = &emitted->tensor[emitted->variable[i].tensor].at;
      if (i != emitted->home[result] && other->bytes == at->bytes)
        change(bench, "an update of another variable", field_of(bench, result, OFFSET), decimal(bench, other->offset));
    }
  }
}

/* Every `v12` of the source behind the last one dropped moves down by one, so that only the missing call tells. */
static void
drop_with_results(Bench *bench, const EmittedCall *call)
{
  enum { MOST = 4000 };
  const Emitted *emitted = &bench->emitted;
  Edit *edits = arena_array(bench->scratch, MOST, sizeof *edits);
  size_t count = 0;
  Span line = call_line(bench, call), rows[8];
  if (call->output_count > COUNT(rows)) return;
  edits[count++] = (Edit){line, ""};
  for (uint32_t k = 0; k < call->output_count; k++) {
    if (call->output[k] == NONE) continue;
    if (last_reader(emitted, call->output[k]) != NONE) return;
    rows[k] = (Span){emitted->tensor[call->output[k]].position - 1, row_of(bench, call->output[k]).to + 1};
    edits[count++] = (Edit){rows[k], ""};
  }
  for (uint32_t i = 0; i + 1 < emitted->word_count; i++) {
    const Word *word = &emitted->word[i];
    const char *text = bench->source + word->start;
    if (word->kind != WORD_NAME || text[0] != 'v' || word->length < 2 || !strchr("0123456789", text[1])) continue;
    uint32_t number = (uint32_t)strtoul(text + 1, NULL, 10), gone = 0;
    bool is_inside = word->start >= line.from && word->start < line.to, is_gone = false;
    for (uint32_t k = 0; k < call->output_count; k++) {
      if (call->output[k] == NONE) continue;
      is_inside |= word->start >= rows[k].from && word->start < rows[k].to;
      is_gone |= call->output[k] == number;
      gone += call->output[k] < number;
    }
    if (is_inside || (!gone && !is_gone)) continue;
    if (count == MOST) return;
    /* The numbering, "v12,", is the only place left that names what is gone. */
    edits[count++] = (Edit){{word->start, word->start + word->length + is_gone}, is_gone ? "" : FORMAT("v%u", number - gone)};
  }
  mutate(bench, VERIFIER, "a call is dropped, and its results too", edits, count);
}

/* The same call again with results of its own, which lie where the others lie. */
static void
double_with_results(Bench *bench, const EmittedCall *call)
{
  const Emitted *emitted = &bench->emitted;
  uint32_t next = emitted->tensor_count;
  const char *numbers = "", *rows = "", *line = text_of(bench, call_line(bench, call)), *results = "";
  for (uint32_t k = 0; k < call->output_count; k++) {
    const char *name = "NONE";
    if (call->output[k] != NONE) {
      name = FORMAT("v%u", next++);
      numbers = FORMAT("%s %s,", numbers, name);
      rows = FORMAT("%s  [%s] = %s,\n", rows, name, text_of(bench, row_of(bench, call->output[k])));
    }
    results = FORMAT("%s%s%s", results, k ? ", " : "", name);
  }
  size_t enumerators = (size_t)(strstr(bench->source, "\n  TENSOR_COUNT\n") - bench->source);
  size_t table = row_of(bench, emitted->tensor_count - 1).to, end_of_row = table + strcspn(bench->source + table, "\n") + 1;
  size_t first = result_of(bench, call, 0).from - call->position, last = result_of(bench, call, call->output_count - 1).to - call->position;
  size_t behind = call_line(bench, call).to;
  const Edit edits[] = {{{enumerators, enumerators}, numbers},
                        {{end_of_row, end_of_row}, rows},
                        {{behind, behind}, FORMAT("  %.*s%s%s", (int)first, line, results, line + last)}};
  mutate(bench, VERIFIER, "a call is doubled, with results of its own", edits, COUNT(edits));
}

static void
change_roles(Bench *bench)
{
  static const char *const roles[] = {"ACTNN_PARAMETER", "ACTNN_FROZEN", "ACTNN_RUNNING", "ACTNN_OPTIMIZER", "ACTNN_FIXED"};
  const Emitted *emitted = &bench->emitted;
  for (uint32_t i = 0; i < emitted->variable_count; i++)
    for (uint32_t k = 0; k < COUNT(roles); k++) {
      Span role = table_field(bench, emitted->variable[i].position, VARIABLE_ROLE);
      if (k != emitted->variable[i].role) change(bench, "another role", role, roles[k]);
    }
}

void
mutate_meaning(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t i = 0; i < emitted->call_count; i++) {
    const EmittedCall *call = &emitted->call[i];
    compute_otherwise(bench, i);
    change_constants(bench, call);
    read_others(bench, i);
    update_elsewhere(bench, call);
    drop_with_results(bench, call);
    double_with_results(bench, call);
  }
  for (uint32_t i = 0; i < emitted->tensor_count; i++) reshape(bench, i);
  change_roles(bench);
}

/* ---- V8: tables and numbers of the plan ------------------------------------------------------------------------------------------ */

static void
change_table_of_saves(Bench *bench, uint32_t index)
{
  static const char *const adaptations[] = {"ACTNN_KEEPS_ITS_SHARE", "ACTNN_ADAPTS_BY_READERS", "ACTNN_ADAPTS_BY_REDRAWS"};
  const Emitted *emitted = &bench->emitted;
  const EmittedSave *save = &emitted->save[index];
  change(bench, "another rounding", table_field(bench, save->position, SAVE_DITHER), save->dithers ? "false" : "true");
  change(bench, "another weight", table_field(bench, save->position, SAVE_WEIGHT), save->weight == 0.5 ? "0.25" : "0.5");
  change(bench, "no weight", table_field(bench, save->position, SAVE_WEIGHT), "NAN");
  insert(bench, "another name", table_field(bench, save->position, SAVE_NAME).to - 1, "x");
  for (uint32_t k = 0; k < COUNT(adaptations); k++)
    if (k != save->adaptation) change(bench, "another adaptation", table_field(bench, save->position, SAVE_ADAPTATION), adaptations[k]);
  for (uint32_t i = 0; i < emitted->tensor_count; i++) {
    if (i != save->scale) change(bench, "another scale", table_field(bench, save->position, SAVE_SCALE), FORMAT("v%u", i));
    if (i != save->parameter) change(bench, "another parameter", table_field(bench, save->position, SAVE_PARAMETER), FORMAT("v%u", i));
  }
  for (uint32_t other = 0; other < index; other++)
    for (uint32_t field = 0; field < SAVE_FIELDS; field++) {
      Span a = table_field(bench, save->position, field), b = table_field(bench, emitted->save[other].position, field);
      if (strcmp(text_of(bench, a), text_of(bench, b)))
        change_two(bench, "entries of two saves swapped", a, text_of(bench, b), b, text_of(bench, a));
    }
}

/* Names in the tables of inputs and variables. */
static void
rename_entries(Bench *bench)
{
  const Emitted *emitted = &bench->emitted;
  for (uint32_t i = 0; i < emitted->variable_count; i++) {
    Span name = table_field(bench, emitted->variable[i].position, VARIABLE_NAME);
    insert(bench, "another name", name.to - 1, "x");
    insert(bench, "another name", name.from + 1, "\\000");
    if (name.to - name.from > 3) change(bench, "another name", (Span){name.from + 1, name.from + 2}, "");
    for (uint32_t k = 0; k < i; k++) {
      Span other = table_field(bench, emitted->variable[k].position, VARIABLE_NAME);
      change_two(bench, "two names swapped", name, text_of(bench, other), other, text_of(bench, name));
    }
  }
  for (uint32_t i = 0; i < emitted->input_count; i++) {
    Span name = table_field(bench, emitted->input[i].position, 1);
    insert(bench, "another name", name.to - 1, "x");
    change(bench, "no name", name, "\"\"");
  }
}

static void
change_exported_model(Bench *bench)
{
  enum { PLACES = 60 };
  size_t bytes = bench->emitted.model.onnx_bytes, open = (size_t)(strstr(bench->source, "onnx_model[] = {") - bench->source) + 15;
  for (size_t k = 0; k < bytes; k += bytes / PLACES + 1) {
    Span span = item_of(bench, open, (uint32_t)k);
    unsigned own = bench->emitted.model.onnx[k];
    change(bench, "another model to export", span, FORMAT("%u", own ^ 1));
    change(bench, "another model to export", span, FORMAT("%u", 255 - own));
  }
}

static void
change_named_numbers(Bench *bench)
{
  static const char *const counts[] = {"input_count", "variable_count", "save_count", "batch", "onnx_bytes"};
  static const char *const losses[] = {"ACTNN_LOSS_OUTPUT", "ACTNN_LOSS_SOFTMAX_CROSS_ENTROPY", "ACTNN_LOSS_MSE", "ACTNN_LOSS_L1",
                                       "ACTNN_LOSS_BCE_WITH_LOGITS"};
  static const char *const tensors[] = {"loss",          "evaluation_loss", "evaluation_output", "evaluation_losses",
                                        "learning_rate", "step_number",     "training_output"};
  for (size_t i = 0; i < COUNT(counts); i++) {
    Span span = model_field(bench, counts[i]);
    long long own = strtoll(text_of(bench, span), NULL, 10);
    const long long others[] = {own + 1, own + 2, own * 2 + 1, own * 10 + 7, 0, 1, own - 1};
    for (size_t k = 0; k < COUNT(others); k++)
      if (others[k] != own && others[k] >= 0) change(bench, "another count", span, FORMAT("%lld", others[k]));
  }
  for (size_t i = 0; i < COUNT(losses); i++)
    if (i != (size_t)bench->emitted.model.loss_kind) change(bench, "another kind of loss", model_field(bench, "loss_kind"), losses[i]);
  for (size_t i = 0; i < COUNT(tensors); i++) {
    Span span = model_field(bench, tensors[i]);
    if (strcmp(text_of(bench, span), "NONE")) change(bench, "no tensor", span, "NONE");
    for (uint32_t other = (uint32_t)i; other < bench->emitted.tensor_count; other += 9)
      if (strcmp(text_of(bench, span), FORMAT("v%u", other))) change(bench, "another tensor", span, FORMAT("v%u", other));
  }
  Span label = model_field(bench, "label");
  const char *own = text_of(bench, label);
  for (uint32_t i = 0; i < 4; i++)
    if (strcmp(own, FORMAT("%u", i))) change(bench, "other labels", label, FORMAT("%u", i));
  if (strcmp(own, "NONE")) change(bench, "no labels", label, "NONE");
  change(bench, "another learning rate", model_field(bench, "default_learning_rate"), "0.123");
}

static void
change_what_was_asked_for(Bench *bench)
{
  static const char *const numbers[] = {"seed", "level", "model_hash"};
  for (size_t i = 0; i < COUNT(numbers); i++) {
    Span span = model_field(bench, numbers[i]);
    change(bench, "another number", span, FORMAT("%llu%s", strtoull(text_of(bench, span), NULL, 10) ^ 1, strcmp(numbers[i], "level") ? "u" : ""));
  }
  change(bench, "another device", model_field(bench, "device"), bench->options.is_for_gpu ? "NULL" : "&actnn_cuda");
  change(bench, "another scheme", model_field(bench, "scheme"), strcmp(bench->options.scheme, "actnn") ? "\"actnn\"" : "\"actnnc\"");
}

void
mutate_plan(Bench *bench)
{
  for (uint32_t i = 0; i < bench->emitted.save_count; i++) change_table_of_saves(bench, i);
  rename_entries(bench);
  change_exported_model(bench);
  change_named_numbers(bench);
  change_what_was_asked_for(bench);
}
