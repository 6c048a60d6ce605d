/* atomic_file.c: write beside, sync, rename, sync the directory. Interrupted and short writes go on; a full
 * disk or any other failure leaves what was there before. */
#include "atomic_file.h"
#include "descriptor.h"

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

/* The folder that a file lies in: what is before the last slash, or this one. */
static char *
directory_of(const char *path)
{
  char *directory = joined(path, "/");
  const char *slash = strrchr(path, '/');
  if (directory && slash)
    directory[slash - path + 1] = 0;
  else if (directory)
    strcpy(directory, "."); /* fits: the copy is at least a slash long */
  return directory;
}

static bool
fail(atomic_file *file, const char *what)
{
  int reason = errno;
  if (!file->error[0])
    snprintf(file->error, sizeof file->error, "%.250s: %s: %s", file->path, what, strerror(reason));
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
  free(file->directory);
  free(file->previous);
  free(file->second);
  file->path = file->temporary = file->directory = file->previous = file->second = NULL;
}

bool
atomic_file_open(atomic_file *file, const char *path)
{
  *file = (atomic_file){.descriptor = -1};
  file->path = joined(path, "");
  file->temporary = joined(path, ".tmp");
  file->directory = directory_of(path);
  file->previous = joined(path, ".previous");
  file->second = joined(path, ".previous.tmp");
  if (!file->path || !file->temporary || !file->directory || !file->previous || !file->second) {
    snprintf(file->error, sizeof file->error, "%.250s: cannot be written: out of memory", path);
    return fail(file, "");
  }
  file->descriptor = descriptor_open(file->temporary, O_WRONLY | O_CREAT | O_TRUNC);
  return file->descriptor >= 0 || fail(file, "cannot be created");
}

bool
atomic_file_write(atomic_file *file, const void *data, size_t bytes)
{
  if (file->descriptor < 0)
    return false;
  return descriptor_write(file->descriptor, data, bytes) || fail(file, "cannot be written");
}

/* A name is only lasting once its directory is on the disk. */
static bool
sync_directory(const char *directory)
{
  int descriptor = descriptor_open(directory, O_RDONLY | O_DIRECTORY);
  if (descriptor < 0)
    return errno == EACCES || errno == EPERM; /* a directory may be writable without being readable */
  bool done = descriptor_sync(descriptor);
  int reason = errno;
  close(descriptor);
  errno = reason;
  return done;
}

/* Gives what PATH is a second name, under which it outlives what replaces it. On a file system without links it can only be
 * moved away, and for a moment PATH is missing. */
static bool
keep(const atomic_file *file)
{
  unlink(file->second);
  if (!link(file->path, file->second))
    return true;
  if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK)
    rename(file->path, file->previous);
  return false;
}

/* The new file comes first: were what PATH is damaged, and PATH.previous the last that can be used, nothing may happen to that
 * before the new one is there. */
static bool
put_in_place(const atomic_file *file, bool keep_previous)
{
  bool has_second = keep_previous && keep(file);
  bool is_placed = !rename(file->temporary, file->path);
  int reason = errno;
  if (is_placed && has_second)
    rename(file->second, file->previous);
  if (has_second)
    unlink(file->second); /* renaming onto another name of the same file does nothing */
  errno = reason;
  return is_placed;
}

bool
atomic_file_commit(atomic_file *file, bool keep_previous)
{
  if (file->descriptor < 0)
    return false;
  if (!descriptor_sync(file->descriptor))
    return fail(file, "cannot be brought to the disk");
  bool is_closed = descriptor_close(file->descriptor);
  file->descriptor = -1;
  if (!is_closed) {
    int reason = errno;
    unlink(file->temporary);
    errno = reason;
    return fail(file, "cannot be closed");
  }
  if (!put_in_place(file, keep_previous)) {
    int reason = errno;
    unlink(file->temporary);
    errno = reason;
    return fail(file, "cannot be renamed into place");
  }
  if (!sync_directory(file->directory))
    return fail(file, "its directory cannot be brought to the disk");
  atomic_file_abandon(file);
  return true;
}
