/* strike.c: runs a command and makes its N-th call to the system that touches a file of one folder fail, be interrupted, come
 * short, or be its last.
 *
 *   strike --folder=DIR [--fault=KIND] [--at=N | --each] [--report=FILE] [--seconds=S] -- COMMAND...
 *
 *   --folder   an absolute path. A call counts when its path is relative (the command runs in the folder) or lies in it, or
 *              when its descriptor's file does: the dynamic loader's files and the machine's do not count
 *   --fault    ENOSPC, EIO, ENOMEM, EACCES: the call is not made and says so. EINTR: the same. short: a read or write moves half of what was
 *              asked. kill: SIGKILL instead of the call. torn: half of a write is made, then SIGKILL (other calls: kill)
 *   --at       the N-th call that counts, from 1; 0: none. --each: every one, EINTR every second time, so that calls made
 *              again come through
 *   --report   a line: calls counted, calls struck, the name of the last one struck
 *   --seconds  SIGKILL after this time, whatever the command does
 *
 * Exit code: the command's, 128 + the signal that ended it, 125 when tracing cannot be had here. Threads and children of the
 * command are followed. Calls are stopped by a seccomp filter, so that others cost nothing. x86-64 Linux only. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CANNOT_TRACE = 125 };

#if defined(__x86_64__) && defined(__linux__)
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>

typedef enum fault { FAULT_ERROR, FAULT_SHORT, FAULT_KILL, FAULT_TORN } fault;

/* Where a call names its file: a descriptor or a path, in which argument; the length that can be made short. */
typedef struct call_kind {
  long number;
  const char *name;
  int descriptor, path, length; /* argument's index, -1: none */
} call_kind;

static const call_kind kinds[] = {
    {SYS_open, "open", -1, 0, -1},          {SYS_openat, "openat", -1, 1, -1},
    {SYS_read, "read", 0, -1, 2},           {SYS_pread64, "pread", 0, -1, 2},
    {SYS_write, "write", 0, -1, 2},         {SYS_pwrite64, "pwrite", 0, -1, 2},
    {SYS_writev, "writev", 0, -1, -1},      {SYS_readv, "readv", 0, -1, -1},
    {SYS_fsync, "fsync", 0, -1, -1},        {SYS_fdatasync, "fdatasync", 0, -1, -1},
    {SYS_close, "close", 0, -1, -1},        {SYS_rename, "rename", -1, 0, -1},
    {SYS_renameat, "renameat", -1, 1, -1},  {SYS_renameat2, "renameat2", -1, 1, -1},
    {SYS_link, "link", -1, 0, -1},          {SYS_linkat, "linkat", -1, 1, -1},
    {SYS_unlink, "unlink", -1, 0, -1},      {SYS_unlinkat, "unlinkat", -1, 1, -1},
    {SYS_ftruncate, "ftruncate", 0, -1, -1}, {SYS_mmap, "mmap", 4, -1, -1},
    {SYS_lseek, "lseek", 0, -1, -1},        {SYS_fstat, "fstat", 0, -1, -1},
    {SYS_newfstatat, "newfstatat", 0, 1, -1}, {SYS_stat, "stat", -1, 0, -1},
    {SYS_access, "access", -1, 0, -1},      {SYS_faccessat2, "faccessat2", -1, 1, -1},
    {SYS_openat2, "openat2", -1, 1, -1},    {SYS_mkdir, "mkdir", -1, 0, -1}};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

static const char *folder, *report;
static size_t folder_length;
static fault what = FAULT_ERROR;
static int error_number = EIO;
static bool strikes_each;
static unsigned long target, counted, struck;
static const char *last_name = "-";
static pid_t command, dying; /* dying: killed when its call returns */
static volatile sig_atomic_t is_late;

static int
fail(const char *why)
{
  fprintf(stderr, "strike: %s: %s\n", why, strerror(errno));
  return CANNOT_TRACE;
}

/* ---- which calls count ----------------------------------------------------------------------------------- */

static unsigned long long
argument(const struct user_regs_struct *state, int index)
{
  const unsigned long long value[] = {state->rdi, state->rsi, state->rdx, state->r10, state->r8, state->r9};
  return value[index];
}

