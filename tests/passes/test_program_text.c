/* test_program_text.c: programs read from text and printed again. */
#include "reading.h"

#include <math.h>

/* ---- what is printed reads back ------------------------------------------------------------------ */

static const char ordinary[] =
    "agraph (float[N, 128] X, float[128, 10] W, float[10] B = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1.5}) => (float[N, 10] C)\n"
    "{\n  T = MatMul(X, W)\n  S = Add(T, B)\n  C = Softmax(S)\n}\n";

static const char rich[] =
    "<ir_version: 8, opset_import: [\"\" : 17, \"actnn\" : 1], producer_name: \"hand\", metadata_props: [\n"
    " \"other\" : \"ignored\", \"actnn.loss\" : \"loss\", \"actnn.updates\" : \"w2=w 'b new'=b\", \"actnn.state\" : \"'the \\\\' state'\",\n"
    " \"actnn.blocked\" : \"'a b'\", \"actnn.frozen\" : \"w\", \"actnn.loss_kind\" : \"mse\", \"actnn.drawn_from\" : \"w=d\",\n"
    " \"actnn.constant\" : \"c\", \"actnn.label\" : \"label\", \"actnn.trainer_inputs\" : \"lr\", \"actnn.learning_rate\" : \"lr\",\n"
    " \"actnn.saves\" : \"complete 'a b' y normal dither rectified 0 0 4092 128 900 0.1 adaptive 'it is linear'\n"
    "  '' y even stochastic plain -1e-300 2.5 5 18446744073709551552 18446744073709551615 1e300 fixed ''\n"
    "  z '' fixed dither plain -0.17 1.13 1 0 0 0 fixed why\n  w z masked dither plain 0 0 2 64 256 3 adaptive why\n"
    "  u loss square stochastic plain 0 0 4095 64 256 3 redrawn why\", \"actnn.stash\" : \"y\"]>\n"
    "\"na me\" (float[\"N x\",3,H,?] \"x.1\", float[] z, int64[64] label, untyped, float lr) => (float loss, u)\n"
    "<float[2] w = {1e-45, -0.0}, float[2,3,1] \"a b\", float16[2] h = {1,2}, double s = {3.141592653589793},\n"
    " float[3] i = {inf,-inf,nan}, int64[2] shape = {2, -3}, uint64 big = {18446744073709551615}, float c = {0.1},\n"
    " int64 small = {-9223372036854775808}, float[2] b = {0.1, 3.4028235e38}, bool[2] bb = {1,0}, float[0] e = {},\n"
    " float[2000] gone = [\"location\" : \"omitted\", \"length\" : \"8000\", \"crc32\" : \"0000abcd\"],\n"
    " float \"the ' state\" = [\"location\" : \"none\"], uint8[2] y> {\n"
    " d = RandomNormal<shape = [2], phase = \"initialize\">()\n"
    " [n] \"a b\" = actnn.Foo<l=[1,2], e: ints = [], f = 1.5, g=[0.1,2,nan], h=0.1000000000000000055511151231257827,\n"
    "   q=\"q\\\"uo\\\\te\", ss=[\"a\",\"b\"], se: strings=[], t = float[2] {1,2}, u: float = 3>(\"x.1\", \"\", w)  # hi\n"
    " [\"a/b\"] y = Relu(\"a b\")\n v1, , v4 = com.micro.Split(,z,) <axis=-1>\n"
    " loss = Loss(v1, label, shape, i, big, small, b, bb, h, s, c)\n"
    " g = Grad<phase = \"backward\", origin = \"loss\">(loss)\n"
    " w2 = Sgd<phase = \"update\", origin = \"g\", k = \"x\">(w, g)\n"
    " \"b new\" = Sgd<phase = \"update\", came_from = \"a.b.Conv /c/Conv ' x\">(b, g)\n"
    " u = mydom.fun<alpha = 2.0>(v4)\n}\n"
    "<domain: \"mydom\", opset_import: [\"\" : 17]> fun <alpha, beta: float = 1.5, gamma> (X) => (Y)\n"
    "{ t = Elu<alpha: float = @alpha, beta: float = @beta, gamma: float = @gamma>(X) [lab] Y = Relu(t) }\n";

