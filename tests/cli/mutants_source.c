/* mutants_source.c: places in an emitted source that mutants change, and facts of its tensors and calls; see mutants.h. */
#include "mutants.h"

/* ---- lists ------------------------------------------------------------------------------------------------------ */

/* Strings hold no comma, brace or quote: those are escaped. */
Span
item_of(const Bench *bench, size_t open, uint32_t index)
{
  int depth = 0;
  uint32_t count = 0;
  Span span = {open + 1, open + 1};
  for (size_t at = open + 1;; at++) {
    char c = bench->source[at];
    if (!c) return (Span){open + 1, open + 1};
    bool is_end = depth == 0 && (c == ',' || c == ')' || c == '}');
    if (is_end && count++ == index) return span.to = at, span;
    if (is_end && c != ',') return (Span){at, at};
    if (is_end) span.from = at + 1 + strspn(bench->source + at + 1, " \n");
    depth += (c == '(' || c == '{') - (!is_end && (c == ')' || c == '}'));
  }
}

const char *
text_of(const Bench *bench, Span span)
{
  return arena_text(bench->scratch, bench->source + span.from, span.to - span.from);
}

const char *
decimal(const Bench *bench, uint64_t number)
{
  return arena_format(bench->scratch, "%lluu", (unsigned long long)number);
}

static size_t
next_sign(const Bench *bench, size_t from, const char *signs)
{
  return from + strcspn(bench->source + from, signs);
}

Span
row_of(const Bench *bench, uint32_t tensor)
{
  size_t open = next_sign(bench, bench->emitted.tensor[tensor].position, "{");
  Span last = item_of(bench, open, BYTES);
  return (Span){open, last.to + 1};
}

Span
field_of(const Bench *bench, uint32_t tensor, Field field)
{
  return item_of(bench, row_of(bench, tensor).from, field);
}

Span
table_field(const Bench *bench, uint32_t position, uint32_t index)
{
  return item_of(bench, position - 1, index);
}

Span
model_field(const Bench *bench, const char *field)
{
  const char *model = strstr(bench->source, "_model = {"), *at = strstr(model, arena_format(bench->scratch, "  .%s = ", field));
  size_t from = (size_t)(at - bench->source) + strlen(field) + 6;
  return (Span){from, next_sign(bench, from, ",")};
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

enum { CALLEE, OUTPUTS, INPUTS, CONSTANTS };

static Span
part_of(const Bench *bench, const EmittedCall *call, uint32_t part)
{
  return item_of(bench, call->position + 3, part);
}

static Span
item_of_part(const Bench *bench, const EmittedCall *call, uint32_t part, uint32_t index)
{
  return item_of(bench, next_sign(bench, part_of(bench, call, part).from, "("), index);
}

Span
callee_of(const Bench *bench, const EmittedCall *call)
{
  return part_of(bench, call, CALLEE);
}

Span
result_of(const Bench *bench, const EmittedCall *call, uint32_t index)
{
  return item_of_part(bench, call, OUTPUTS, index);
}

Span
operand_of(const Bench *bench, const EmittedCall *call, uint32_t index)
{
  return item_of_part(bench, call, INPUTS, index);
}

Span
attribute_of(const Bench *bench, const EmittedCall *call, uint32_t index)
{
  return item_of_part(bench, call, CONSTANTS, index);
}

Span
call_line(const Bench *bench, const EmittedCall *call)
{
  return (Span){call->position, next_sign(bench, call->position, "\n") + 1};
}

/* ---- facts --------------------------------------------------------------------------------------------------------- */

bool
reads_tensor(const EmittedCall *call, uint32_t tensor)
{
  for (uint32_t k = 0; k < call->input_count; k++)
    if (call->input[k] == tensor) return true;
  return false;
}

bool
is_one_of(const char *name, const char *const *names, size_t count)
{
  for (size_t i = 0; i < count; i++)
    if (!strcmp(name, names[i])) return true;
  return false;
}

uint32_t
last_reader(const Emitted *emitted, uint32_t tensor)
{
  uint32_t last = NONE;
  for (uint32_t i = 0; i < emitted->call_count; i++)
    if (reads_tensor(&emitted->call[i], tensor)) last = i;
  return last;
}

bool
same_time(const Emitted *emitted, uint32_t one_call, uint32_t other_call)
{
  EmittedPhase one = emitted->call[one_call].phase, other = emitted->call[other_call].phase;
  return one == other || (one == FORWARD && other == BACKWARD) || (one == BACKWARD && other == FORWARD);
}
