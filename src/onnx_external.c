/* onnx_external.c: the one place that opens a file named by a model.
 *
 * A model can name any path. It may only lead to a plain file below the model's own folder: the kernel resolves the
 * path (openat2) and refuses `..` that leaves it, absolute paths and symbolic links anywhere on the way; the
 * descriptor is then examined, not the path: a regular file with a single link.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "onnx_import.h"

#include "../runtime/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct External {
  const char *location;
  uint64_t offset, length;
  bool has_length;
} External;

static bool
read_number(const char *text, uint64_t *number)
{
  *number = 0;
  if (!*text) return false;
  for (; *text; text++) {
    if (*text < '0' || *text > '9') return false;
    unsigned digit = (unsigned)(*text - '0');
    if (*number > (UINT64_MAX - digit) / 10) return false;
    *number = *number * 10 + digit;
  }
  return true;
}

static bool
read_entries(Import *import, const Onnx__TensorProto *tensor, const char *what, External *external)
{
  static const char *const known[] = {"location", "offset", "length", "checksum"};
  *external = (External){0};
  unsigned seen = 0;
  for (size_t i = 0; i < tensor->n_external_data; i++) {
    const char *key = tensor->external_data[i]->key, *value = tensor->external_data[i]->value;
    if (!key) key = "";
    if (!value) value = "";
    unsigned which = 0;
    while (which < 4 && strcmp(key, known[which])) which++;
    if (which == 4 || seen & 1u << which) {
      return reject(import, NULL, "%s: external data has %s key '%s'", what, which == 4 ? "an unknown" : "a second",
                    safe_name(import->scratch, key));
    }
    seen |= 1u << which;
    bool is_right = which == 1   ? read_number(value, &external->offset)
                    : which == 2 ? read_number(value, &external->length)
                                 : true;
    if (!is_right)
      return reject(import, NULL, "%s: external data: '%s' is not a valid %s", what,
                    safe_name(import->scratch, value), key);
    if (which == 0) external->location = value;
    if (which == 2) external->has_length = true;
  }
  if (!external->location || !external->location[0])
    return reject(import, NULL, "%s: external data has no location", what);
  return true;
}

static int
open_external(Import *import, const char *location, const char *what)
{
  const char *name = safe_name(import->scratch, location);
  if (import->directory < 0) {
    reject(import, NULL, "%s: the folder of the model cannot be opened", what);
    return -1;
  }
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  long file;
  int tries = 0; /* the kernel asks to try again when folders are being renamed */
  do file = syscall(SYS_openat2, import->directory, location, &how, sizeof how);
  while (file < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < 100)));
  if (file >= 0) return (int)file;
  static const char below[] = "external data must be plain files in the model's own folder or below";
  if (errno == ENOSYS) {
    reject(import, "copy the weights into the model file, or use Linux 5.6 or newer",
           "%s: external data cannot be opened safely here: the kernel has no openat2", what);
  } else if (errno == EXDEV || errno == ELOOP) {
    reject(import, below, "%s: external data file '%s' %s", what, name,
           errno == EXDEV ? "lies outside the model's folder" : "is reached through a symbolic link");
  } else {
    reject(import, NULL, "%s: cannot open external data file '%s': %s", what, name, strerror(errno));
  }
  return -1;
}

/* Is the file what it should be, and are `length` bytes there? */
static bool
check_file(Import *import, int file, const External *external, const char *what, size_t length)
{
  const char *name = safe_name(import->scratch, external->location);
  struct stat status;
  if (fstat(file, &status)) return reject(import, NULL, "%s: cannot examine '%s': %s", what, name, strerror(errno));
  if (!S_ISREG(status.st_mode))
    return reject(import, NULL, "%s: external data '%s' is not a regular file", what, name);
  if (status.st_nlink != 1)
    return reject(import, "copy the file instead of linking it", "%s: external data file '%s' has more than one link",
                  what, name);
  uint64_t size = (uint64_t)status.st_size;
  if (external->offset > size || (external->has_length && external->length > size - external->offset))
    return reject(import, NULL, "%s: external data file '%s' has %llu bytes, too few for offset %llu and length %llu",
                  what, name, (unsigned long long)size, (unsigned long long)external->offset,
                  (unsigned long long)external->length);
  uint64_t there = external->has_length ? external->length : size - external->offset;
  if (there != length)
    return reject(import, NULL, "%s: external data has %llu bytes, its dimensions ask for %zu", what,
                  (unsigned long long)there, length);
  return true;
}

static bool
read_at(Import *import, int file, uint64_t offset, unsigned char *bytes, size_t length, const char *what)
{
  ssize_t got = descriptor_read_at(file, bytes, length, offset);
  if (got == (ssize_t)length) return true;
  return reject(import, NULL, "%s: cannot read external data: %s", what, got < 0 ? strerror(errno) : "the file became shorter");
}

bool
read_external_data(Import *import, const Onnx__TensorProto *tensor, const char *what, size_t length, void **bytes)
{
  External external;
  *bytes = NULL;
  if (!read_entries(import, tensor, what, &external)) return false;
  if (length > import->external_bytes_left)
    return reject(import, NULL, "%s: the model asks for too much external data", what);
  int file = open_external(import, external.location, what);
  if (file < 0) return false;
  bool is_read = check_file(import, file, &external, what, length);
  if (is_read) {
    *bytes = arena_allocate(import->program->arena, length + 1);
    is_read = read_at(import, file, external.offset, *bytes, length, what);
    import->external_bytes_left -= length;
  }
  close(file);
  return is_read;
}