/* What may be left out, said twice or written in another way. */
static const char loose[] =
    "<ir_version: 8, model_version: 3, domain: \"d\", overload: \"\", opset_import: [\"ai.onnx\" : 17], metadata_props: []>\n"
    "\"\" (float[N,2] x, float z, float d) => (float[3,?] y, double t, float d)\n"
    "<float[?,2] y, float[3,2] y, y, double[] t, double t, float[] z, float[N,?] x, float d = {2}, bfloat16[2] b = {1,2}, float16 f = {3},\n"
    " int8[2] i8 = {-128,127}, int16 i16 = {-2}, int32 i32 = {-3}, float[2] e = {1E5, infinity}, double wide = {1e39},\n"
    " float double = {1}, float seq = {1}, float optional = {1}, float tensor = {1}, float int8x = {1}, float uint8x = {1},\n"
    " float floaty = {1}, float bfloaty = {1}, float complexes = {1}, float aname_of_some_length = {1},\n"
    " float[2] bare = [\"location\" : \"none\", \"offset\" : \"0\"], float va = {1}, float \"2x\" = {1}, float \"a\\\\b\" = {1}> {\n"
    " [] y = ai.onnx.Relu<phase = \"never\", floats: floats = [1, 2], none: floats = [], part = float[2] p = {1, 2}, q = float {1},\n"
    "   r = float[2] \"quoted\" [\"location\" : \"omitted\", \"length\" : \"8\", \"crc32\" : \"ff\"]>(x)\n"
    " [outer] t = m.f<b = 4>() [outer] = m.f<b = 4>()\n" /* the second result of the first, and none */
    " w = \"my op\"<\"a t\" = 1, \"\" = 2, large = 1000000000.0e30, fine = 0.12345678901234567>(i8, i16, i32)\n"
    " u = Relu<came_from = \"Conv\">(x) v = Relu<came_from = \"Conv\">(x)\n}\n"
    "<domain: \"m\", opset_import: [\"other\" : 2, \"\" : 18]> f <a = 3, b> (X) => (Y, Z) <float[2] i, float o>\n"
    "{ [in] Y = Elu<a = @a, b = @b>(X) Z = Relu(Y) }\n";

static void
check_round_trip(const char *what, const char *text)
{
  Reading *first = read_text(text, strlen(text));
  if (!ok(first->program != NULL, "%s: is read", what)) {
    printf("# %s\n", first->messages);
    forget(first);
    return;
  }
  const char *printed = print_program(first->program, first->arena);
  Reading *second = read_text(printed, strlen(printed));
  if (!ok(second->program != NULL, "%s: what is printed is read", what)) printf("# %s\n", second->messages);
  if (second->program)
    ok(!strcmp(print_program(second->program, second->arena), printed), "%s: and prints the same", what);
  forget(first);
  forget(second);
}

static void
test_ordinary(void)
{
  Reading *reading = read_text(ordinary, strlen(ordinary));
  const Program *program = reading->program;
  if (ok(program != NULL, "an ordinary model is read")) {
    ok(program->input_count == 2, "an input with data is no input");
    ok(value_named(program, "X")->kind == VALUE_INPUT && value_named(program, "W")->kind == VALUE_INPUT, "inputs");
    const Value *b = value_named(program, "B");
    ok(b->kind == VALUE_PARAMETER && b->data_bytes == 40 && ((const float *)b->data)[9] == 1.5f, "a float initializer");
    ok(!strcmp(value_named(program, "C")->symbol[0], "N") && value_named(program, "C")->is_output, "a symbolic output");
    ok(program->order_count == 3 && node_at(program, 1)->line == 4, "nodes know their line");
  }
  forget(reading);
}

