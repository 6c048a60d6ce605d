/* main.c: the command line of actnnc: read a model, run the passes, write a trainer. */
#include "choose_attention.h"
#include "choose_recomputation.h"
#include "emit.h"
#include "onnx_export.h"
#include "report.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifdef ACTNN_HAVE_LIBCLANG
#include "verify_source.h"
#endif

PassFunction allocate_bits, fuse_attention, plan_memory, recompute;

typedef struct CommandLine {
  Options options;
  const char *model, *output;
  const char *dump_directory, *dump_after, *run_passes, *report, *explain;
  bool dump_passes, verify_each, list_passes, list_operators, list_rules, print_memory, explain_saves, check, no_verify;
} CommandLine;

static const char usage[] =
    "actnnc MODEL.onnx -o train.c [options]\n"
    "  --target=c|cuda           where the trainer computes: the processor, or a GPU (link with actnn-cuda)\n"
    "  --batch=N, --dim NAME=N   fix symbolic dimensions\n"
    "  --loss=KIND[:OUTPUT]      softmax-cross-entropy | mse | l1 | bce-with-logits | output; default: the model's scalar output\n"
    "  --optimizer=KIND[,k=v...] sgd (lr, momentum, nesterov, weight_decay) | adam | adamw | adagrad\n"
    "  --freeze=GLOB             parameters that are not trained (repeatable)\n"
    "  --batchnorm=train         train BatchNormalization that was exported in inference mode\n"
    "  --level=L0..L5            presets: L0 exact FP32, L1 and L2 4 bits fixed, L3 (default) 2 bits adaptive; L4 and L5, on a GPU, L3 with\n"
    "                            half of what is saved, or all that can be, in the host's memory until backward reads it\n"
    "  --bits=B                  bits per quantized element on average, 1..8, fractions allowed, twice that where its noise goes on to other\n"
    "                            layers; 32: keep FP32\n"
    "  --compression=N           bytes saved for backward N times less than in FP32, instead of --bits\n"
    "  --recompute=auto|always|never|SIZE\n"
    "                            compute runs of layers again in backward, exactly, instead of saving them: where codes of --bits take\n"
    "                            more than is asked for, and memory is not lost by it (default); for --compression at any cost, without\n"
    "                            it wherever memory is saved; never; or in runs that free SIZE at most, wherever fewer bytes are saved then\n"
    "  --split-loss=auto|always|never\n"
    "                            compute class scores, their loss and its gradient some rows at a time: where all scores would take\n"
    "                            16 MiB or more (default; not in ActNN's scheme), wherever there are rows for two parts, or never\n"
    "  --attention=auto|fused|separate\n"
    "                            attention as one operator, whose backward computes the probabilities again from exact q and k: where the\n"
    "                            trainer then takes no more memory (default; not in ActNN's scheme or at L1); always; never, and\n"
    "                            probabilities are saved\n"
    "  --scheme=actnnc|actnn     codes beyond ActNN's (default), or ActNN's own with its defects mended\n"
    "  --rounding=auto|dither|stochastic\n"
    "  --profile-use=FILE        bits where a trainer's --profile-generate found that they matter\n"
    "  --precision=fp32|bf16     what activations and their gradients are held in; weights and statistics stay FP32\n"
    "  --workspace=SIZE          scratch for a GPU's libraries, 64MiB unless given; more may be faster\n"
    "  --memory-budget=SIZE      all that the trainer may take, e.g. 512MiB\n"
    "  --seed=N                  seed of random draws\n"
    "  --print-memory            the plan: bytes by kind and by saved value\n"
    "  --explain-saves           each saved value: how it is stored, who reads it, why the gradient stays unbiased\n"
    "  --report=FILE.json|.html  the same as data, or as one page\n"
    "  --check                   would it train? nothing is emitted\n"
    "  --dump-passes[=DIR], --dump-after=PASS, --verify-each, --run-pass=PASS[,PASS]\n"
    "  --list-passes, --list-operators, --list-rules, --explain=OPERATOR\n"
    "  --no-verify               do not read the emitted source back\n";

static int
fail(const char *what, const char *detail)
{
  fprintf(stderr, "actnnc: error: %s%s%s\n  help:  actnnc --help\n", what, detail ? ": " : "", detail ? detail : "");
  return 1;
}

