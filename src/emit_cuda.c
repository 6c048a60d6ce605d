/* emit_cuda.c: the kernels of joined nodes for a GPU, one for each text of steps, in the form of cuda/actnn_pointwise.h.
 *
 * Nothing of a model reaches the source but through `safe_name` (comments) and numbers; steps have a grammar of their own
 * (src/operators/pointwise_steps.h). */
#include "emit.h"

#include "joined.h"

#include <string.h>

enum { MOST_TOLD = 3 /* nodes in a comment */ };

uint32_t
list_joined(const Program *program, const char **steps)
{
  static const unsigned functions[] = {1u << PHASE_FORWARD, 1u << PHASE_RECOMPUTE | 1u << PHASE_BACKWARD, 1u << PHASE_EVALUATE};
  uint32_t count = 0;
  pointwise_steps read;
  for (size_t f = 0; f < sizeof functions / sizeof *functions; f++)
    for (uint32_t i = 0; i < program->order_count; i++) {
      const Node *node = node_at(program, program->order[i]);
      if (!(functions[f] & 1u << node->phase) || !joined_steps(node, &read)) continue;
      const char *own = string_attribute(node, "steps", "");
      uint32_t known = 0;
      while (known < count && strcmp(steps[known], own)) known++;
      if (known == count) steps[count++] = own;
    }
  return count;
}

void
append_joined_names(Text *text, const Node *node, const pointwise_steps *steps)
{
  for (int i = 0; i < steps->count; i++) {
    const char *name = joined_name(node, i);
    text_append(text, "%s%s", i ? ", " : "", pointwise_row_at(steps->step[i].row)->name);
    if (*name) text_append(text, " '%s'", safe_name(text->arena, name));
  }
}

/* The nodes that have these steps. */
static void
append_comment(Text *text, const Program *program, const char *steps)
{
  uint32_t told = 0, more = 0;
  pointwise_steps read;
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    if (!joined_steps(node, &read) || strcmp(string_attribute(node, "steps", ""), steps)) continue;
    if (told == MOST_TOLD) {
      more++;
      continue;
    }
    const Value *y = result_value(program, node, 0);
    text_append(text, told++ ? ";\n   " : "/* ");
    append_joined_names(text, node, &read);
    text_append(text, ": %s", shape_text(text->arena, y->type, &y->shape));
  }
  if (more) text_append(text, "; and %u more", more);
  text_append(text, " */\n");
}

static void
append_place(Text *text, int place)
{
  if (place < FIRST_RESULT) text_append(text, "x(%d)", place);
  else if (place < FIRST_TEMPORARY) text_append(text, "y(%d)", place - FIRST_RESULT);
  else text_append(text, "t%d", place - FIRST_TEMPORARY);
}

static void
append_step(Text *text, const pointwise_step *step)
{
  const pointwise_row *row = pointwise_row_at(step->row);
  text_append(text, "  %s", step->result < FIRST_TEMPORARY ? "" : "const float ");
  append_place(text, step->result);
  text_append(text, " = point_%s(", row->name);
  for (int k = 0; k < step->operand_count; k++) {
    text_append(text, "%s", k ? ", " : "");
    append_place(text, step->operand[k]);
  }
  for (int k = 0; k < step->attribute_count; k++) {
    const actnn_attribute *attribute = &step->attribute[k];
    if (attribute->kind == ACTNN_REAL) text_append(text, ", %s", text_of_real(text->arena, attribute->f));
    else text_append(text, ", %d", pointwise_flag(row, attribute));
  }
  text_append(text, ");\n");
}

char *
emit_kernels(const Program *program, const char *name, Arena *arena, size_t *length)
{
  Text text = {.arena = arena};
  const char **steps = arena_array(arena, program->order_count + 1u, sizeof *steps);
  uint32_t count = list_joined(program, steps);
  *length = 0;
  if (!count) return NULL;
  text_append(&text, "/* %s.cu: the joined elementwise nodes of %s.c as kernels for a GPU, emitted by actnnc.\n *\n"
                     " * nvcc -O3 -fmad=false -arch=native -c %s.cu $(pkg-config --cflags actnn-cuda) -o %s_kernels.o\n */\n"
                     "#include \"actnn_pointwise.h\"\n", name, name, name, name);
  for (uint32_t i = 0; i < count; i++) {
    pointwise_steps read;
    parse_pointwise_steps(steps[i], &read); /* list_joined has seen that it can be */
    text_append(&text, "\n");
    append_comment(&text, program, steps[i]);
    text_append(&text, "POINTWISE(joined_%u, %d, %d)\n{\n", i, read.operands, read.results);
    for (int k = 0; k < read.count; k++) append_step(&text, &read.step[k]);
    text_append(&text, "}\n");
  }
  text_append(&text, "\nPOINTWISE_TABLE(%s_pointwise) = {\n", name);
  for (uint32_t i = 0; i < count; i++) text_append(&text, "  {\"%s\", joined_%u},\n", steps[i], i);
  text_append(&text, "  POINTWISE_END\n};\n");
  *length = text.length;
  return text.bytes;
}
