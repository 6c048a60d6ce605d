/* atomic_file.h: a file that appears whole or not at all. */
#ifndef ACTNN_ATOMIC_FILE_H
#define ACTNN_ATOMIC_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes go to PATH.tmp in the same directory; `atomic_file_commit` syncs it, renames it to PATH and syncs the
 * directory. After any failure the old file is untouched and PATH.tmp is gone. */
typedef struct atomic_file {
  char *path, *temporary, *directory, *previous, *second; /* all made when opened: committing allocates nothing */
  int descriptor;
  char error[400];
} atomic_file;

/* Each returns false with a message in `error`; the file is then closed and removed, and later calls return false
 * again. */
bool atomic_file_open(atomic_file *file, const char *path);
bool atomic_file_write(atomic_file *file, const void *data, size_t bytes);
/* keep_previous: what PATH was becomes PATH.previous. */
bool atomic_file_commit(atomic_file *file, bool keep_previous);
void atomic_file_abandon(atomic_file *file);

#endif
