/* test_damaged_models.c: right models, damaged: cut short at every byte, and with bytes changed. Each is imported or refused
 * with a message; nothing crashes. And all node cases of the ONNX standard, where they are installed, are read,
 * written and read again.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../runtime/tap.h"
#include "../../src/onnx_export.h"
#include "../../src/onnx_load.h"
#include "import_outcome.h"
#include "sample_models.h"

#include <dirent.h>

#ifndef ONNX_NODE_CASES
#define ONNX_NODE_CASES "/usr/share/libonnx-testdata/data/node"
#endif

enum { CHANGES = IS_SANITIZED ? 4000 : 10000 };

/* Runs `damage` on a copy of the model for each number below `count`, in a child process. */
static bool
survives(const Bytes *model, size_t count, size_t (*damage)(unsigned char *, size_t, size_t))
{
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) abort();
  if (child == 0) {
    struct rlimit stack = {256 << 10, 256 << 10};
    if (!IS_SANITIZED) setrlimit(RLIMIT_STACK, &stack);
    alarm(120);
    FILE *nowhere = fopen("/dev/null", "w");
    unsigned char *copy = malloc(model->length);
    for (size_t i = 0; i < count; i++) {
      memcpy(copy, model->data, model->length);
      write_bytes("damaged.onnx", copy, damage(copy, model->length, i));
      if (import_here("damaged.onnx", nowhere) == 2) _exit(2);
    }
    free(copy);
    fclose(nowhere);
    exit(0); /* not _exit: leaks are looked for here */
  }
  int status;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status))
    printf("# %s %d\n", WIFEXITED(status) ? "exit code" : "signal",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static size_t
cut(unsigned char *bytes, size_t length, size_t number)
{
  (void)bytes;
  (void)length;
  return number;
}

/* One to four bytes become others; what becomes of which follows from the number. */
static size_t
change(unsigned char *bytes, size_t length, size_t number)
{
  uint64_t random = (number + 1) * 0x9E3779B97F4A7C15u;
  for (size_t i = 0; i <= number % 4; i++) {
    random ^= random >> 29;
    random *= 0xBF58476D1CE4E5B9u;
    random ^= random >> 32;
    bytes[random % length] =
        number % 3 ? (unsigned char)(random >> 40) : bytes[random % length] ^ 1u << (random >> 50) % 8;
  }
  return length;
}

/* A stretch of bytes is cut out. */
static size_t
cut_out(unsigned char *bytes, size_t length, size_t number)
{
  size_t stretch = number % 7 + 1, from = number * 2654435761u % (length - stretch);
  memmove(bytes + from, bytes + from + stretch, length - from - stretch);
  return length - stretch;
}

static void
test_damage(Bytes model, const char *what)
{
  ok(survives(&model, model.length, cut), "%s cut short at each of %zu bytes", what, model.length);
  ok(survives(&model, CHANGES, change), "%s with bytes changed, %d times", what, (int)CHANGES);
  ok(survives(&model, CHANGES / 4, cut_out), "%s with bytes cut out", what);
  free(model.data);
}

static bool
is_read_again(const char *path, const Program *program, Diagnostics *diagnostics)
{
  if (!write_onnx(program, "again.onnx")) return false;
  Program *again = import_model("again.onnx", diagnostics);
  bool is_same = again && again->order_count == program->order_count && again->input_count == program->input_count &&
                 again->output_count == program->output_count;
  if (!is_same) printf("# differs: %s\n", path);
  program_destroy(again);
  return is_same;
}

static void
test_node_cases(void)
{
  DIR *folder = opendir(ONNX_NODE_CASES);
  if (!folder) {
    ok(true, "node cases # SKIP %s is not installed", ONNX_NODE_CASES);
    return;
  }
  unsigned read = 0, refused = 0, silent = 0, different = 0;
  for (struct dirent *entry; (entry = readdir(folder));) {
    if (entry->d_name[0] == '.') continue;
    Arena *arena = arena_create();
    Diagnostics *diagnostics = diagnostics_create(arena);
    diagnostics->quiet = true;
    char *path = arena_format(arena, "%s/%s/model.onnx", ONNX_NODE_CASES, entry->d_name);
    Program *program = import_model(path, diagnostics);
    if (program) {
      read++;
      if (read % 4 == 0) different += !is_read_again(path, program, diagnostics); /* each is synchronized to disk */
    } else {
      refused++;
      silent += !diagnostics->errors;
    }
    program_destroy(program);
    arena_destroy(arena);
  }
  closedir(folder);
  ok(read > 800 && refused < 60 && !silent, "node cases: %u read, %u refused, %u of them without a word", read,
     refused, silent);
  ok(!different, "every fourth node case written and read again: %u differ", different);
}

int
main(void)
{
  char folder[] = "/tmp/actnn-damaged-XXXXXX", command[64];
  if (!mkdtemp(folder) || chdir(folder)) abort();
  test_damage(sample_training_model(), "a model with training information");
  test_damage(sample_function_model(), "a model with functions");
  test_node_cases();
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (chdir("/") || system(command)) puts("# the temporary folder could not be removed");
  return tap_done();
}
