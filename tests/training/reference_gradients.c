/* reference_gradients.c: the double-precision evaluator as the oracle of emitted trainers.
 *
 *   reference_gradients inputs MODEL BATCH SEED DIR [NAME=N ...]
 *       writes DIR/INPUT.npy for every input of the model (and its labels), random
 *   reference_gradients compare MODEL BATCH DIR WEIGHTS.safetensors GRADIENTS.safetensors LIMIT [NAME=N ...]
 *       computes every parameter's gradient in double precision from those weights and inputs and compares: prints the largest
 *       relative L2 distance and the parameter that has it; exit code 0 when it is at most LIMIT, 2 when larger, 1 on error
 *   reference_gradients distance ONE.safetensors OTHER.safetensors LIMIT
 *       the same between two files of gradients, or checkpoints
 */
#include "../../passes/passes.h"
#include "../../runtime/safetensors.h"
#include "relative_distance.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

PassFunction specialize, simplify, attach_loss, differentiate;

static Program *
differentiated(const char *path, Options *options, Diagnostics *diagnostics)
{
  Program *program = import_model(path, diagnostics);
  PassFunction *const needed[] = {specialize, simplify, attach_loss, differentiate};
  for (size_t i = 0; program && i < sizeof needed / sizeof needed[0]; i++)
    if (!needed[i](program, options)) return NULL;
  return program;
}

/* ---- inputs ---------------------------------------------------------------------------------------- */

static uint64_t
next_random(uint64_t *state)
{
  *state += 0x9E3779B97F4A7C15u;
  uint64_t z = *state;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/* Integers an input may hold: classes for labels, rows of the table it indexes for tokens. */
static int64_t
integer_range(const Program *program, ValueId input)
{
  for (uint32_t i = 0; i < program->order_count; i++) {
    const Node *node = node_at(program, program->order[i]);
    for (uint32_t k = 0; k < node->operand_count; k++) {
      if (node->operands[k] != input) continue;
      if (!strcmp(node->operator_name, "Gather")) return operand_value(program, node, 0)->shape.dim[0];
      if (!strcmp(node->operator_name, "SoftmaxCrossEntropyLoss")) return operand_value(program, node, 0)->shape.dim[1];
      if (!strcmp(node->operator_name, "Reshape")) return integer_range(program, result_id(node, 0));
    }
  }
  return 2;
}

/* Images of plain noise look all alike to a deep network, and normalizing what hardly differs amplifies rounding: each sample
 * gets a wave of its own under the noise. */
static double
wave(const Value *value, uint64_t seed, int64_t element)
{
  const Shape *shape = &value->shape;
  if (shape->rank < 3) return 0;
  int64_t width = shape->dim[shape->rank - 1], height = shape->dim[shape->rank - 2], plane = element / (width * height);
  uint64_t state = seed * 7919 + (uint64_t)(plane / shape->dim[1]);
  double across = (double)(next_random(&state) % 5), down = (double)(next_random(&state) % 5);
  double phase = 6.283185307179586 * (double)(next_random(&state) % 1024) / 1024 + (double)(plane % shape->dim[1]);
  double x = (double)(element % width) / (double)width, y = (double)(element / width % height) / (double)height;
  return 2 * cos(6.283185307179586 * (across * x + down * y) + phase);
}

static bool
write_npy(const char *directory, const Program *program, ValueId input, uint64_t *state)
{
  const uint64_t seed = *state;
  const Value *value = value_at(program, input);
  char path[1024], header[256], extents[160] = "";
  int64_t count = 0, range = value->type == ACTNN_F32 ? 0 : integer_range(program, input);
  shape_elements(&value->shape, &count);
  for (int i = 0; i < value->shape.rank; i++)
    snprintf(extents + strlen(extents), sizeof extents - strlen(extents), "%" PRId64 ",", value->shape.dim[i]);
  int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                        range ? "<i8" : "<f4", extents);
  int padded = (length + 1 + 10 + 63) / 64 * 64 - 10;
  snprintf(path, sizeof path, "%s/%s.npy", directory, value->name);
  FILE *file = fopen(path, "wb");
  if (!file) return perror(path), false;
  fwrite("\x93NUMPY\x01\x00", 1, 8, file);
  fputc(padded & 255, file);
  fputc(padded >> 8, file);
  fprintf(file, "%-*s\n", padded - 1, header);
  for (int64_t i = 0; i < count; i++) {
    double u = (double)(next_random(state) >> 11) * 0x1p-53, v = (double)(next_random(state) >> 11) * 0x1p-53;
    float normal = (float)(sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v) + wave(value, seed, i));
    int64_t integer = (int64_t)(u * (double)(range ? range : 1));
    if (range) fwrite(&integer, 8, 1, file);
    else fwrite(&normal, 4, 1, file);
  }
  return !fclose(file);
}