/* Every word of `rich` about saves. */
static void
check_saves(const Program *program)
{
  static const actnn_spacing spacings[] = {ACTNN_NORMAL_LEVELS, ACTNN_EVEN_LEVELS, ACTNN_FIXED_LEVELS, ACTNN_MASKED_LEVELS,
                                           ACTNN_SQUARE_LEVELS};
  const SaveTable *saves = program->saves;
  if (!ok(saves && saves->count == 5 && saves->is_complete, "five saves, and there are no others")) return;
  const Save *save = saves->save;
  bool is_right = true;
  for (int i = 0; i < 5; i++) is_right &= save[i].spacing == spacings[i];
  ok(is_right, "all spacings");
  ok(save[0].dither && save[0].is_rectified && save[0].adaptation == ACTNN_ADAPTS_BY_READERS && !save[1].dither && !save[1].is_rectified
         && save[1].adaptation == ACTNN_KEEPS_ITS_SHARE && save[4].adaptation == ACTNN_ADAPTS_BY_REDRAWS,
     "rounding, rectifiers, and what is adaptive");
  ok(save[0].choices == 4092 && save[0].bytes == 128 && save[0].uncompressed == 900 && save[0].weight == 0.1
         && !strcmp(save[0].why, "it is linear"),
     "choices, bytes, weight and the reason of a save");
  ok(save[1].value == NO_VALUE && save[1].low == -1e-300 && save[1].high == 2.5 && save[1].bytes == 18446744073709551552u
         && save[1].uncompressed == UINT64_MAX && save[1].weight == 1e300 && !*save[1].why,
     "numbers to the last bit, and a value that is gone");
  ok(save[2].stash == NO_VALUE && save[2].low == -0.17 && save[2].high == 1.13, "a fixed range");
}

/* Facts that only the second reading can lose. */
static void
test_facts(void)
{
  Reading *first = read_text(rich, strlen(rich));
  if (!ok(first->program != NULL, "a text with all facts is read")) {
    printf("# %s\n", first->messages);
    forget(first);
    return;
  }
  const char *printed = print_program(first->program, first->arena);
  Reading *second = read_text(printed, strlen(printed));
  const Program *program = second->program;
  if (ok(program != NULL, "and read again")) {
    const Value *w = value_named(program, "w"), *i = value_named(program, "i"), *gone = value_named(program, "gone");
    ok(w->is_frozen && w->drawn_from != NO_VALUE && value_at(program, w->drawn_from) == value_named(program, "d"), "links");
    ok(((const float *)w->data)[0] == 1e-45f && signbit(((const float *)w->data)[1]), "the smallest float, and -0");
    ok(isinf(((const float *)i->data)[0]) && isnan(((const float *)i->data)[2]), "inf and nan");
    ok(!gone->data && gone->data_bytes == 8000 && gone->data_checksum == 0xabcd, "omitted data");
    ok(value_named(program, "the ' state")->kind == VALUE_STATE, "kinds");
    ok(value_named(program, "c")->kind == VALUE_CONSTANT, "a float constant");
    ok(value_named(program, "a b")->layout == ACTNN_BLOCKED, "layouts");
    ok(value_named(program, "y")->kind == VALUE_STASH && value_named(program, "y")->layout == ACTNN_STASH, "a stash");
    ok(program->loss_kind == ACTNN_LOSS_MSE && value_at(program, program->loss) == value_named(program, "loss"), "the loss");
    ok(program->input_count == 4 && program->learning_rate != NO_VALUE, "an input of the trainer is not the model's");
    check_saves(program);
    const Node *foo = node_at(program, value_named(program, "a b")->producer);
    ok(float_attribute(foo, "h", 0) == 0.1 && float_attribute(foo, "f", 0) == 1.5, "real attributes");
    ok(foo->operand_count == 3 && foo->operands[1] == NO_VALUE, "an absent operand");
    ok(value_named(program, "v1")->producer != NO_NODE, "a value that is really called v1 keeps its name");
    const Node *sgd = node_at(program, value_named(program, "b new")->producer);
    ok(sgd->phase == PHASE_UPDATE && sgd->origin != NO_NODE
           && !strcmp(node_at(program, sgd->origin)->name, "/c/Conv ' x") && !strcmp(node_at(program, sgd->origin)->domain, "a.b"),
       "the origin of a node, though it is gone");
    const Node *elu = node_at(program, value_named(program, "u")->producer);
    const Node *inner = node_at(program, operand_value(program, elu, 0)->producer);
    ok(!strcmp(inner->operator_name, "Elu") && float_attribute(inner, "alpha", 0) == 2
           && float_attribute(inner, "beta", 0) == 1.5 && !find_attribute(inner, "gamma"),
       "a function is inlined with its attributes");
  }
  forget(first);
  forget(second);
}

