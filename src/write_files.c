/* write_files.c: files that are written together: all of them whole, or none and what was there before stays.
 *
 * Each is written beside its place and brought to the disk; only when all are there are they renamed into place. What a rename
 * replaces is kept under a second name until the last one is done, so that a rename that fails can be taken back. Nothing is
 * allocated once the first name has changed. */
#include "emit.h"

#include "../runtime/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct Staged {
  const char *temporary, *kept; /* kept: the second name of what was there before */
  bool is_written, has_kept, was_absent, is_placed;
} Staged;

static bool
stage(const OutputFile *file, Staged *staged)
{
  int descriptor = descriptor_open(staged->temporary, O_WRONLY | O_CREAT | O_EXCL);
  if (descriptor < 0) return false;
  staged->is_written = true;
  bool is_good = descriptor_write(descriptor, file->data, file->length) && descriptor_sync(descriptor);
  int reason = errno;
  if (descriptor_close(descriptor) && is_good) return true;
  if (!is_good) errno = reason;
  return false;
}

/* A file system without links cannot keep what is replaced: taking back then leaves the new file, rather than none. */
static bool
place(const OutputFile *file, Staged *staged)
{
  staged->has_kept = !link(file->path, staged->kept);
  staged->was_absent = !staged->has_kept && errno == ENOENT;
  if (rename(staged->temporary, file->path)) return false;
  staged->is_written = false;
  return staged->is_placed = true;
}

static void
take_back(const OutputFile *file, Staged *staged)
{
  if (staged->is_written) unlink(staged->temporary);
  if (staged->is_placed && staged->was_absent) unlink(file->path);
  if (staged->is_placed && staged->has_kept && !rename(staged->kept, file->path)) return;
  if (staged->has_kept) unlink(staged->kept);
}

/* Writes and places all; the number of the file that failed, or `count`. */
static size_t
stage_and_place(const OutputFile *file, Staged *staged, size_t count)
{
  for (size_t i = 0; i < count; i++)
    if (!stage(&file[i], &staged[i])) return i;
  for (size_t i = 0; i < count; i++)
    if (!place(&file[i], &staged[i])) return i;
  return count;
}

bool
write_files(Diagnostics *diagnostics, const OutputFile *file, size_t count)
{
  Staged staged[MOST_OUTPUT_FILES] = {{0}};
  for (size_t i = 0; i < count; i++) {
    staged[i].temporary = arena_format(diagnostics->arena, "%s.tmp%ld", file[i].path, (long)getpid());
    staged[i].kept = arena_format(diagnostics->arena, "%s.old%ld", file[i].path, (long)getpid());
  }
  size_t failed = stage_and_place(file, staged, count);
  if (failed == count) {
    for (size_t i = 0; i < count; i++)
      if (staged[i].has_kept) unlink(staged[i].kept);
    return true;
  }
  int reason = errno;
  const char *what = staged[failed].is_written ? "write" : "create";
  for (size_t i = count; i-- > 0;) take_back(&file[i], &staged[i]);
  return report(diagnostics, file[failed].path, reason == ENOSPC ? "free some space" : NULL, "cannot %s it: %s", what,
                strerror(reason));
}

bool
write_file(Diagnostics *diagnostics, const char *path, const void *data, size_t length)
{
  return write_files(diagnostics, &(OutputFile){path, data, length}, 1);
}
