/* emission.c: random graphs through the whole translator. */
#include "emission.h"

#include "../../src/emit.h"
#include "../../src/onnx_export.h"
#ifdef ACTNN_HAVE_LIBCLANG
#include "../../src/verify_source.h"
#endif

#include "../../runtime/philox.h"

#include <stdlib.h>
#include <string.h>

PassFunction offload_exact;

enum { SETTINGS = 0x5345 };

Setting
draw_setting(uint64_t number)
{
  static const double bits[] = {1, 1.5, 2, 3, 4, 5, 8}, compressions[] = {4, 8, 12, 20};
  Setting setting = {.level = 3, .scheme = "actnnc"};
  if (number == 0) setting.level = 0;
  if (number < 2) return setting;
  const actnn_philox_block block = {{(uint32_t)number, 0, 0, 0}};
  const actnn_philox_block words = actnn_philox(block, actnn_random_key(0, 0, SETTINGS, 0), ACTNN_PHILOX_ROUNDS);
  const uint32_t *drawn = words.word;
  setting.level = 1 + (int)(drawn[0] % 5) / 2;
  if (drawn[0] >> 8 & 1) setting.scheme = "actnn";
  if (drawn[1] % 3 == 0) setting.bits = bits[drawn[2] % 7];
  if (drawn[1] % 3 == 1) setting.compression = compressions[drawn[2] % 4];
  if (drawn[3] % 3 == 0) setting.rounding = "stochastic";
  if (drawn[3] % 3 == 1) setting.rounding = "dither";
  if (drawn[3] >> 8 & 1) setting.most_recomputed = (uint64_t)1 << (10 + (drawn[3] >> 9) % 10);
  setting.is_bfloat = (drawn[3] >> 20) % 4 == 0;
  setting.offloads = drawn[3] >> 22 & 1;
  return setting;
}

const char *
setting_text(const Setting *setting, Arena *arena)
{
  const char *text = arena_format(arena, "--level=L%d --scheme=%s", setting->level, setting->scheme);
  if (setting->bits != 0) text = arena_format(arena, "%s --bits=%g", text, setting->bits);
  if (setting->compression != 0) text = arena_format(arena, "%s --compression=%g", text, setting->compression);
  if (setting->most_recomputed) text = arena_format(arena, "%s --recompute=%llu", text, (unsigned long long)setting->most_recomputed);
  if (setting->is_bfloat) text = arena_format(arena, "%s --precision=bf16", text);
  if (setting->is_for_gpu) text = arena_format(arena, "%s --target=cuda", text);
  if (setting->offloads) text = arena_format(arena, "%s, offload-exact as at L5", text);
  return setting->rounding ? arena_format(arena, "%s --rounding=%s", text, setting->rounding) : text;
}

static bool
emit_with(const RandomGraph *graph, const char *text, const Setting *setting, const char *name, Arena *arena,
           Diagnostics *diagnostics, Emission *emission)
{
  Options options = {.command_line = "actnnc", .loss = graph->loss, .optimizer = graph->optimizer, .level = setting->level,
                     .attention = graph->number % 2 ? "separate" : "fused",
                     .bits = setting->bits, .compression = setting->compression, .scheme = setting->scheme,
                     .rounding = setting->rounding, .most_recomputed = setting->most_recomputed, .is_bfloat = setting->is_bfloat,
                     .is_for_gpu = setting->is_for_gpu, .seed = graph->number};
  Options offloading = options;
  if (setting->offloads) offloading.level = 5;
  Program *program = parse_program(name, text, strlen(text), diagnostics);
  bool is_good = program != NULL;
  for (size_t i = 0; i < pass_count && is_good; i++)
    is_good = passes[i].run(program, passes[i].run == offload_exact ? &offloading : &options) && !diagnostics->errors
              && check_program(program, passes[i].name);
  if (is_good) is_good = finish_inference_model(program);
  if (is_good) {
    *emission = (Emission){.name = name, .planned_bytes = program->plan->arena_bytes, .saved_bytes = program->plan->saved_bytes,
                           .save_count = program->saves->count, .program = program, .options = options};
    for (uint32_t i = 0; i < program->order_count; i++)
      emission->recomputed_count += node_at(program, program->order[i])->phase == PHASE_RECOMPUTE;
    exact_saves(program, &emission->exact_count);
    emission->source = emit_source(program, &options, name, arena, &emission->source_length);
    emission->header = emit_header(name, arena, &emission->header_length);
    if (setting->is_for_gpu) emission->kernels = emit_kernels(program, name, arena, &emission->kernels_length);
    emission->weights = emit_weights(program, arena, &emission->weights_length);
  }
  if (program && !is_good) program_destroy(program);
  return is_good;
}