static int
make_inputs(const Program *program, const char *directory, uint64_t seed)
{
  for (uint32_t i = 0; i < program->input_count; i++) {
    uint64_t state = seed * 1000003 + i;
    if (!write_npy(directory, program, program->inputs[i], &state)) return 1;
  }
  return 0;
}

/* ---- comparison ------------------------------------------------------------------------------------- */

static Tensor *
new_tensor(Program *program, ValueId id, int64_t *count)
{
  const Value *value = value_at(program, id);
  Tensor *tensor = arena_allocate(program->arena, sizeof *tensor);
  shape_elements(&value->shape, count);
  *tensor = (Tensor){.type = value->type == ACTNN_F32 ? ACTNN_F32 : ACTNN_I64, .shape = value->shape};
  tensor->data = arena_array(program->arena, (size_t)*count + 1, 8);
  return tensor;
}

static Tensor *
read_npy(Program *program, const char *directory, ValueId id)
{
  char path[1024];
  unsigned char preamble[10];
  int64_t count;
  Tensor *tensor = new_tensor(program, id, &count);
  snprintf(path, sizeof path, "%s/%s.npy", directory, value_at(program, id)->name);
  FILE *file = fopen(path, "rb");
  if (!file || fread(preamble, 1, 10, file) != 10 || fseek(file, 10 + preamble[8] + 256 * preamble[9], SEEK_SET)) return NULL;
  for (int64_t i = 0; i < count; i++) {
    float narrow;
    if (tensor->type == ACTNN_I64 ? fread((int64_t *)tensor->data + i, 8, 1, file) != 1 : fread(&narrow, 4, 1, file) != 1) return NULL;
    if (tensor->type == ACTNN_F32) ((double *)tensor->data)[i] = narrow;
  }
  fclose(file);
  return tensor;
}

static float *
read_floats(safetensors_file *file, const char *name, int64_t count)
{
  const safetensors_entry *entry = safetensors_find(file, name);
  float *data = malloc((size_t)count * 4 + 4);
  if (!entry || entry->bytes != (uint64_t)count * 4 || !safetensors_read(file, entry, data)) {
    fprintf(stderr, "%s: no tensor '%s' of %" PRId64 " floats\n", file->path, name, count);
    exit(1);
  }
  return data;
}

static void
load_variables(Program *program, Tensor **tensors, safetensors_file *weights)
{
  for (ValueId id = 0; id < program->value_count; id++) {
    const Value *value = value_at(program, id);
    int64_t count;
    if ((value->kind != VALUE_PARAMETER && value->kind != VALUE_STATE) || !safetensors_find(weights, value->name)) continue;
    tensors[id] = new_tensor(program, id, &count);
    float *data = read_floats(weights, value->name, count);
    for (int64_t i = 0; i < count; i++) ((double *)tensors[id]->data)[i] = data[i];
    free(data);
  }
}

static double
distance_of(const double *exact, const float *got, int64_t count, double scale)
{
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < count; i++) {
    difference += (got[i] - exact[i]) * (got[i] - exact[i]);
    norm += exact[i] * exact[i];
  }
  return relative_distance(difference, norm, scale);
}

static int
compare(Program *program, const char *directory, const char *weights_path, const char *gradients_path, double limit)
{
  safetensors_file weights, gradients;
  Tensor **tensors = arena_array(program->arena, program->value_count + 1, sizeof *tensors);
  double worst = 0, scale = 0;
  const char *worst_name = "";
  unsigned compared = 0;
  if (!safetensors_open(&weights, weights_path)) return fprintf(stderr, "%s\n", weights.error), 1;
  if (!safetensors_open(&gradients, gradients_path)) return fprintf(stderr, "%s\n", gradients.error), 1;
  load_variables(program, tensors, &weights);
  for (uint32_t i = 0; i < program->input_count; i++)
    if (!(tensors[program->inputs[i]] = read_npy(program, directory, program->inputs[i]))) return fprintf(stderr, "bad input file\n"), 1;
  if (!evaluate_program(program, 1u << PHASE_FORWARD | 1u << PHASE_BACKWARD, program->arena, tensors)) return 1;
  for (int round = 0; round < 2; round++)
    for (uint32_t i = 0; i < program->order_count; i++) {
      const Node *node = node_at(program, program->order[i]);
      if (strcmp(node->operator_name, "Update")) continue;
      const Value *parameter = operand_value(program, node, 0);
      const double *exact = tensors[operand_id(node, 1)]->data;
      int64_t count = 0;
      shape_elements(&parameter->shape, &count);
      if (round == 0) {
        double norm = 0;
        for (int64_t k = 0; k < count; k++) norm += exact[k] * exact[k];
        scale = fmax(scale, sqrt(norm));
        continue;
      }
      float *got = read_floats(&gradients, parameter->name, count);
      double distance = distance_of(exact, got, count, scale);
      if (!(distance <= worst)) {
        worst = distance;
        worst_name = parameter->name;
      }
      if (getenv("VERBOSE")) printf("%-50s %.3g\n", parameter->name, distance);
      free(got);
      compared++;
    }
  printf("%u parameters, largest relative distance %.3g (%s)\n", compared, worst, worst_name);
  safetensors_close(&weights);
  safetensors_close(&gradients);
  return compared && worst <= limit ? 0 : 2;
}