/* Every beginning of a text is a text that must be refused or read, never anything else. */
static void
test_beginnings(void)
{
  unsigned read = 0;
  for (size_t length = 0; length < strlen(rich); length++) {
    char *text = malloc(length + 1); /* of its own, so that reading beyond it shows */
    memcpy(text, rich, length);
    Reading *reading = read_text(text, length);
    read += reading->program != NULL || !reading->diagnostics->errors;
    forget(reading);
    free(text);
  }
  ok(read == 3, "of all beginnings of a text only three are read: the graph alone, and all but the last newline");
}

static const char few[] =
    "<metadata_props: [\"actnn.saves\" : \"x y even dither plain 0 0 4 64 256 1 fixed why\"]> g (x) => (y) { y = actnn.Relu(x) }";

static const char kinds[] =
    "<metadata_props: [\"actnn.stash\" : \"p\", \"actnn.plain\" : \"p\", \"actnn.coded\" : \"c\", \"actnn.saves\" : \"none\",\n"
    "  \"actnn.training_algorithm\" : \"yes\", \"actnn.uncompressed_bytes\" : \"18446744073709551615\"]>\n"
    "g (float x) => (float y) <float p, uint8 c, float[] r, float[4611686018427387904,4] h>\n"
    "{ p = Exp(x) c = Exp(p) r = Exp(c) h = Exp(r) y = Exp(h) }";

static void
test_kinds(void)
{
  Reading *reading = read_text(kinds, strlen(kinds));
  const Program *program = reading->program;
  if (ok(program != NULL, "more facts are read")) {
    const Value *p = value_named(program, "p"), *c = value_named(program, "c");
    ok(p->kind == VALUE_STASH && p->layout == ACTNN_PLAIN && c->kind == VALUE_TEMPORARY && c->layout == ACTNN_STASH, "layouts apart from kinds");
    ok(program->saves && !program->saves->count && !program->saves->is_complete, "no saves yet");
    ok(program->has_training_algorithm && program->uncompressed_bytes == UINT64_MAX, "a model's own algorithm, and what nothing compressed takes");
  }
  forget(reading);
}

static size_t
count_of(const Program *program, const char *operator_name)
{
  size_t count = 0;
  for (uint32_t p = 0; p < program->order_count; p++) count += !strcmp(node_at(program, program->order[p])->operator_name, operator_name);
  return count;
}

