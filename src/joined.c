/* joined.c: a joined node told as the nodes that it was made of; see joined.h. */
#include "joined.h"

#include <string.h>

bool
joined_steps(const Node *node, pointwise_steps *steps)
{
  return !strcmp(node->operator_name, "Pointwise") && !parse_pointwise_steps(string_attribute(node, "steps", ""), steps);
}

const char *
joined_name(const Node *node, int step)
{
  const Attribute *names = find_attribute(node, "names");
  return names && names->kind == ATTRIBUTE_STRINGS && (size_t)step < names->count ? names->strings[step] : "";
}

const char *
coded_row_name(const Node *node)
{
  pointwise_steps steps;
  const char *text = strcmp(node->operator_name, "QuantizeOnSave") ? NULL : string_attribute(node, "steps", NULL);
  return text && !parse_coded_row(text, &steps) ? pointwise_row_at(steps.step[0].row)->name : NULL;
}

void
tell_maker(const Program *program, ValueId value, const char **operator_name, const char **node_name)
{
  NodeId maker = value_at(program, value)->producer;
  pointwise_steps steps;
  *operator_name = *node_name = "";
  if (maker == NO_NODE) return;
  const Node *node = node_at(program, maker);
  *operator_name = node->operator_name;
  *node_name = node->name;
  for (int i = 0; joined_steps(node, &steps) && i < steps.count; i++) {
    int result = steps.step[i].result - FIRST_RESULT;
    if (result >= MOST_STEP_RESULTS || result_id(node, (uint32_t)result) != value) continue;
    *operator_name = pointwise_row_at(steps.step[i].row)->name;
    *node_name = joined_name(node, i);
  }
}
