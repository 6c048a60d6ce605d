/* test_atomic_file.c: a file that appears whole or not at all, on file systems that know no links, do not sync, or do not let their folders be
 * read. The calls to the system are replaced here. */
#include "atomic_file.h"
#include "descriptor.h"
#include "own_folder.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef enum call { NO_CALL, CALL_OPEN_FOLDER, CALL_LINK, CALL_FSYNC, CALL_CLOSE, CALL_WRITE } call;

static call failing;
static int failure; /* errno of the call that fails; of a write 0: it writes nothing */

int
open(const char *path, int flags, ...)
{
  va_list arguments;
  va_start(arguments, flags);
  int mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
  va_end(arguments);
  if (failing == CALL_OPEN_FOLDER && flags & O_DIRECTORY) {
    errno = failure;
    return -1;
  }
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int
link(const char *from, const char *to)
{
  if (failing == CALL_LINK) {
    errno = failure;
    return -1;
  }
  return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
fsync(int descriptor)
{
  if (failing == CALL_FSYNC) {
    errno = failure;
    return -1;
  }
  return (int)syscall(SYS_fsync, descriptor);
}

int
close(int descriptor)
{
  int result = (int)syscall(SYS_close, descriptor);
  if (failing != CALL_CLOSE)
    return result;
  errno = failure;
  return -1;
}

ssize_t
write(int descriptor, const void *data, size_t count)
{
  if (failing != CALL_WRITE)
    return syscall(SYS_write, descriptor, data, count);
  errno = failure;
  return failure ? -1 : 0;
}

static atomic_file file;

/* Whether a file of the folder, which is the current one, holds this; NULL: there is none. */
static bool
holds(const char *name, const char *wanted)
{
  char text[64] = "";
  FILE *stream = fopen(name, "rb");
  if (!stream)
    return !wanted;
  text[fread(text, 1, sizeof text - 1, stream)] = 0;
  fclose(stream);
  return wanted && !strcmp(text, wanted);
}

static void
put(const char *name, const char *text)
{
  FILE *stream = fopen(name, "wb");
  if (!stream || fputs(text, stream) < 0 || fclose(stream))
    abort();
}

static bool
replace(bool keep_previous)
{
  put("a", "old");
  put("a.previous", "older");
  return atomic_file_open(&file, "a") && atomic_file_write(&file, "new", 3) && atomic_file_commit(&file, keep_previous);
}

int
main(void)
{
  static const struct {
    call which;
    int failure;
    const char *what, *message, *now, *previous; /* message NULL: it succeeds all the same */
  } tries[] = {{NO_CALL, 0, "no fault", NULL, "new", "old"},
               {CALL_LINK, EPERM, "a file system without links", NULL, "new", "old"},
               {CALL_LINK, EOPNOTSUPP, "another", NULL, "new", "old"},
               {CALL_LINK, ENOSYS, "a system without links", NULL, "new", "old"},
               {CALL_LINK, EMLINK, "a file with all the links there can be", NULL, "new", "old"},
               {CALL_LINK, EIO, "a link that cannot be written", NULL, "new", "older"},
               {CALL_FSYNC, EINVAL, "what cannot be synced", NULL, "new", "old"},
               {CALL_FSYNC, EROFS, "what need not be synced", NULL, "new", "old"},
               {CALL_FSYNC, EIO, "a disk that fails", "a: cannot be brought to the disk: Input/output error", "old", "older"},
               {CALL_CLOSE, EINTR, "an interrupted close", NULL, "new", "old"},
               {CALL_CLOSE, EIO, "a close that fails", "a: cannot be closed: Input/output error", "old", "older"},
               {CALL_WRITE, ENOSPC, "a full disk", "a: cannot be written: No space left on device", "old", "older"},
               {CALL_WRITE, 0, "a disk that takes nothing", "a: cannot be written: No space left on device", "old", "older"},
               {CALL_OPEN_FOLDER, EACCES, "a folder that cannot be read", NULL, "new", "old"},
               {CALL_OPEN_FOLDER, EPERM, "a folder that may not be read", NULL, "new", "old"},
               {CALL_OPEN_FOLDER, EIO, "a folder that fails", "a: its directory cannot be brought to the disk: Input/output error", "new", "old"}};
  make_folder();
  if (chdir(folder))
    return 99;
  for (size_t index = 0; index < sizeof tries / sizeof *tries; index++) {
    failing = tries[index].which, failure = tries[index].failure;
    bool is_done = false;
    if (failing == CALL_CLOSE || failing == CALL_WRITE) { /* of this file alone */
      failing = NO_CALL;
      put("a", "old");
      put("a.previous", "older");
      if (!atomic_file_open(&file, "a"))
        abort();
      failing = tries[index].which == CALL_WRITE ? CALL_WRITE : NO_CALL;
      is_done = atomic_file_write(&file, "new", 3);
      failing = tries[index].which;
      is_done = atomic_file_commit(&file, true) && is_done;
    } else {
      is_done = replace(true);
    }
    failing = NO_CALL;
    ok(is_done == !tries[index].message && (is_done || !strcmp(file.error, tries[index].message)) && holds("a", tries[index].now) &&
           holds("a.previous", tries[index].previous) && holds("a.tmp", NULL) && holds("a.previous.tmp", NULL),
       "%s: %s", tries[index].what, is_done ? "the new file is there" : file.error);
  }
  ok(replace(false) && holds("a", "new") && holds("a.previous", "older"), "what was before may go");
  bool is_open = atomic_file_open(&file, "none/a");
  ok(!is_open && strstr(file.error, "none/a: cannot be created: No such file"), "no folder: %s", file.error);
  ok(!atomic_file_write(&file, "new", 3) && !atomic_file_commit(&file, true) && strstr(file.error, "cannot be created"),
     "then nothing more is done, and the first reason stays");
  if (chdir("/"))
    return 99;
  remove_folder();
  return tap_done();
}