/* ---- reading the command line ------------------------------------------------------------------------ */

static const char *
value_of(const char *argument, const char *option)
{
  size_t length = strlen(option);
  return strncmp(argument, option, length) || argument[length] != '=' ? NULL : argument + length + 1;
}

static int
read_rounding(const char *value, Options *options)
{
  options->rounding = strcmp(value, "auto") ? value : NULL;
  return !strcmp(value, "auto") || !strcmp(value, "dither") || !strcmp(value, "stochastic") ? 1 : -1;
}

static bool
read_count(const char *text, int64_t *count)
{
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  *count = value;
  return end != text && !*end && !errno && value > 0 && value < (1LL << 40);
}

static bool
read_size(const char *text, uint64_t *bytes)
{
  static const struct { const char *unit; double scale; } units[] = {
      {"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}};
  char *end;
  double number = strtod(text, &end);
  for (size_t i = 0; end != text && i < sizeof units / sizeof units[0]; i++)
    if (!strcmp(end, units[i].unit) && number > 0 && number * units[i].scale < 1e15) {
      *bytes = (uint64_t)(number * units[i].scale);
      return true;
    }
  return false;
}

/* Of a size, what it is computed for is not asked. */
static int
read_recompute(const char *value, Options *options)
{
  bool is_word = !strcmp(value, "auto") || !strcmp(value, "always") || !strcmp(value, "never");
  options->most_recomputed = 0;
  options->recompute = !is_word ? "size" : strcmp(value, "auto") ? value : NULL;
  return is_word || read_size(value, &options->most_recomputed) ? 1 : -1;
}

/* auto, which is NULL, or one of two words. */
static int
read_choice(const char *value, const char *one, const char *other, const char **choice)
{
  *choice = strcmp(value, "auto") ? value : NULL;
  return !*choice || !strcmp(value, one) || !strcmp(value, other) ? 1 : -1;
}

static bool
read_dimension(Options *options, const char *text)
{
  const char *equals = strchr(text, '=');
  int64_t extent;
  if (!equals || options->dimension_count == MAX_DIMENSIONS || !read_count(equals + 1, &extent)) return false;
  char *name = strndup(text, (size_t)(equals - text));
  options->dimension[options->dimension_count++] = (DimensionOption){name, extent};
  return name != NULL;
}

/* An option with a value; 1 taken, 0 not one of these, -1 bad value. */
static int
read_value_option(CommandLine *line, const char *argument)
{
  Options *options = &line->options;
  const char *value;
  char *end;
  if ((value = value_of(argument, "--batch"))) return read_count(value, &options->batch) ? 1 : -1;
  if ((value = value_of(argument, "--dim"))) return read_dimension(options, value) ? 1 : -1;
  if ((value = value_of(argument, "--loss"))) return options->loss = value, 1;
  if ((value = value_of(argument, "--optimizer"))) return options->optimizer = value, 1;
  if ((value = value_of(argument, "--freeze"))) {
    if (options->freeze_count == MAX_FREEZE) return -1;
    options->freeze[options->freeze_count++] = value;
    return 1;
  }
  if ((value = value_of(argument, "--batchnorm")))
    return options->flip_batch_normalization = !strcmp(value, "train"), options->flip_batch_normalization ? 1 : -1;
  if ((value = value_of(argument, "--level"))) {
    options->level = value[0] == 'L' ? value[1] - '0' : -1;
    return options->level < 0 || options->level > 5 || value[2] ? -1 : 1;
  }
  if ((value = value_of(argument, "--bits"))) {
    options->bits = strtod(value, &end);
    return end == value || *end || !((options->bits >= 1 && options->bits <= 8) || options->bits == 32) ? -1 : 1;
  }
  if ((value = value_of(argument, "--profile-use"))) return options->profile_use = value, *value ? 1 : -1;
  if ((value = value_of(argument, "--memory-budget"))) return read_size(value, &options->memory_budget) ? 1 : -1;
  if ((value = value_of(argument, "--seed"))) return options->seed = strtoull(value, &end, 10), end == value || *end ? -1 : 1;
  if ((value = value_of(argument, "--scheme"))) return options->scheme = value, strcmp(value, "actnn") && strcmp(value, "actnnc") ? -1 : 1;
  if ((value = value_of(argument, "--split-loss"))) return read_choice(value, "always", "never", &options->split_loss);
  if ((value = value_of(argument, "--attention"))) return read_choice(value, "fused", "separate", &options->attention);
  if ((value = value_of(argument, "--recompute"))) return read_recompute(value, options);
  if ((value = value_of(argument, "--rounding"))) return read_rounding(value, options);
  if ((value = value_of(argument, "--compression")))
    return options->compression = strtod(value, &end), end == value || *end || !(options->compression >= 1 && options->compression <= 1000) ? -1 : 1;
  if ((value = value_of(argument, "--target")))
    return options->is_for_gpu = !strcmp(value, "cuda"), options->is_for_gpu || !strcmp(value, "c") ? 1 : -1;
  if ((value = value_of(argument, "--precision")))
    return options->is_bfloat = !strcmp(value, "bf16"), options->is_bfloat || !strcmp(value, "fp32") ? 1 : -1;
  if ((value = value_of(argument, "--workspace"))) return read_size(value, &options->workspace) ? 1 : -1;
  if ((value = value_of(argument, "--dump-passes"))) return line->dump_passes = true, line->dump_directory = value, 1;
  if ((value = value_of(argument, "--dump-after"))) return line->dump_after = value, 1;
  if ((value = value_of(argument, "--run-pass"))) return line->run_passes = value, 1;
  if ((value = value_of(argument, "--report"))) return line->report = value, 1;
  if ((value = value_of(argument, "--explain"))) return line->explain = value, 1;
  return 0;
}

static bool
read_flag(CommandLine *line, const char *argument)
{
  const struct { const char *name; bool *flag; } flags[] = {
      {"--dump-passes", &line->dump_passes}, {"--verify-each", &line->verify_each}, {"--list-passes", &line->list_passes},
      {"--list-operators", &line->list_operators}, {"--list-rules", &line->list_rules}, {"--print-memory", &line->print_memory},
      {"--explain-saves", &line->explain_saves}, {"--check", &line->check}, {"--no-verify", &line->no_verify}};
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
    if (!strcmp(argument, flags[i].name)) return *flags[i].flag = true;
  return false;
}

/* 0, or the exit code after a message. */
static int
read_command_line(CommandLine *line, int argc, char **argv)
{
  line->options.level = 3;
  line->options.scheme = "actnnc";
  line->options.workspace = 64 << 20;
  for (int i = 1; i < argc; i++) {
    const char *argument = argv[i];
    int taken = read_value_option(line, argument);
    if (taken < 0) return fail("bad value", argument);
    if (taken || read_flag(line, argument)) continue;
    if (!strcmp(argument, "-o") || !strcmp(argument, "--dim")) {
      if (++i == argc) return fail("missing value after", argument);
      if (argument[1] == 'o') line->output = argv[i];
      else if (!read_dimension(&line->options, argv[i])) return fail("bad value", argv[i]);
    } else if (argument[0] == '-' && argument[1]) {
      return fail("unknown option", argument);
    } else if (line->model) {
      return fail("one model at a time, not also", argument);
    } else {
      line->model = argument;
    }
  }
  if (line->options.level > 3 && !line->options.is_for_gpu)
    return fail("at L4 and L5 saves wait in the host's memory while a GPU computes: give --target=cuda too, or take", "--level=L3");
  return 0;
}

/* ---- running passes ----------------------------------------------------------------------------------- */

static bool
dump(const Program *program, const CommandLine *line, size_t index, const char *name)
{
  Arena *arena = arena_create();
  const char *text = print_program(program, arena);
  bool is_good = true;
  if (line->dump_directory) {
    if (mkdir(line->dump_directory, 0777) && errno != EEXIST) {
      is_good = report(program->diagnostics, line->dump_directory, NULL, "cannot make the folder: %s", strerror(errno));
    } else {
      const char *path = arena_format(arena, "%s/%02zu-%s.onnxtxt", line->dump_directory, index, name);
      is_good = write_file(program->diagnostics, path, text, strlen(text));
    }
  } else {
    printf("# ---- after %s\n%s", name, text);
  }
  arena_destroy(arena);
  return is_good;
}

static bool
run_pass(Program *program, CommandLine *line, size_t index)
{
  const Pass *pass = &passes[index];
  if (pass->run == fuse_attention) choose_attention(program, &line->options);
  if (!pass->run(program, &line->options) || program->diagnostics->errors) return false;
  if (line->verify_each && !check_program(program, pass->name)) return false;
  if (line->dump_passes || (line->dump_after && !strcmp(line->dump_after, pass->name))) return dump(program, line, index + 1, pass->name);
  return true;
}

static bool
run_all_passes(Program *program, CommandLine *line)
{
  for (size_t i = 0; i < pass_count; i++) {
    if (passes[i].run == recompute) choose_recomputation(program, &line->options);
    if (!run_pass(program, line, i)) return false;
  }
  return true;
}

/* --memory-budget: the most bits that fit. Bits decide only what allocate-bits and plan-memory make, so those run again. */
static bool
fit_budget(Program *program, CommandLine *line)
{
  static const double choices[] = {8, 7, 6, 5, 4, 3.5, 3, 2.75, 2.5, 2.25, 2, 1.75, 1.5, 1.25, 1};
  uint64_t budget = line->options.memory_budget;
  bool is_fixed = line->options.bits != 0 || !line->options.level;
  if (!budget || (is_fixed && program->plan->arena_bytes <= budget)) return true;
  for (size_t i = 0; i < sizeof choices / sizeof choices[0] && !is_fixed; i++) {
    line->options.bits = choices[i];
    if (!allocate_bits(program, &line->options) || !plan_memory(program, &line->options)) return false;
    if (program->plan->arena_bytes <= budget) return true;
  }
  return report(program->diagnostics, program->source,
                is_fixed ? "fewer --bits, a smaller --batch, or a larger budget" : "a smaller --batch, or a larger budget",
                "the trainer needs at least %llu bytes%s; the budget is %llu", (unsigned long long)program->plan->arena_bytes,
                is_fixed ? " at these --bits" : "", (unsigned long long)budget);
}

static const Pass *
pass_named(const char *name, size_t length, size_t *index)
{
  for (*index = 0; *index < pass_count; ++*index)
    if (strlen(passes[*index].name) == length && !memcmp(passes[*index].name, name, length)) return &passes[*index];
  return NULL;
}

/* Which passes a dump has seen is not written in it: what they make of one at the wrong time is checked. */
static bool
run_pass_checked(Program *program, CommandLine *line, size_t index)
{
  return is_ready_for(program, &passes[index]) && run_pass(program, line, index) && check_program(program, passes[index].name);
}

/* --run-pass=A,B: those passes only, then the program as text on standard output (or to -o; as a binary model for a viewer when
 * that ends in .onnx). "none" runs nothing. */
static bool
run_named_passes(Program *program, CommandLine *line)
{
  if (!is_untouched(program) && !check_program(program, "reading")) return false; /* written by hand, perhaps */
  for (const char *at = line->run_passes; *at;) {
    size_t length = strcspn(at, ","), index;
    if (length != 4 || memcmp(at, "none", 4)) {
      if (!pass_named(at, length, &index))
        return report(program->diagnostics, program->source, "actnnc --list-passes", "no pass is called '%.*s'", (int)length, at);
      if (!run_pass_checked(program, line, index)) return false;
    }
    at += length + (at[length] == ',');
  }
  size_t length = line->output ? strlen(line->output) : 0;
  if (length > 5 && !strcmp(line->output + length - 5, ".onnx")) return write_onnx(program, line->output);
  const char *text = print_program(program, program->arena);
  if (line->output) return write_file(program->diagnostics, line->output, text, strlen(text));
  fputs(text, stdout);
  return true;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

static const char *
with_extension(Arena *arena, const char *path, const char *extension)
{
  const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
  size_t stem = dot && (!slash || dot > slash) ? (size_t)(dot - path) : strlen(path);
  return arena_format(arena, "%.*s%s", (int)stem, path, extension);
}

static bool
write_trainer(Program *program, const CommandLine *line)
{
  Arena *arena = program->arena;
  const char *name = identifier_from_path(arena, line->output);
  EmittedText text = {.name = name};
  size_t weights_length;
  if (!constants_are_there(program) || !finish_inference_model(program)) return false;
  text.source = emit_source(program, &line->options, name, arena, &text.source_length);
  text.header = emit_header(name, arena, &text.header_length);
  if (line->options.is_for_gpu) text.kernels = emit_kernels(program, name, arena, &text.kernels_length);
  unsigned char *weights = emit_weights(program, arena, &weights_length);
#ifdef ACTNN_HAVE_LIBCLANG
  if (!line->no_verify && !verify_source(program->diagnostics, line->output, &text, program, &line->options)) return false;
#endif
  const char *slash = strrchr(line->output, '/'), *kernels_path = with_extension(arena, line->output, ".cu");
  const char *header_path = arena_format(arena, "%.*s%s.h", slash ? (int)(slash - line->output + 1) : 0, line->output, name);
  OutputFile files[MOST_OUTPUT_FILES] = {{header_path, text.header, text.header_length}, {line->output, text.source, text.source_length}};
  size_t count = 2;
  if (text.kernels && !strcmp(kernels_path, line->output))
    return report(program->diagnostics, line->output, "end its name in .c", "that is where the kernels of joined nodes go");
  if (text.kernels) files[count++] = (OutputFile){kernels_path, text.kernels, text.kernels_length};
  if (weights) files[count++] = (OutputFile){with_extension(arena, line->output, ".safetensors"), weights, weights_length};
  return write_files(program->diagnostics, files, count);
}

static bool
write_report(Program *program, const CommandLine *line)
{
  size_t length;
  bool is_page = strlen(line->report) > 5 && !strcmp(line->report + strlen(line->report) - 5, ".html");
  char *text = (is_page ? report_html : report_json)(program, program->arena, &length);
  return write_file(program->diagnostics, line->report, text, length);
}

static bool
compile(Program *program, CommandLine *line)
{
  if (line->run_passes) return run_named_passes(program, line);
  if (!run_all_passes(program, line)) return false;
  if (!fit_budget(program, line)) return false;
  if (line->print_memory) print_memory(program, stdout);
  if (line->explain_saves) explain_saves(program, stdout);
  if (line->report && !write_report(program, line)) return false;
  if (line->check) return printf("%s: it trains: %u nodes\n", line->model, program->order_count) > 0;
  return !line->output || write_trainer(program, line);
}

static int
print_rules(void)
{
#ifdef ACTNN_HAVE_LIBCLANG
  list_rules(stdout);
  return 0;
#else
  return fail("emitted source is not verified: actnnc was built without libclang", NULL);
#endif
}

static const char *
joined_arguments(int argc, char **argv, Arena *arena)
{
  const char *line = "actnnc";
  for (int i = 1; i < argc; i++) line = arena_format(arena, "%s %s", line, argv[i]);
  return line;
}

int
main(int argc, char **argv)
{
  static CommandLine line; /* names of dimensions in it are kept until the end */
  if (argc < 2 || !strcmp(argv[1], "--help")) return fputs(usage, argc < 2 ? stderr : stdout), argc < 2;
  int code = read_command_line(&line, argc, argv);
  if (code) return code;
  if (line.list_passes) return list_passes(stdout), 0;
  if (line.list_operators) return list_operators(stdout), 0;
  if (line.list_rules) return print_rules();
  if (line.explain) return explain_operator(line.explain, stdout) ? 0 : fail("no operator is called", line.explain);
  if (!line.model) return fail("no model given", NULL);
  bool wants_output = line.output || line.check || line.run_passes || line.print_memory || line.explain_saves || line.report
                      || line.dump_passes || line.dump_after;
  if (!wants_output) return fail("say where to write the trainer: -o FILE.c", NULL);
  size_t index;
  if (line.dump_after && !pass_named(line.dump_after, strlen(line.dump_after), &index))
    return fail("no pass is called", line.dump_after);
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of write, told like a full disk */
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  line.options.command_line = joined_arguments(argc, argv, arena);
  Program *program = import_model(line.model, diagnostics);
  bool is_good = program && compile(program, &line) && !diagnostics->errors;
  if (is_good && (fflush(stdout) || ferror(stdout))) is_good = report(diagnostics, "standard output", NULL, "cannot be written: %s", strerror(errno));
  if (program) program_destroy(program);
  arena_destroy(arena);
  return is_good ? 0 : 1;
}
