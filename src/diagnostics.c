/* diagnostics.c: messages that say where, what and what to do.
 *
 * Everything taken from a model goes through `safe_name` before it reaches a terminal: a name may hold escape
 * sequences, right-to-left marks or a megabyte of text. Whole messages are capped for the same reason.
 */
#include "diagnostics.h"
#include "program.h"

#include <stdarg.h>
#include <string.h>

enum { LONGEST_NAME = 120, LONGEST_LINE = 200, MOST_OPERANDS_SHOWN = 12 };

Diagnostics *
diagnostics_create(Arena *arena)
{
  Diagnostics *diagnostics = arena_allocate(arena, sizeof *diagnostics);
  diagnostics->arena = arena;
  diagnostics->stream = stderr;
  diagnostics->limit = 20;
  return diagnostics;
}

/* Counts an error; true when it is to be printed. The first one that is not printed says so. */
static bool
count_error(Diagnostics *diagnostics)
{
  diagnostics->errors++;
  if (diagnostics->quiet) return false;
  if (diagnostics->errors <= diagnostics->limit) return true;
  if (diagnostics->errors == diagnostics->limit + 1) fprintf(diagnostics->stream, "further errors are not shown\n");
  return false;
}

static void
print_help(const Diagnostics *diagnostics, const char *help)
{
  if (help) fprintf(diagnostics->stream, "  help:  %s\n", help);
}

bool
report(Diagnostics *diagnostics, const char *file, const char *help, const char *format, ...)
{
  if (!count_error(diagnostics)) return false;
  va_list arguments;
  va_start(arguments, format);
  fprintf(diagnostics->stream, "%s: error: ", file ? file : "actnnc");
  vfprintf(diagnostics->stream, format, arguments);
  fputc('\n', diagnostics->stream);
  va_end(arguments);
  print_help(diagnostics, help);
  return false;
}

/* The source line around `position` and a caret below it. Long lines are shown from near the position on. */
static void
print_line(FILE *stream, const char *text, size_t length, size_t start, size_t position)
{
  size_t from = start;
  if (position - from > LONGEST_LINE / 2) from = position - LONGEST_LINE / 2;
  fputs("  ", stream);
  for (size_t i = from; i < length && text[i] != '\n' && i - from < LONGEST_LINE; i++) {
    unsigned char c = (unsigned char)text[i];
    fputc(c == '\t' ? ' ' : c >= 32 && c < 127 ? c : '?', stream);
  }
  fputs("\n  ", stream);
  for (size_t i = from; i < position; i++) fputc(' ', stream);
  fputs("^\n", stream);
}

bool
report_at(Diagnostics *diagnostics, const char *file, const char *text, size_t length, size_t position,
          const char *help, const char *format, ...)
{
  if (!count_error(diagnostics)) return false;
  if (position > length) position = length;
  size_t line = 1, start = 0;
  for (size_t i = 0; i < position; i++) {
    if (text[i] == '\n') line++, start = i + 1;
  }
  va_list arguments;
  va_start(arguments, format);
  fprintf(diagnostics->stream, "%s:%zu:%zu: error: ", file ? file : "actnnc", line, position - start + 1);
  vfprintf(diagnostics->stream, format, arguments);
  fputc('\n', diagnostics->stream);
  va_end(arguments);
  print_line(diagnostics->stream, text, length, start, position);
  print_help(diagnostics, help);
  return false;
}

/* "  node   Conv(f32[32,256,14,14], f32[256,256,3,3])" */
static void
print_node(const Program *program, const Node *node)
{
  Diagnostics *diagnostics = program->diagnostics;
  fprintf(diagnostics->stream, "  node   %s(", safe_name(diagnostics->arena, node->operator_name));
  for (uint32_t i = 0; i < node->operand_count && i < MOST_OPERANDS_SHOWN; i++) {
    const Value *value = operand_value(program, node, i);
    fprintf(diagnostics->stream, "%s%s", i ? ", " : "",
            value ? shape_text(diagnostics->arena, value->type, &value->shape) : "none");
  }
  fputs(node->operand_count > MOST_OPERANDS_SHOWN ? ", ...)\n" : ")\n", diagnostics->stream);
}

bool
report_node(const Program *program, unsigned node_id, const char *help, const char *format, ...)
{
  Diagnostics *diagnostics = program->diagnostics;
  if (!count_error(diagnostics)) return false;
  const Node *node = node_at(program, node_id);
  fputs(program->source ? program->source : "actnnc", diagnostics->stream);
  if (node->line > 0) fprintf(diagnostics->stream, ":%d", node->line);
  fprintf(diagnostics->stream, ": error: %s '%s': ", safe_name(diagnostics->arena, node->operator_name),
          node->name[0] ? safe_name(diagnostics->arena, node->name)
                                      : arena_format(diagnostics->arena, "#%u", node_id));
  va_list arguments;
  va_start(arguments, format);
  vfprintf(diagnostics->stream, format, arguments);
  fputc('\n', diagnostics->stream);
  va_end(arguments);
  print_node(program, node);
  print_help(diagnostics, help);
  return false;
}

void
warn(Diagnostics *diagnostics, const char *file, const char *format, ...)
{
  diagnostics->warnings++;
  if (diagnostics->quiet || diagnostics->warnings > diagnostics->limit) return;
  va_list arguments;
  va_start(arguments, format);
  fprintf(diagnostics->stream, "%s: warning: ", file ? file : "actnnc");
  vfprintf(diagnostics->stream, format, arguments);
  fputc('\n', diagnostics->stream);
  va_end(arguments);
}

const char *
safe_name(Arena *arena, const char *name)
{
  if (!name) return "";
  static const char also_safe[] = "_./:-";
  size_t length = 0;
  while (length <= LONGEST_NAME && name[length]) length++;
  bool is_cut = length > LONGEST_NAME;
  char *copy = arena_text(arena, name, is_cut ? LONGEST_NAME : length);
  for (char *c = copy; *c; c++) {
    bool is_safe =
        (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr(also_safe, *c);
    if (!is_safe) *c = '_'; /* not `?`: two of them before a slash would join lines of emitted source */
  }
  if (is_cut) memcpy(copy + LONGEST_NAME - 3, "...", 3);
  return copy;
}