bool
emit_graph(const RandomGraph *graph, const char *text, Setting *setting, const char *name, Arena *arena, Diagnostics *diagnostics,
           Emission *emission)
{
  bool was_quiet = diagnostics->quiet;
  diagnostics->quiet |= setting->compression != 0;
  bool is_good = emit_with(graph, text, setting, name, arena, diagnostics, emission);
  diagnostics->quiet = was_quiet;
  if (is_good || setting->compression == 0) return is_good;
  diagnostics->errors = 0;
  setting->compression = 0;
  return emit_with(graph, text, setting, name, arena, diagnostics, emission);
}

void
end_emission(Emission *emission)
{
  if (emission->program) program_destroy(emission->program);
  emission->program = NULL;
}

bool
verify_emission(const Emission *emission, Diagnostics *diagnostics)
{
#ifdef ACTNN_HAVE_LIBCLANG
  const EmittedText text = {.name = emission->name, .source = emission->source, .source_length = emission->source_length,
                            .header = emission->header, .header_length = emission->header_length,
                            .kernels = emission->kernels, .kernels_length = emission->kernels_length};
  return verify_source(diagnostics, emission->name, &text, emission->program, &emission->options);
#else
  (void)emission;
  (void)diagnostics;
  return true;
#endif
}

/* Comments and strings are left out, and what follows from names: the exported model and what checkpoints belong to. */
const char *
anonymous_text(const Emission *emission, Arena *arena)
{
  char *text = arena_text(arena, emission->source, emission->source_length), *to = text;
  for (const char *at = text; *at;) {
    if (!strncmp(at, "/*", 2)) {
      at = strstr(at, "*/") + 2;
      while (to > text && to[-1] == ' ') to--;
    } else if (*at == '"') {
      at = strchr(at + 1, '"') + 1; /* quoted strings hold no quote: it is an octal escape */
    } else if (!strncmp(at, "onnx_model[] = {", 16)) {
      at = strchr(at, '}');
    } else if (!strncmp(at, ".model_hash", 11) || !strncmp(at, ".onnx_bytes", 11)) {
      at = strchr(at, '\n');
    } else {
      *to++ = *at++;
    }
  }
  *to = 0;
  return text;
}

const unsigned char *
weights_data(const Emission *emission, size_t *length)
{
  uint64_t header = 0;
  *length = 0;
  if (emission->weights_length < 8) return NULL;
  memcpy(&header, emission->weights, 8);
  *length = emission->weights_length - 8 - (size_t)header;
  return emission->weights + 8 + header;
}

bool
write_emission(const Emission *emission, Diagnostics *diagnostics)
{
  Arena *arena = diagnostics->arena;
  const char *weights = arena_format(arena, "%s.safetensors", emission->name);
  if (emission->weights && !write_file(diagnostics, weights, emission->weights, emission->weights_length)) return false;
  return write_file(diagnostics, arena_format(arena, "%s.h", emission->name), emission->header, emission->header_length)
         && write_file(diagnostics, arena_format(arena, "%s.c", emission->name), emission->source, emission->source_length);
}