/* ---- two files --------------------------------------------------------------------------------------- */

/* Sums of squares of the difference of two gradients, and of the first; false when they are not the same tensor. */
static bool
square_sums(safetensors_file *one, safetensors_file *other, const safetensors_entry *entry, double *difference, double *size)
{
  const safetensors_entry *also = safetensors_find(other, entry->name);
  float *a = malloc(entry->bytes + 1), *b = malloc(entry->bytes + 1);
  bool is_good = a && b && also && also->bytes == entry->bytes && safetensors_read(one, entry, a) &&
                 safetensors_read(other, also, b);
  *difference = *size = 0;
  for (uint64_t i = 0; is_good && i < entry->bytes / sizeof *a; i++) {
    *difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    *size += (double)a[i] * a[i];
  }
  free(a);
  free(b);
  return is_good;
}

static int
compare_files(const char *one_path, const char *other_path, double limit)
{
  safetensors_file one, other;
  double largest = 0, scale = 0, difference, size;
  const char *worst = "none";
  if (!safetensors_open(&one, one_path)) return fprintf(stderr, "%s\n", one.error), 1;
  if (!safetensors_open(&other, other_path)) return fprintf(stderr, "%s\n", other.error), 1;
  for (int pass = 0; pass < 2; pass++)
    for (size_t i = 0; i < one.entry_count; i++) {
      if (one.entry[i].type != ACTNN_F32) continue; /* a checkpoint's counters */
      if (!square_sums(&one, &other, &one.entry[i], &difference, &size)) return fprintf(stderr, "%s: differs\n", one.entry[i].name), 1;
      if (pass == 0) scale = fmax(scale, sqrt(size));
      double distance = pass == 0 ? 0 : relative_distance(difference, size, scale);
      if (distance <= largest) continue;
      largest = distance;
      worst = one.entry[i].name;
    }
  printf("%zu gradients, largest relative distance %.3g, of '%s'\n", one.entry_count, largest, worst);
  bool is_close = one.entry_count > 0 && one.entry_count == other.entry_count && largest <= limit;
  safetensors_close(&one);
  safetensors_close(&other);
  return is_close ? 0 : 2;
}

int
main(int argc, char **argv)
{
  if (argc == 5 && !strcmp(argv[1], "distance")) return compare_files(argv[2], argv[3], atof(argv[4]));
  bool makes_inputs = argc > 5 && !strcmp(argv[1], "inputs");
  int dims_at = makes_inputs ? 6 : 8;
  if (!makes_inputs && (argc < 8 || strcmp(argv[1], "compare"))) return fprintf(stderr, "see the top of reference_gradients.c\n"), 1;
  Options options = {.batch = atoll(argv[3]), .loss = getenv("LOSS") ? getenv("LOSS") : "softmax-cross-entropy", .level = 0};
  for (int i = dims_at; i < argc; i++) {
    char *equals = strchr(argv[i], '=');
    if (!equals) continue;
    *equals = 0;
    options.dimension[options.dimension_count++] = (DimensionOption){argv[i], atoll(equals + 1)};
  }
  Arena *arena = arena_create();
  Program *program = differentiated(argv[2], &options, diagnostics_create(arena));
  if (!program) return 1;
  int code = makes_inputs ? make_inputs(program, argv[5], strtoull(argv[4], NULL, 10))
                          : compare(program, argv[4], argv[5], argv[6], atof(argv[7]));
  program_destroy(program);
  arena_destroy(arena);
  return code;
}
