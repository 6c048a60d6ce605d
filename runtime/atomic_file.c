/* atomic_file.c: write beside, sync, rename, sync the directory. Interrupted and short writes go on; a full
 * disk or any other failure leaves what was there before. */
#include "atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *
joined(const char *path, const char *suffix)
{
  char *text = malloc(strlen(path) + strlen(suffix) + 1);
  if (text)
    strcat(strcpy(text, path), suffix);
  return text;
}

static bool
fail(atomic_file *file, const char *what)
{
  int reason = errno;
  if (!file->error[0])
    snprintf(file->error, sizeof file->error, "%.250s: %s: %s", file->path ? file->path : "file", what,
             strerror(reason));
  atomic_file_abandon(file);
  return false;
}

void
atomic_file_abandon(atomic_file *file)
{
  if (file->descriptor >= 0) {
    close(file->descriptor);
    unlink(file->temporary);
  }
  file->descriptor = -1;
  free(file->path);
  free(file->temporary);
  file->path = file->temporary = NULL;
}

bool
atomic_file_open(atomic_file *file, const char *path)
{
  *file = (atomic_file){.descriptor = -1};
  file->path = joined(path, "");
  file->temporary = joined(path, ".tmp");
  if (!file->path || !file->temporary)
    return fail(file, "cannot be written");
  do
    file->descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  while (file->descriptor < 0 && errno == EINTR);
  return file->descriptor >= 0 || fail(file, "cannot be created");
}

bool
atomic_file_write(atomic_file *file, const void *data, size_t bytes)
{
  const char *place = data;
  if (file->descriptor < 0)
    return false;
  while (bytes) {
    ssize_t written = write(file->descriptor, place, bytes < (1u << 30) ? bytes : (1u << 30));
    if (written < 0) {
      if (errno == EINTR)
        continue;
      return fail(file, "cannot be written");
    }
    if (!written) {
      errno = ENOSPC;
      return fail(file, "cannot be written");
    }
    place += written;
    bytes -= (size_t)written;
  }
  return true;
}

static bool
sync_descriptor(int descriptor)
{
  int result;
  do
    result = fsync(descriptor);
  while (result && errno == EINTR);
  return !result || errno == EINVAL || errno == EROFS; /* what cannot be synced, such as a pipe, needs none */
}

/* A name is only lasting once its directory is on the disk. */
static bool
sync_directory(const char *path)
{
  char *directory = joined(path, "/");
  if (!directory)
    return false;
  const char *slash = strrchr(path, '/');
  if (slash)
    directory[slash - path + 1] = 0;
  else
    strcpy(directory, "."); /* fits: the copy is at least one character and a slash long */
  int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  free(directory);
  if (descriptor < 0)
    return true; /* a directory may be writable without being readable */
  bool done = sync_descriptor(descriptor);
  close(descriptor);
  return done;
}

/* PATH also becomes PATH.previous, without a moment in which PATH is missing. */
static void
keep(const char *path)
{
  char *previous = joined(path, ".previous"), *second = joined(path, ".previous.tmp");
  if (previous && second) {
    unlink(second);
    if (!link(path, second)) {
      rename(second, previous);
      unlink(second); /* renaming onto another name of the same file does nothing */
    } else if (errno != ENOENT) {
      rename(path, previous); /* a file system without links */
    }
  }
  free(previous);
  free(second);
}

bool
atomic_file_commit(atomic_file *file, bool keep_previous)
{
  if (file->descriptor < 0)
    return false;
  if (!sync_descriptor(file->descriptor))
    return fail(file, "cannot be brought to the disk");
  int closed = close(file->descriptor);
  file->descriptor = -1;
  if (closed && errno != EINTR) {
    unlink(file->temporary);
    return fail(file, "cannot be closed");
  }
  if (keep_previous)
    keep(file->path);
  if (rename(file->temporary, file->path)) {
    int reason = errno;
    unlink(file->temporary);
    errno = reason;
    return fail(file, "cannot be renamed into place");
  }
  if (!sync_directory(file->path))
    return fail(file, "its directory cannot be brought to the disk");
  atomic_file_abandon(file);
  return true;
}
