/* test_layout.c: kernels that work in channel blocks get all their images in blocks, whatever kind of value an image is. */
#include "../../passes/passes.h"
#include "../runtime/tap.h"

#include <string.h>

/* A parameter is normalized and pooled; an input is, too, so that there are blocks to begin with. */
static const char of_parameter[] =
    "<ir_version: 8, opset_import: [\"\" : 17]>\n"
    "net (float[2,3,4,4] x) => (float[2,3] y)\n"
    "<float[2,3,4,4] learned = [\"location\" : \"none\"],\n"
    " float[3] s = [\"location\" : \"none\"], float[3] b = [\"location\" : \"none\"],\n"
    " float[3] m = [\"location\" : \"none\"], float[3] v = [\"location\" : \"none\"]>\n"
    "{\n"
    "  [norm] n, rm, rv = BatchNormalization <training_mode = 1> (learned, s, b, m, v)\n"
    "  [pool] p = MaxPool <kernel_shape = [2, 2]> (learned)\n"
    "  [mean] g = GlobalAveragePool (p)\n"
    "  [sum] a = Add (n, x)\n"
    "  [mean2] h = GlobalAveragePool (a)\n"
    "  [both] o = Add (g, h)\n"
    "  [flat] y = Flatten (o)\n"
    "}\n";

/* In evaluation Dropout is gone, and the pool reads the constant itself. */
static const char of_constant[] =
    "<ir_version: 8, opset_import: [\"\" : 17]>\n"
    "net (float[2,3] x) => (float[2,3] y)\n"
    "<bool training = {1}, float[3,3] w = [\"location\" : \"none\"]>\n"
    "{\n"
    "  shape = Constant <value_ints = [2, 3, 4, 4]> ()\n"
    "  ones = ConstantOfShape <value: tensor = float[1] {1.5}> (shape)\n"
    "  ratio = Constant <value_float = 0.5> ()\n"
    "  [drop] d = Dropout (ones, ratio, training)\n"
    "  [pool] p = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (d)\n"
    "  [mean] g = GlobalAveragePool (p)\n"
    "  [flat] f = Flatten (g)\n"
    "  [product] q = MatMul (x, w)\n"
    "  [sum] y = Add (q, f)\n"
    "}\n";

/* Operands of whatever rank that are no images, and convolutions, which read plain images too. */
static bool
may_be_plain(const Node *node, const Value *value)
{
  return !value || value->shape.rank < 3 || !strncmp(node->operator_name, "Conv", 4) || !strcmp(node->operator_name, "SumTo")
         || !strcmp(node->operator_name, "ToBlocked") || !strcmp(node->operator_name, "ToPlain");
}

static void
test_images(const char *text, const char *what)
{
  Arena *arena = arena_create();
  Options options = {.level = 0, .scheme = "actnnc", .loss = "mse", .optimizer = "sgd", .command_line = "actnnc"};
  Program *program = parse_program("net", text, strlen(text), diagnostics_create(arena));
  bool is_good = program != NULL, is_done = false;
  unsigned mixed = 0, images = 0;
  for (size_t i = 0; i < pass_count && is_good && !is_done; i++) {
    is_done = !strcmp(passes[i].name, "layout");
    is_good = passes[i].run(program, &options);
  }
  for (uint32_t i = 0; is_good && i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    const Value *y = result_value(program, node, 0);
    if (!y || y->layout != ACTNN_BLOCKED || (node->operator->flags & POINTWISE)) continue;
    for (uint32_t k = 0; k < node->operand_count; k++) {
      const Value *x = operand_value(program, node, k);
      if (may_be_plain(node, x) || operand_slot(node->operator, k)->is_constant) continue;
      images++;
      mixed += x->layout != ACTNN_BLOCKED;
    }
  }
  ok(is_good && images > 2 && !mixed, "%s: %u images of blocked nodes, %u of them not in blocks", what, images, mixed);
  if (program) program_destroy(program);
  arena_destroy(arena);
}

int
main(void)
{
  test_images(of_parameter, "a parameter that is normalized and pooled");
  test_images(of_constant, "a constant that is pooled in evaluation");
  return tap_done();
}
