/* report.c: the plan, the saves and the tables in words and as data. */
#include "report.h"

#include "../runtime/codec.h"
#include "canonicalize.h"
#include "joined.h"
#include "text.h"

#include <inttypes.h>
#include <string.h>

typedef struct SavedValue {
  const char *name, *readers, *codec, *why;
  double bits;
  PlannedLevels planned; /* zero where nothing is coded */
  uint64_t bytes, bytes_fp32;
} SavedValue;

static const char *
name_of(const Program *program, ValueId id)
{
  const Value *value = value_at(program, id);
  const char *operator_name, *node_name;
  if (value->name) return safe_name(program->arena, value->name);
  tell_maker(program, id, &operator_name, &node_name);
  return arena_format(program->arena, "%s:%s", safe_name(program->arena, node_name), operator_name);
}

/* The operators by which a node reads its operand `k`: of a joined node those of the steps that do. */
static const char *
readers_in(const Program *program, const Node *node, uint32_t k)
{
  Text text = {.arena = program->arena};
  pointwise_steps steps;
  if (!joined_steps(node, &steps)) return node->operator_name;
  text_append(&text, "%s", "");
  for (const pointwise_step *step = steps.step; step < steps.step + steps.count; step++)
    for (int j = 0; j < step->operand_count; j++)
      if ((uint32_t)step->operand[j] == k) text_append(&text, "%s%s", text.length ? ", " : "", pointwise_row_at(step->row)->name);
  return text.bytes;
}

/* Names of the backward operators that read `id`, or what is restored from it. */
static const char *
readers_of(const Program *program, ValueId id)
{
  Text text = {.arena = program->arena};
  text_append(&text, "%s", "");
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (node->phase != PHASE_BACKWARD && node->phase != PHASE_RECOMPUTE) continue;
    for (uint32_t k = 0; k < node->operand_count; k++) {
      if (node->operands[k] != id) continue;
      const char *what = node->operator_name;
      if (!strcmp(what, "MeasureSensitivity")) continue;
      bool gives_value = !strncmp(what, "Dequantize", 10) || !strcmp(what, "UnpackBits") || !strcmp(what, "RestoreExact");
      const char *more = gives_value ? readers_of(program, node->results[0]) : readers_in(program, node, k);
      text_append(&text, "%s%s", text.length ? ", " : "", more);
    }
  }
  return text.bytes;
}

/* A value that runs of layers are computed again from has to be what it was. */
static bool
is_recomputed_from(const Program *program, ValueId id)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; node->phase == PHASE_RECOMPUTE && k < node->operand_count; k++)
      if (node->operands[k] == id) return true;
  }
  return false;
}

/* Queries and keys, of which attention's backward makes the probabilities again. */
static bool
is_scored_again(const Program *program, ValueId id)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (!strcmp(node->operator_name, "AttentionGrad") && (operand_id(node, 1) == id || operand_id(node, 2) == id)) return true;
  }
  return false;
}

/* What is restored of a stash that holds a value as it is. */
static ValueId
restored_value(const Program *program, ValueId stash)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (is_operator(program, program->order[i], "RestoreExact") && operand_id(node, 0) == stash) return result_id(node, 0);
  }
  return stash;
}

