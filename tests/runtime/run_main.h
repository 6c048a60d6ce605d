/* run_main.h: a trainer's command line in a child process and in the test's own folder, as users have it. */
#ifndef ACTNN_RUN_MAIN_H
#define ACTNN_RUN_MAIN_H

#include "own_folder.h"
#include "small_model.h"

#include <sys/resource.h>
#include <sys/wait.h>

static char output[1 << 16], errors[1 << 14]; /* of the last run */
static const char *output_file = "stdout.txt";
static rlim_t largest_file = RLIM_INFINITY;

/* Runs it with these words, the first of which is the program's name; the exit code. */
static inline int
run_main(const actnn_model *model, int count, char **argument)
{
  fflush(stdout);
  pid_t child = fork();
  if (!child) {
    struct rlimit limit = {largest_file, largest_file};
    if (chdir(folder) || !freopen(output_file, "w", stdout) || !freopen("stderr.txt", "w", stderr))
      _exit(98);
    setrlimit(RLIMIT_FSIZE, &limit);
    exit(actnn_main(model, count, argument));
  }
  int status = -1;
  waitpid(child, &status, 0);
  read_file(path_of("stdout.txt"), output, sizeof output);
  read_file(path_of("stderr.txt"), errors, sizeof errors);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* MNIST's files: images whose bright rows tell their class, with noise. One label may be made wrong; -1: none. */
static inline void
make_digits(const char *part, int count, int wrong)
{
  char images_name[64], labels_name[64];
  uint32_t state = (uint32_t)count;
  snprintf(images_name, sizeof images_name, "%s-images-idx3-ubyte", part);
  snprintf(labels_name, sizeof labels_name, "%s-labels-idx1-ubyte", part);
  FILE *images = fopen(path_of(images_name), "wb"), *labels = fopen(path_of(labels_name), "wb");
  if (!images || !labels)
    abort();
  const unsigned char head[] = {0, 0,  8, 3, 0, 0, (unsigned char)(count >> 8), (unsigned char)count, 0, 0,
                                0, 28, 0, 0, 0, 28};
  fwrite(head, 1, 16, images);
  fwrite("\0\0\x08\x01", 1, 4, labels);
  fwrite(head + 4, 1, 4, labels);
  for (int sample = 0; sample < count; sample++) {
    int class = sample * 7 % 10;
    fputc(sample == wrong ? 12 : class, labels);
    for (int pixel = 0; pixel < 784; pixel++) {
      state = state * 1664525u + 1013904223u;
      fputc((int)(state >> 25) + (pixel / 28 / 2 == class ? 100 : 0), images);
    }
  }
  if (fclose(images) || fclose(labels))
    abort();
}

#endif