static void
test_loose(void)
{
  Reading *reading = read_text(loose, strlen(loose));
  const Program *program = reading->program;
  if (ok(program != NULL, "a loose text is read")) {
    const Value *x = value_named(program, "x"), *y = value_named(program, "y"), *e = value_named(program, "e"), *t = value_named(program, "t");
    ok(strstr(reading->messages, "a function imports version 18 of '', the model 17: the model's is used"), "what it warns of: %s",
       reading->messages);
    ok(program->ir_version == 8 && opset_version(program, "") == 17, "ai.onnx is ONNX's own set");
    ok(y->shape.rank == 2 && y->shape.dim[0] == 3 && y->shape.dim[1] == 2, "what several declarations say of a shape is joined");
    ok(t->type == ACTNN_F64 && t->shape.rank == 0 && x->symbol && !strcmp(x->symbol[0], "N"), "a shape that says nothing changes none");
    ok(value_named(program, "b")->kind == VALUE_PARAMETER && value_named(program, "b")->data_bytes == 4, "bfloat16 elements as their bits");
    ok(*(const int16_t *)value_named(program, "i16")->data == -2 && *(const int32_t *)value_named(program, "i32")->data == -3,
       "narrow integers");
    ok(((const float *)e->data)[0] == 1e5f && isinf(((const float *)e->data)[1]), "1E5 and infinity");
    ok(*(const double *)value_named(program, "wide")->data == 1e39, "a double that is no float");
    ok(program->input_count == 2 && value_named(program, "d")->kind == VALUE_PARAMETER, "an input with data is a parameter");
    const Node *relu = node_at(program, y->producer);
    const Attribute *floats = find_attribute(relu, "floats"), *none = find_attribute(relu, "none");
    ok(relu->phase == PHASE_FORWARD && !strcmp(string_attribute(relu, "phase", ""), "never"), "a phase that there is not is an attribute");
    ok(floats && floats->kind == ATTRIBUTE_FLOATS && floats->floats[1] == 2 && none && none->kind == ATTRIBUTE_FLOATS && !none->count,
       "a list of reals, by its kind");
    ok(value_at(program, find_attribute(relu, "r")->tensor)->data_checksum == 0xff, "a tensor without its data");
    const Node *elu = node_at(program, t->producer);
    ok(!strcmp(elu->name, "outer/in") && elu->operands[0] == NO_VALUE && int_attribute(elu, "a", 0) == 3 && int_attribute(elu, "b", 0) == 4,
       "a call with fewer operands and results");
    ok(count_of(program, "Elu") == 2, "and without results");
    const Node *u = node_at(program, value_named(program, "u")->producer), *v = node_at(program, value_named(program, "v")->producer);
    ok(u->origin == v->origin && !strcmp(node_at(program, u->origin)->operator_name, "Conv") && !*node_at(program, u->origin)->name,
       "one origin of two nodes");
  } else {
    printf("# %s\n", reading->messages);
  }
  forget(reading);
}

/* Labels of calls in calls do not grow without end. */
static void
test_long_labels(void)
{
  Arena *arena = arena_create();
  const char *text = arena_format(arena, "g (x) => (y) { [l%0199d] y = m.f(x) } <domain: \"m\"> f (X) => (Y) { [in] Y = Relu(X) }", 1);
  Reading *reading = read_text(text, strlen(text));
  ok(reading->program && !strcmp(node_at(reading->program, 0)->name, "in"), "a long label does not lead another");
  forget(reading);
  arena_destroy(arena);
}

/* ---- programs that no text makes ------------------------------------------------------------------- */

static Program *
small_program(Arena *arena)
{
  static const char text[] = HEADER "g (x) => (y) { a = Relu(x) b = Relu(a) c = Relu(b) y = Relu(c) }";
  return parse_program("small", text, strlen(text), diagnostics_create(arena));
}

/* A node whose origin is gone comes from the origin's own, when that is there; in a ring of those that are gone the search ends. */
static void
test_origins(void)
{
  Arena *arena = arena_create();
  Program *program = small_program(arena);
  node_at(program, 3)->origin = 2;
  node_at(program, 2)->origin = 0;
  remove_from_order(program, 2);
  ok(strstr(print_program(program, arena), "origin = \"a\""), "the origin of an origin that is gone");
  node_at(program, 0)->results[0] = NO_VALUE;
  ok(strstr(print_program(program, arena), "came_from = \"Relu\""), "an origin without results is called by its operator");
  node_at(program, 2)->origin = 2;
  ok(strstr(print_program(program, arena), "came_from = \"Relu\""), "origins in a ring");
  program_destroy(program);
  arena_destroy(arena);
}

