/* test_profile.c: the table of times that --profile prints: what counts as one call, how many operations a product or convolution has,
 * and what there is no room for. */
#include "profile.h"
#include "sanitized.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SLOTS = 1 << 15, SHOWN = 25 }; /* of the table; of single calls */

static float data[1];
static const int64_t image[] = {2, 6, 4, 5}, padded[] = {2, 8, 4, 5}, weight[] = {8, 3, 3, 3}, left[] = {7, 2, 3}, right[] = {3, 4},
                     product[] = {7, 2, 4}, turned[] = {7, 3, 2}, count[] = {9};
static const actnn_tensor tensors[] = {{.rank = 2, .dim = {3, 4}}, {.rank = 0}};
static const actnn_model model = {.tensor = tensors, .tensor_count = 2};

#define VIEW(DIM) \
  { \
    .data = data, .rank = sizeof DIM / sizeof *DIM, .dim = DIM, .bytes = 500 \
  }

/* What is printed, without the sentence on this machine's memory. */
static const char *
printed(const struct profile *profile)
{
  static char text[16384];
  FILE *stream = tmpfile();
  if (!stream)
    abort();
  profile_print(profile, &model, 1, stream);
  rewind(stream);
  text[fread(text, 1, sizeof text - 1, stream)] = 0;
  fclose(stream);
  return text;
}

/* The first line that begins with a name. */
static const char *
line_of(const char *text, const char *name)
{
  static char line[200];
  size_t length = strlen(name);
  for (; text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL)
    if (!strncmp(text, name, length) && text[length] == ' ') {
      snprintf(line, sizeof line, "%.*s", (int)strcspn(text, "\n"), text);
      return line;
    }
  return "";
}

static void
test_operations(void)
{
  static const actnn_attribute straight = {.kind = ACTNN_INT, .i = 0}, transposed = {.kind = ACTNN_INT, .i = 1};
  static const struct {
    const char *kernel;
    actnn_view in[3], out;
    const actnn_attribute *attribute;
    double operations; /* multiplications and additions, by hand */
  } tries[] = {{"Conv", {VIEW(image), VIEW(weight)}, VIEW(padded), NULL, 2. * 2 * 8 * 4 * 5 * 27},
               {"ConvGradInput", {VIEW(padded), VIEW(weight)}, VIEW(image), NULL, 2. * 2 * 8 * 4 * 5 * 27},
               {"ConvGradWeight", {VIEW(padded), VIEW(image)}, VIEW(weight), NULL, 2. * 2 * 8 * 4 * 5 * 27},
               {"Product", {VIEW(left), VIEW(right)}, VIEW(product), NULL, 2. * 7 * 2 * 3 * 4},
               {"Product", {VIEW(left), VIEW(right)}, VIEW(product), &straight, 2. * 7 * 2 * 3 * 4},
               {"Product", {VIEW(turned), VIEW(right)}, VIEW(product), &transposed, 2. * 7 * 2 * 3 * 4},
               {"ProductSum", {VIEW(product), VIEW(left), VIEW(right)}, VIEW(product), NULL, 2. * 7 * 2 * 3 * 4},
               {"ProductGradWeight", {VIEW(left), VIEW(product)}, VIEW(right), NULL, 2. * 7 * 2 * 3 * 4},
               {"ProductGradWeightSum", {VIEW(right), VIEW(left), VIEW(product)}, VIEW(right), NULL, 2. * 7 * 2 * 3 * 4},
               {"Conv", {VIEW(image), VIEW(count)}, VIEW(padded), NULL, 0},
               {"ConvGradInput", {VIEW(padded), VIEW(count)}, VIEW(image), NULL, 0},
               {"ConvGradWeight", {VIEW(padded), VIEW(image)}, VIEW(count), NULL, 0},
               {"Product", {VIEW(count), VIEW(right)}, VIEW(product), NULL, 0},
               {"ProductGradWeight", {VIEW(count), VIEW(product)}, VIEW(right), NULL, 0},
               {"Conv", {{.data = NULL}, VIEW(weight)}, VIEW(padded), NULL, 0},
               {"Conv", {VIEW(image), {.data = NULL}}, VIEW(padded), NULL, 0},
               {"Conv", {VIEW(image), VIEW(weight)}, {.data = NULL}, NULL, 0},
               {"Add", {VIEW(image), VIEW(image)}, VIEW(image), NULL, 0}};
  for (size_t index = 0; index < sizeof tries / sizeof *tries; index++) {
    struct profile *profile = profile_create();
    bool has_three = tries[index].in[2].data != NULL;
    actnn_call call = {.output_count = 1, .input_count = 2u + has_three, .attribute_count = tries[index].attribute != NULL,
                       .output = &tries[index].out, .input = tries[index].in, .attribute = tries[index].attribute};
    int operands = (tries[index].in[0].data != NULL) + (tries[index].in[1].data != NULL) + has_three + (tries[index].out.data != NULL);
    char wanted[200];
    if (!profile)
      abort();
    profile_add(profile, kernel_named(tries[index].kernel), &call, 1e-7); /* so that a thousand operations are 10.0 */
    size_t length = (size_t)snprintf(wanted, sizeof wanted,
                                     "%-28s %9d %10.3f %6.1f%% %8.2f", tries[index].kernel, 1, 1e-4, 100., operands * 500 * 1e-2);
    if (tries[index].operations > 0)
      snprintf(wanted + length, sizeof wanted - length, " %8.1f", tries[index].operations * 1e-2);
    else
      snprintf(wanted + length, sizeof wanted - length, " %8s", "");
    const char *line = line_of(printed(profile), tries[index].kernel);
    ok(!strcmp(line, wanted), "%s", line);
    profile_destroy(profile);
  }
}