/* The saved value that a stash or an exact temporary stands for; false when `id` is none. */
static bool
describe_saved(const Program *program, ValueId id, const bool *read, SavedValue *saved)
{
  const Value *value = value_at(program, id);
  int64_t elements = 0;
  if (!read[id] || value->producer == NO_NODE || node_at(program, value->producer)->phase != PHASE_FORWARD) return false;
  const Node *producer = node_at(program, value->producer);
  shape_elements(&value->shape, &elements);
  *saved = (SavedValue){.readers = readers_of(program, id), .name = name_of(program, id)};
  if (!strcmp(producer->operator_name, "QuantizeOnSave") || !strcmp(producer->operator_name, "NormalizeOnSave")) {
    const Save *save = &program->saves->save[int_attribute(producer, "save", 0)];
    const char *row = coded_row_name(producer);
    saved->name = row ? arena_format(program->arena, "%s:%s", safe_name(program->arena, producer->name), row) : name_of(program, save->value);
    saved->codec = arena_format(program->arena, "%s/%s", actnn_spacing_name(save->spacing), save->dither ? "dither" : "stochastic");
    saved->planned = save_levels(program, save);
    saved->bits = elements ? 8.0 * (double)save->bytes / (double)elements : 0;
    saved->bytes = save->bytes;
    saved->bytes_fp32 = save->uncompressed;
    saved->why = save->why;
  } else if (value->layout == ACTNN_STASH && strcmp(producer->operator_name, "SaveExact")) {
    saved->name = name_of(program, operand_id(producer, 0));
    saved->codec = "packed";
    saved->bits = (double)int_attribute(producer, "bits", 1);
    saved->bytes = value_bytes(program, id);
    saved->why = "exact";
  } else {
    ValueId held = id, shown = id; /* as forward and as backward know it */
    if (value->layout == ACTNN_STASH) {
      held = operand_id(producer, 0);
      shown = restored_value(program, id);
    }
    saved->name = name_of(program, held);
    saved->codec = "exact";
    saved->bits = 8.0 * (double)type_bytes(value_at(program, held)->type);
    saved->bytes = value_bytes(program, held);
    saved->why = is_recomputed_from(program, shown) ? "exact: layers are computed again from it"
                 : is_scored_again(program, shown)  ? "exact: attention's probabilities are computed again from it, and are not linear in it"
                                                 : "exact: small, a statistic, or a reader for which linearity is not proved";
  }
  if (!saved->bytes_fp32) saved->bytes_fp32 = (uint64_t)elements * 4;
  return true;
}

static uint32_t
nodes_of_phase(const Program *program, Phase phase)
{
  uint32_t count = 0;
  for (uint32_t i = 0; i < program->order_count; i++) count += node_at(program, program->order[i])->phase == phase;
  return count;
}

void
explain_saves(const Program *program, FILE *stream)
{
  const bool *read = values_read_by_backward(program);
  SavedValue saved;
  fprintf(stream, "%-44s %-17s %6s %6s %12s %9s  %s\n", "saved value", "stored", "levels", "bits", "bytes", "variance",
          "read by; why unbiased");
  for (ValueId id = 0; id < program->value_count; id++)
    if (describe_saved(program, id, read, &saved))
      fprintf(stream, "%-44s %-17s %6.3g %6.3g %12" PRIu64 " %9.3g  %s; %s\n", saved.name, saved.codec, saved.planned.levels,
              saved.bits, saved.bytes, saved.planned.variance, saved.readers, saved.why);
  const SaveTable *table = program->saves;
  if (table && table->allocated)
    fprintf(stream,
            "%u values shared %" PRIu64 " of %" PRIu64 " bytes by %s; predicted variance %.4g, at most %.3g%% above the best "
            "possible (%.4g)\n",
            table->allocated, table->allocated_bytes, table->budget,
            table->is_measured ? "what a run has measured" : "the prior", table->cost,
            table->cost > table->bound && table->bound > 0 ? 100 * (table->cost / table->bound - 1) : 0, table->bound);
}