/* What is not legal is printed all the same. */
static void
test_damaged(void)
{
  static const float data[2000] = {1, 2, 3};
  Arena *arena = arena_create();
  Program *program = small_program(arena);
  int64_t dim = 2, many = 2000;
  Shape two = shape_of(1, &dim);
  ValueId odd = add_constant(program, "odd", ACTNN_F32, two, data, 9), open = add_constant(program, "open", ACTNN_F32, two, data, 8);
  ValueId more = add_constant(program, "more", ACTNN_F32, two, data, 12), text = add_constant(program, "text", ACTNN_STRING, two, "a\0b", 4);
  ValueId same = add_constant(program, "x", ACTNN_F32, two, data, 8), empty = add_constant(program, "", ACTNN_F32, two, data, 8);
  ValueId tensor = add_constant(program, NULL, ACTNN_F32, shape_of(1, &many), data, sizeof data);
  ValueId unread = add_value(program, "unread", VALUE_INPUT, ACTNN_F32, two);
  const ValueId all[] = {odd, open, more, text, same, empty};
  value_at(program, open)->shape.rank = -1;
  for (uint32_t i = 0; i < 6; i++) set_operand(program, 0, i + 1, all[i]);
  set_attribute(program, 1, (Attribute){.name = "large", .kind = ATTRIBUTE_TENSOR, .tensor = tensor});
  result_value(program, node_at(program, 1), 0)->kind = VALUE_INPUT;
  result_value(program, node_at(program, 2), 0)->type = ACTNN_F32;
  program->name = "";
  program->has_training_algorithm = true;
  program->uncompressed_bytes = 77;
  const char *printed = print_program(program, arena);
  ok(strstr(printed, "odd = [\"location\" : \"omitted\", \"length\" : \"9\"") && strstr(printed, "open = [\"location\" : \"omitted\"")
         && strstr(printed, "more = [\"location\" : \"omitted\"") && strstr(printed, "text = [\"location\" : \"omitted\""),
     "data that does not fit its type is described");
  ok(strstr(printed, "Relu(x, odd, open, more, text, \"x:2\", v1)"), "a name that is taken, and an empty one");
  ok(strstr(printed, "large = float[2000] = [\"location\""), "a large tensor of an attribute is described");
  ok(unread != NO_VALUE && !strstr(printed, "unread"), "an input that nothing reads and the model has not is left out");
  ok(strstr(printed, "graph (x) => (y)\n"), "what a node makes is no input: %s", printed);
  ok(strstr(printed, "\"actnn.training_algorithm\" : \"yes\"") && strstr(printed, "\"actnn.uncompressed_bytes\" : \"77\""), "facts of programs");
  program_destroy(program);
  arena_destroy(arena);
}

/* ---- asking and changing --------------------------------------------------------------------------- */

static void
test_attributes(void)
{
  static const char text[] = "g (x) => (y) { y = ai.onnx.Relu<i = 2, f = 1.5, s = \"t\", is = [1, 2]>(x) }";
  const int64_t *ints;
  Reading *reading = read_text(text, strlen(text));
  Program *program = reading->program;
  const Node *node = node_at(program, 0);
  ok(int_attribute(node, "f", 7) == 7 && int_attribute(node, "none", 8) == 8, "a real is no integer");
  ok(float_attribute(node, "i", 7) == 2 && float_attribute(node, "s", 7) == 7, "an integer is a real, a text is none");
  ok(!strcmp(string_attribute(node, "i", "other"), "other") && ints_attribute(node, "i", &ints) == 0 && !ints, "an integer is no text and no list");
  NodeId same = add_node(program, PHASE_FORWARD, "ai.onnx", "Relu", NULL, NULL, 0, NULL, 0);
  NodeId none = add_node(program, PHASE_FORWARD, NULL, "Relu", "", NULL, 0, NULL, 0);
  ok(!*node_at(program, same)->domain && !*node_at(program, none)->domain && node_at(program, same)->operator == node_at(program, none)->operator,
     "ai.onnx and no domain are one");
  ok(opset_version(program, "ai.onnx") == opset_version(program, ""), "and their versions are");
  forget(reading);
}