static void
test_calls(void)
{
  struct profile *profile = profile_create();
  actnn_view in[2] = {VIEW(image), VIEW(image)}, out = VIEW(image);
  actnn_call call = {.output_count = 1, .input_count = 2, .output = &out, .input = in};
  if (!profile)
    abort();
  out.id = 1;
  profile_add(profile, kernel_named("Add"), &call, 1e-3);
  profile_add(profile, kernel_named("Add"), &call, 2e-3);
  in[1].id = 7; /* another call: of one operand less, or of another */
  profile_add(profile, kernel_named("Add"), &call, 4e-3);
  out.id = 0;
  call.input_count = 1;
  profile_add(profile, kernel_named("Relu"), &call, 2e-3);
  call.output_count = 0, call.input_count = 2;
  profile_add(profile, kernel_named("Exp"), &call, 0);
  const char *text = printed(profile), *slowest = strstr(text, "\nslowest calls");
  ok(strstr(line_of(text, "Add"), "        3      7.000   77.8%") && strstr(line_of(text, "Relu"), "        1      2.000   22.2%"),
     "calls are summed by kernel, with their share");
  ok(slowest && !strcmp(line_of(slowest, "Add"), "Add                                  1      4.000   44.4%     0.00           v1[]") &&
         !strcmp(line_of(slowest, "Relu"), "Relu                                 1      2.000   22.2%     0.00           v0[3,4]"),
     "and told apart by operands, with the first result's shape");
  ok(slowest && !strcmp(line_of(slowest, "Exp"), "Exp                                  1      0.000    0.0%  1000.00         "),
     "a call without results has none, and one without time no share");
  ok(strstr(text, "\nthis machine copies memory at "), "beside them what this machine's memory gives");
  profile_destroy(profile);

  profile = profile_create();
  if (!profile)
    abort();
  profile_add(profile, kernel_named("Exp"), &call, 0);
  ok(strstr(line_of(printed(profile), "Exp"), "        1      0.000    0.0%"), "nothing takes no part of nothing");
  profile_destroy(profile);
}

/* More calls than the table has room for. */
static void
test_room(void)
{
  struct profile *profile = profile_create();
  actnn_view out = VIEW(image);
  actnn_call call = {.output_count = 1, .output = &out};
  if (!profile)
    abort();
  for (int round = 0; round < 2; round++)
    for (int index = 0; index < SLOTS + 10; index++) {
      out.id = 2 + (uint32_t)index;
      profile_add(profile, kernel_named("Fill"), &call, index == 5 ? 1 : 1e-6);
    }
  const char *text = printed(profile), *slowest = strstr(text, "\nslowest calls"), *line = line_of(text, "Fill");
  int lines = 0;
  long runs = strtol(line + strlen("Fill"), NULL, 10);
  for (const char *place = slowest; place && (place = strstr(place, "\nFill ")); place++)
    lines++;
  ok(runs == 2 * (SLOTS - 1), "the table has room for %d calls, and those that came first keep theirs: %s", SLOTS - 1, line);
  ok(lines == SHOWN && strstr(line_of(slowest, "Fill"), "        2   2000.000 "), "the slowest %d are listed, the very slowest first", SHOWN);
  if (IS_SANITIZED) {
    ok(true, "no room to copy in # SKIP the sanitizer takes memory of its own");
  } else {
    struct rlimit kept, limit;
    long pages = 0;
    FILE *stream = fopen("/proc/self/statm", "r");
    if (!stream || fscanf(stream, "%ld", &pages) != 1 || fclose(stream) || getrlimit(RLIMIT_AS, &kept))
      abort();
    limit = kept;
    limit.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (32 << 20); /* less than what is copied */
    setrlimit(RLIMIT_AS, &limit);
    text = printed(profile);
    setrlimit(RLIMIT_AS, &kept);
    ok(strstr(text, "\nslowest calls") && !strstr(text, "copies memory"), "where there is no room to copy in, nothing is said of the machine");
  }
  profile_destroy(profile);
}

int
main(void)
{
  test_operations();
  test_calls();
  test_room();
  ok(!strcmp(kernel_name(NULL), "(own)") && !kernel_named("none"), "a kernel that the table does not know is the program's own");
  return tap_done();
}
