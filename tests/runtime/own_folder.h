/* own_folder.h: a folder of a test's own, made at its start and gone with all that is in it at its end. */
#ifndef ACTNN_OWN_FOLDER_H
#define ACTNN_OWN_FOLDER_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static inline void
make_folder(void)
{
  strcpy(folder, "/tmp/actnn-test-XXXXXX");
  if (!mkdtemp(folder))
    abort();
}

static inline void
remove_folder(void)
{
  char command[128];
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  if (system(command))
    abort();
}

/* The path of a file in it; good until the program ends. */
static inline const char *
path_of(const char *name)
{
  enum { MOST = 200 };
  static char paths[MOST][256];
  char path[256];
  int index = 0;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  while (paths[index][0] && strcmp(paths[index], path))
    if (++index == MOST)
      abort();
  return strcpy(paths[index], path);
}

static inline bool
exists(const char *path)
{
  return !access(path, F_OK);
}

/* A file as text, or what of it has room; "" where there is none. */
static inline void
read_file(const char *path, char *text, size_t bytes)
{
  FILE *file = fopen(path, "rb");
  text[file ? fread(text, 1, bytes - 1, file) : 0] = 0;
  if (file)
    fclose(file);
}

#endif
