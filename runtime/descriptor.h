/* descriptor.h: files read and written through their descriptors. Calls that a signal interrupted are made again, and short ones
 * go on where they stopped. */
#ifndef ACTNN_DESCRIPTOR_H
#define ACTNN_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As open(2), closed on exec; what is created is readable and writable as the umask allows. */
int descriptor_open(const char *path, int flags);
/* Bytes read, fewer than `bytes` only at the end of the file; -1 with errno. */
ssize_t descriptor_read(int descriptor, void *data, size_t bytes);
/* The same from a place counted from the file's start; where reading goes on does not move. */
ssize_t descriptor_read_at(int descriptor, void *data, size_t bytes, uint64_t place);
/* All of it, or false with errno. */
bool descriptor_write(int descriptor, const void *data, size_t bytes);
/* Brings what was written to the disk; true also of what cannot be brought there, such as a pipe. */
bool descriptor_sync(int descriptor);
/* Closes what was written; false, with errno, when the system found only now that it cannot keep it. */
bool descriptor_close(int descriptor);

#endif