static bool
lies_in_folder(const char *path)
{
  return !strncmp(path, folder, folder_length) && (!path[folder_length] || path[folder_length] == '/');
}

static bool
is_of_folder(pid_t process, const call_kind *kind, const struct user_regs_struct *state)
{
  char path[4096] = "", name[64];
  if (kind->path >= 0) {
    struct iovec to = {path, sizeof path - 1}, from = {(void *)(uintptr_t)argument(state, kind->path), 0};
    /* To the end of a page at first: the next one may not be there. */
    from.iov_len = 4096 - (size_t)((uintptr_t)from.iov_base & 4095);
    if (from.iov_len > sizeof path - 1) from.iov_len = sizeof path - 1;
    if (process_vm_readv(process, &to, 1, &from, 1, 0) < 0) return false;
    if (*path) return *path != '/' || lies_in_folder(path);
  }
  if (kind->descriptor < 0 || (int)argument(state, kind->descriptor) < 0) return false;
  snprintf(name, sizeof name, "/proc/%d/fd/%d", (int)process, (int)argument(state, kind->descriptor));
  ssize_t length = readlink(name, path, sizeof path - 1);
  path[length > 0 ? length : 0] = 0;
  return length > 0 && lies_in_folder(path);
}

/* Only calls that may come short, or that a signal may interrupt, can be struck so. */
static bool
can_be_struck(const call_kind *kind)
{
  static const long interrupted[] = {SYS_open, SYS_openat, SYS_openat2, SYS_fsync, SYS_fdatasync, SYS_ftruncate, SYS_writev, SYS_readv};
  if (what == FAULT_SHORT) return kind->length >= 0;
  if (what != FAULT_ERROR || error_number != EINTR) return true;
  for (size_t i = 0; i < sizeof interrupted / sizeof interrupted[0]; i++)
    if (kind->number == interrupted[i]) return true;
  return kind->length >= 0 || (kind->number == SYS_close && !strikes_each);
}

/* True when this call is to be struck. */
static bool
is_chosen(const call_kind *kind)
{
  static bool was_interrupted;
  if (!can_be_struck(kind)) return false;
  counted++;
  if (!strikes_each) return counted == target;
  was_interrupted = !was_interrupted;
  return what != FAULT_ERROR || error_number != EINTR || was_interrupted;
}

/* ---- striking ---------------------------------------------------------------------------------------------- */

static void
strike_call(pid_t process, const call_kind *kind, struct user_regs_struct *state)
{
  bool can_be_short = kind->length >= 0 && argument(state, kind->length) > 1;
  struck++;
  last_name = kind->name;
  if (what == FAULT_KILL || (what == FAULT_TORN && !can_be_short)) {
    kill(command, SIGKILL);
    return;
  }
  if (what == FAULT_ERROR) {
    state->orig_rax = (unsigned long long)-1;
    state->rax = (unsigned long long)-(long long)error_number;
  } else if (can_be_short) {
    if (kind->length == 2) state->rdx /= 2;
    if (what == FAULT_TORN) dying = process;
  }
  ptrace(PTRACE_SETREGS, process, NULL, state);
}

static void
look_at_call(pid_t process)
{
  struct user_regs_struct state;
  if (ptrace(PTRACE_GETREGS, process, NULL, &state)) return;
  for (size_t i = 0; i < KINDS; i++)
    if ((long)state.orig_rax == kinds[i].number && is_of_folder(process, &kinds[i], &state)) {
      if (is_chosen(&kinds[i])) strike_call(process, &kinds[i], &state);
      return;
    }
}

static void
be_late(int signal)
{
  (void)signal;
  is_late = 1;
  if (command > 0) kill(command, SIGKILL);
}