void
print_memory(const Program *program, FILE *stream)
{
  const Plan *plan = program->plan;
  uint64_t transient = plan->stash_offset - plan->variable_bytes;
  fprintf(stream, "arena                %14" PRIu64 " bytes\n", plan->arena_bytes);
  fprintf(stream, "  variables, inputs  %14" PRIu64 "\n", plan->variable_bytes);
  fprintf(stream, "  a step's buffers   %14" PRIu64 "  (%" PRIu64 " live at once at most: %.4f of that)\n", transient, plan->lower_bound,
          plan->lower_bound ? (double)transient / (double)plan->lower_bound : 1.0);
  if (plan->window_bytes)
    fprintf(stream, "  saves at once      %14" PRIu64 "  (the host's memory holds up to %" PRIu64 ", of them %" PRIu64 " not coded)\n",
            plan->window_bytes, planned_pool(plan), plan->exact_bytes);
  else fprintf(stream, "  coded saves        %14" PRIu64 "\n", plan->stash_bytes);
  if (plan->exact_bytes && !plan->window_bytes) fprintf(stream, "  exact saves        %14" PRIu64 "\n", plan->exact_bytes);
  fprintf(stream, "  library workspace  %14" PRIu64 "\n", plan->workspace_bytes);
  fprintf(stream, "saved for backward   %14" PRIu64 " bytes; uncompressed %" PRIu64, plan->saved_bytes, plan->saved_bytes_fp32);
  if (plan->saved_bytes) fprintf(stream, ": %.2f times less", (double)plan->saved_bytes_fp32 / (double)plan->saved_bytes);
  fputc('\n', stream);
  uint32_t forward = nodes_of_phase(program, PHASE_FORWARD), again = nodes_of_phase(program, PHASE_RECOMPUTE);
  if (again) fprintf(stream, "computed again       %14u nodes in backward, of %u in forward\n", again, forward);
  const bool *read = values_read_by_backward(program);
  SavedValue saved;
  fprintf(stream, "\n%-52s %14s %14s\n", "saved value", "FP32", "stored");
  for (ValueId id = 0; id < program->value_count; id++)
    if (describe_saved(program, id, read, &saved))
      fprintf(stream, "%-52s %14" PRIu64 " %14" PRIu64 "  %s\n", saved.name, saved.bytes_fp32, saved.bytes, saved.codec);
}

char *
report_json(const Program *program, Arena *arena, size_t *length)
{
  const Plan *plan = program->plan;
  Text text = {.arena = arena};
  const bool *read = values_read_by_backward(program);
  SavedValue saved;
  uint32_t parameters = 0, count = 0;
  for (ValueId id = 0; id < program->value_count; id++)
    parameters += value_at(program, id)->kind == VALUE_PARAMETER && plan->buffer_of[id] != NO_VALUE;
  text_append(&text, "{\"peak_bytes\": %" PRIu64 ", \"arena_bytes\": %" PRIu64 ", \"saved_bytes\": %" PRIu64
                     ", \"saved_bytes_fp32\": %" PRIu64 ", \"host_bytes\": %" PRIu64 ", \"parameters\": %u, \"nodes\": %u, \"recomputed_nodes\": %u,\n \"buffers\": [",
              plan->arena_bytes, plan->arena_bytes, plan->saved_bytes, plan->saved_bytes_fp32, plan->window_bytes ? planned_pool(plan) : 0, parameters,
              program->order_count,
              nodes_of_phase(program, PHASE_RECOMPUTE));
  for (ValueId id = 0; id < program->value_count; id++) {
    if (plan->buffer_of[id] == NO_VALUE) continue;
    const Buffer *buffer = &plan->buffer[plan->buffer_of[id]];
    const Value *value = value_at(program, id);
    const char *kinds[] = {"temporary", "input", "parameter", "state", "constant", "stash"};
    const char *maker, *layer;
    tell_maker(program, id, &maker, &layer);
    text_append(&text, "%s\n  {\"name\": \"%s\", \"kind\": \"%s\", \"layer\": \"%s\", \"bytes\": %" PRIu64 ", \"offset\": %" PRIu64
                       ", \"first\": %u, \"last\": %u}",
                count++ ? "," : "", name_of(program, id), kinds[value->kind], safe_name(arena, layer), value_bytes(program, id),
                buffer->offset, buffer->first, buffer->last);
  }
  text_append(&text, "],\n \"saves\": [");
  count = 0;
  for (ValueId id = 0; id < program->value_count; id++)
    if (describe_saved(program, id, read, &saved))
      text_append(&text, "%s\n  {\"name\": \"%s\", \"readers\": \"%s\", \"codec\": \"%s\", \"bits\": %.6g, \"bytes\": %" PRIu64
                         ", \"bytes_fp32\": %" PRIu64 ", \"unbiased\": \"%s\"}",
                  count++ ? "," : "", saved.name, saved.readers, saved.codec, saved.bits, saved.bytes, saved.bytes_fp32, saved.why);
  text_append(&text, "]}\n");
  *length = text.length;
  return text.bytes;
}