static void
test_replacing(void)
{
  Arena *arena = arena_create();
  Program *program = small_program(arena);
  ValueId x = program->inputs[0], a = result_id(node_at(program, 0), 0), b = result_id(node_at(program, 1), 0);
  ValueId c = result_id(node_at(program, 2), 0), y = result_id(node_at(program, 3), 0);
  set_attribute(program, 3, (Attribute){.name = "t", .kind = ATTRIBUTE_TENSOR, .tensor = a});
  value_at(program, a)->updates = x;
  replace_uses(program, a, a);
  ok(operand_id(node_at(program, 1), 0) == a && value_at(program, a)->updates == x, "a value replaced by itself stays");
  replace_uses(program, a, b);
  ok(operand_id(node_at(program, 1), 0) == b && find_attribute(node_at(program, 3), "t")->tensor == b && value_at(program, b)->updates == x
         && value_at(program, a)->updates == NO_VALUE,
     "operands, attributes and updates are replaced");
  ValueId by[8];
  for (int i = 0; i < 8; i++) by[i] = NO_VALUE;
  by[b] = c;
  by[y] = a;
  replace_all_uses(program, by);
  ok(find_attribute(node_at(program, 3), "t")->tensor == c && value_at(program, c)->updates == x && program->outputs[0] == a
         && value_at(program, a)->is_output && !value_at(program, y)->is_output,
     "and all at once");
  set_result(program, 3, 0, c);
  set_result(program, 2, 0, a);
  ok(value_at(program, c)->producer == 3 && value_at(program, y)->producer == NO_NODE && value_at(program, a)->producer == 2,
     "what another node makes by now keeps its maker");
  program_destroy(program);
  arena_destroy(arena);
}

/* Values without names are numbered in the order of their definition, past names in use. */
static void
test_numbers(void)
{
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  Program *program = program_create("numbers", diagnostics);
  int64_t dim = 2;
  ValueId x = add_value(program, "v2", VALUE_INPUT, ACTNN_F32, shape_of(1, &dim));
  ValueId late = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, shape_of(1, &dim));
  ValueId early = add_value(program, NULL, VALUE_TEMPORARY, ACTNN_F32, shape_of(1, &dim));
  program->inputs = &x;
  program->input_count = 1;
  add_node(program, PHASE_FORWARD, "", "Relu", "", &x, 1, &early, 1);
  add_node(program, PHASE_FORWARD, "", "Neg", "", &early, 1, &late, 1);
  const char *printed = print_program(program, arena);
  ok(strstr(printed, "v1 = Relu(v2)") && strstr(printed, "v3 = Neg(v1)"), "numbers follow the order of definition");
  Reading *reading = read_text(printed, strlen(printed));
  ok(reading->program && !value_at(reading->program, result_id(node_at(reading->program, 1), 0))->name,
     "and are no names when read");
  ok(reading->program && !strcmp(print_program(reading->program, arena), printed), "and print the same");
  forget(reading);
  program_destroy(program);
  arena_destroy(arena);
}

/* Large data is left out; its checksum stays, whether or not the data is there. */
static void
test_large_data(void)
{
  Arena *arena = arena_create();
  Program *program = program_create("large", diagnostics_create(arena));
  float data[1025] = {1, 2, 3};
  int64_t dim = 1025;
  ValueId w = add_value(program, "w", VALUE_PARAMETER, ACTNN_F32, shape_of(1, &dim));
  value_at(program, w)->data = data;
  value_at(program, w)->data_bytes = sizeof data;
  const char *printed = print_program(program, arena);
  ok(strstr(printed, "\"length\" : \"4100\", \"crc32\" : \""), "large data is described");
  Reading *reading = read_text(printed, strlen(printed));
  ok(reading->program && !strcmp(print_program(reading->program, arena), printed), "and its description stays");
  forget(reading);
  program_destroy(program);
  arena_destroy(arena);
}

int
main(void)
{
  test_ordinary();
  check_round_trip("an ordinary model", ordinary);
  check_round_trip("a text with all facts", rich);
  check_round_trip("a loose text", loose);
  check_round_trip("a text without types", few);
  check_round_trip("a text with more facts", kinds);
  test_kinds();
  test_loose();
  test_facts();
  test_beginnings();
  test_numbers();
  test_large_data();
  test_long_labels();
  test_origins();
  test_damaged();
  test_attributes();
  test_replacing();
  return tap_done();
}