/* Until the command has ended; its exit status. */
static int
follow(void)
{
  int status, end = 0;
  for (pid_t process; (process = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR;) {
    if (process <= 0) continue;
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (process == command) end = status;
      continue;
    }
    int signal = WSTOPSIG(status), event = status >> 16;
    if (event == PTRACE_EVENT_SECCOMP) look_at_call(process);
    else if (signal == (SIGTRAP | 0x80) && process == dying) kill(command, SIGKILL);
    bool is_ours = event || signal == (SIGTRAP | 0x80) || signal == SIGTRAP || signal == SIGSTOP;
    ptrace(process == dying ? PTRACE_SYSCALL : PTRACE_CONT, process, NULL, is_ours ? 0L : (long)signal);
  }
  return end;
}

/* ---- the command ------------------------------------------------------------------------------------------- */

static int
install_filter(void)
{
  struct sock_filter code[KINDS + 8];
  size_t count = 0;
  code[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  code[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
  code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  code[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (size_t i = 0; i < KINDS; i++)
    code[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)kinds[i].number, (uint8_t)(KINDS - i), 0);
  code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
  struct sock_fprog program = {(unsigned short)count, code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int
run_command(char **words)
{
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(fail("cannot be traced"));
  raise(SIGSTOP);
  if (install_filter()) _exit(fail("cannot install a filter of calls"));
  execvp(*words, words);
  _exit(fail(*words));
}

static int
trace(char **words)
{
  int status;
  command = fork();
  if (command < 0) return fail("cannot fork");
  if (!command) return run_command(words);
  if (waitpid(command, &status, __WALL) != command || !WIFSTOPPED(status)) return CANNOT_TRACE;
  long options = PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                 PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD;
  if (ptrace(PTRACE_SETOPTIONS, command, NULL, options) || ptrace(PTRACE_CONT, command, NULL, 0L)) {
    kill(command, SIGKILL);
    return fail("cannot trace");
  }
  status = follow();
  if (report) {
    FILE *file = fopen(report, "w");
    if (!file || fprintf(file, "counted %lu struck %lu %s\n", counted, struck, last_name) < 0 || fclose(file)) return fail(report);
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool
read_fault(const char *text)
{
  static const struct { const char *name; fault what; int number; } faults[] = {
      {"ENOSPC", FAULT_ERROR, ENOSPC}, {"EIO", FAULT_ERROR, EIO}, {"EINTR", FAULT_ERROR, EINTR}, {"ENOMEM", FAULT_ERROR, ENOMEM},
      {"EACCES", FAULT_ERROR, EACCES}, {"short", FAULT_SHORT, 0}, {"kill", FAULT_KILL, 0}, {"torn", FAULT_TORN, 0}};
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
    if (!strcmp(text, faults[i].name)) {
      what = faults[i].what;
      error_number = faults[i].number;
      return true;
    }
  return false;
}

int
main(int count, char **word)
{
  int i = 1;
  for (; i < count && strcmp(word[i], "--"); i++) {
    if (!strncmp(word[i], "--folder=", 9)) folder = word[i] + 9;
    else if (!strncmp(word[i], "--report=", 9)) report = word[i] + 9;
    else if (!strncmp(word[i], "--at=", 5)) target = strtoul(word[i] + 5, NULL, 10);
    else if (!strcmp(word[i], "--each")) strikes_each = true;
    else if (!strncmp(word[i], "--seconds=", 10)) {
      double seconds = strtod(word[i] + 10, NULL);
      struct itimerval time = {.it_value = {(time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)}};
      signal(SIGALRM, be_late);
      setitimer(ITIMER_REAL, &time, NULL);
    } else if (strncmp(word[i], "--fault=", 8) || !read_fault(word[i] + 8)) {
      fprintf(stderr, "strike: what is %s?\n", word[i]);
      return CANNOT_TRACE;
    }
  }
  if (i + 1 >= count || !folder || *folder != '/') {
    fprintf(stderr, "strike --folder=DIR [--fault=KIND] [--at=N | --each] [--report=FILE] [--seconds=S] -- COMMAND...\n");
    return CANNOT_TRACE;
  }
  folder_length = strlen(folder);
  return trace(word + i + 1);
}

#else
int
main(void)
{
  fprintf(stderr, "strike: knows the calls of x86-64 Linux only\n");
  return CANNOT_TRACE;
}
#endif
