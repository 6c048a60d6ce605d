/* failing_reads.h: the program's own pread, of which one call fails as on a bad disk. */
#ifndef ACTNN_FAILING_READS_H
#define ACTNN_FAILING_READS_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

static int reads_left = -1; /* before a read fails; -1: none does */

ssize_t
pread(int descriptor, void *data, size_t count, off_t place)
{
  if (reads_left >= 0 && reads_left-- == 0) {
    reads_left = -1;
    errno = EIO;
    return -1;
  }
  return syscall(SYS_pread64, descriptor, data, count, place);
}

#endif