/* Names are safe already: `safe_name` leaves no character that HTML would read. */
char *
report_html(const Program *program, Arena *arena, size_t *length)
{
  const Plan *plan = program->plan;
  Text text = {.arena = arena};
  const bool *read = values_read_by_backward(program);
  SavedValue saved;
  text_append(&text, "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>actnnc: %s</title>\n"
                     "<style>body{font:15px sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse}"
                     "td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child,"
                     "td:last-child,th:last-child{text-align:left}.bar{background:#b9c4cf;height:.7em}.bar i{display:block;"
                     "background:#1f6f5c;height:.7em}</style>\n<h1>%s</h1>\n", safe_name(arena, program->name), safe_name(arena, program->name));
  text_append(&text, "<p>One arena of %" PRIu64 " bytes: variables and inputs %" PRIu64 ", a step's buffers %" PRIu64 ", coded saves %" PRIu64
                     ", library workspace %" PRIu64 ". Kept for backward: %" PRIu64 " bytes instead of %" PRIu64 ".</p>\n",
              plan->arena_bytes, plan->variable_bytes, plan->stash_offset - plan->variable_bytes,
              planned_pool_in_arena(plan), plan->workspace_bytes, plan->saved_bytes, plan->saved_bytes_fp32);
  if (plan->window_bytes)
    text_append(&text, "<p>Saves wait in the host's memory, up to %" PRIu64 " bytes of them.</p>\n", planned_pool(plan));
  text_append(&text, "<table><tr><th>saved value<th>stored<th>bits<th>bytes<th>FP32<th>share<th>read by; why unbiased</tr>\n");
  for (ValueId id = 0; id < program->value_count; id++) {
    if (!describe_saved(program, id, read, &saved)) continue;
    double share = saved.bytes_fp32 ? 100.0 * (double)saved.bytes / (double)saved.bytes_fp32 : 100;
    text_append(&text, "<tr><td>%s<td>%s<td>%.3g<td>%" PRIu64 "<td>%" PRIu64 "<td><div class=\"bar\" style=\"width:8em\">"
                       "<i style=\"width:%.0f%%\"></i></div><td>%s; %s</tr>\n", saved.name, saved.codec, saved.bits, saved.bytes, saved.bytes_fp32,
                share > 100 ? 100 : share,
                saved.readers, saved.why);
  }
  text_append(&text, "</table></html>\n");
  *length = text.length;
  return text.bytes;
}

void
list_passes(FILE *stream)
{
  for (size_t i = 0; i < pass_count; i++) fprintf(stream, "%-16s %s\n", passes[i].name, passes[i].does);
}

void
list_operators(FILE *stream)
{
  for (size_t i = 0; i < operator_count(); i++) {
    const Operator *operator = operator_at(i);
    fprintf(stream, "%s%s%s  %s%s\n", operator->domain, *operator->domain ? "." : "", operator->name, operator->signature,
            operator->gradient ? "" : "  (no gradient)");
  }
  const char *name;
  for (size_t i = 0; (name = spelling_at(i)); i++)
    if (!find_operator("", name)) fprintf(stream, "%s  (written as others of these)\n", name);
}

bool
explain_operator(const char *name, FILE *stream)
{
  bool found = false;
  for (size_t i = 0; i < operator_count(); i++) {
    const Operator *operator = operator_at(i);
    if (strcmp(operator->name, name)) continue;
    found = true;
    fprintf(stream, "%s%s%s\n  signature   %s\n", operator->domain, *operator->domain ? "." : "", operator->name, operator->signature);
    if (operator->expression) fprintf(stream, "  expression  %s\n", operator->expression);
    fprintf(stream, "  gradient    %s\n", operator->gradient ? *operator->gradient ? operator->gradient : "zero" : "none");
    fprintf(stream, "  linear in   %s\n", operator->linear ? operator->linear : "nothing: what it reads is kept exact");
    if (operator->tries) fprintf(stream, "  tried on    %s\n", operator->tries);
  }
  if (!found && is_spelling("", name)) found = fprintf(stream, "%s\n  written as others: see --dump-after=specialize\n", name) > 0;
  return found;
}
