/* races.cu: races between the threads of a kernel on the stand-in (shim.h), as compute-sanitizer's racecheck and memcheck find them on a GPU.
 *
 * Kernels are compiled with -fsanitize=thread, by which each access to memory calls a function; those are here, instead of that sanitizer's
 * own, for which threads that take turns are one. Two accesses to a byte within a launch race unless both read, both are atomic or volatile
 * (PTX: relaxed), or one comes before the other: in the same thread; in a block with __syncthreads between them; in a warp with __syncwarp
 * between them. Shuffles order no memory. Nothing orders blocks. What one turn of a thread does is told by a number, so that a byte's history
 * is three numbers: who wrote it last, and two who have read it since, such that whoever races with any of its readers races with one of these.
 *
 * Misaligned accesses and indices beyond arrays are told by the compiler's checks, whose functions are here as well. A program that has
 * something to report ends with a status of its own, at once when that is much or an access is misaligned. SHIM_KERNELS=FILE: the names of
 * kernels launched and told of, added to that file. */
#include "races.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <set>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

enum { LANES_OF_A_WARP = 32, MOST_THREADS = 1024, MOST_REPORTS = 10, STATUS = 66, PAGE = 4096 };

typedef enum access_kind { READ, WRITE, ATOMIC } access_kind;
static const char *const kind_name[] = {"read", "write", "atomic access"};

/* ---- turns ----------------------------------------------------------------------------------------------- */

/* Of a thread, or of a warp as a whole, between two barriers. */
struct turn {
  unsigned block, thread, block_barriers, warp_barriers;
  bool is_of_warp;
};

enum { LAST_TURN = 0x7fffffff, IS_ATOMIC = (int)0x80000000 };

/* Who has touched a byte, and where in the code: the lower half of its address. */
struct stamp {
  uint32_t turn, code; /* turn: with IS_ATOMIC; 0: nobody */
};

struct history {
  stamp write, read[2]; /* read[0] first; atomic accesses count among readers, too */
};

static std::vector<turn> turns; /* of this launch */
static uint32_t now, first_of_launch = 1, first_of_block; /* numbers of turns; now: 0 outside of kernels */
static turn current;
static unsigned passed[MOST_THREADS][2]; /* barriers of the block, of the warp */

static uint32_t
next_turn()
{
  return first_of_launch + (uint32_t)turns.size();
}

static void
begin_turn()
{
  now = next_turn();
  turns.push_back(current);
}

/* ---- memory ------------------------------------------------------------------------------------------------ */

/* Watched, or what lies between: then without histories. */
struct area {
  uintptr_t begin, end;
  history *of_byte;
  bool is_of_block;
};

static std::vector<area> watched; /* by address */
enum { AREAS_KNOWN = 4 };
static area known[AREAS_KNOWN]; /* where accesses have been lately */
static unsigned oldest_known;

static size_t
bytes_of_histories(const area &one)
{
  return (one.end - one.begin) * sizeof(history);
}

static void
add_area(void *memory, size_t bytes, bool is_of_block)
{
  area one = {(uintptr_t)memory, (uintptr_t)memory + bytes, nullptr, is_of_block};
  void *histories = mmap(nullptr, bytes_of_histories(one), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (histories == MAP_FAILED)
    abort();
  one.of_byte = (history *)histories;
  watched.insert(std::upper_bound(watched.begin(), watched.end(), one, [](const area &a, const area &b) { return a.begin < b.begin; }), one);
  std::fill(known, known + AREAS_KNOWN, area());
}

void
races_watch(void *memory, size_t bytes, bool is_of_block)
{
  if (bytes)
    add_area(memory, bytes, is_of_block);
}

void
races_forget(void *memory)
{
  for (size_t i = 0; i < watched.size(); i++)
    if (watched[i].begin == (uintptr_t)memory) {
      munmap(watched[i].of_byte, bytes_of_histories(watched[i]));
      watched.erase(watched.begin() + (ptrdiff_t)i);
      break;
    }
  std::fill(known, known + AREAS_KNOWN, area());
}

static const area *
look_up(uintptr_t address)
{
  area found = {0, UINTPTR_MAX, nullptr, false};
  for (const area &one : watched) {
    if (address < one.begin) {
      found.end = one.begin;
      break;
    }
    found = one;
    if (address < one.end)
      break;
    found = area{one.end, UINTPTR_MAX, nullptr, false};
  }
  area *place = &known[oldest_known++ % AREAS_KNOWN];
  *place = found;
  return place;
}

static inline const area *
area_of(uintptr_t address)
{
  for (const area &one : known)
    if (address - one.begin < one.end - one.begin)
      return &one;
  return look_up(address);
}

/* ---- reports --------------------------------------------------------------------------------------------- */

static const char *kernel_name = "", *kernel_file = "";
static bool is_told_of; /* an access of the kernel */
static std::set<std::pair<uint64_t, uint64_t>> told; /* by places in the code */

static void
end_with_status()
{
  fflush(nullptr);
  _exit(STATUS);
}

/* False: the same has been reported. */
static bool
begin_report(uint64_t code, uint64_t other)
{
  if (!told.insert(std::make_pair(code, other)).second)
    return false;
  if (told.size() == 1)
    atexit(end_with_status);
  return true;
}

static void
end_report()
{
  if (told.size() < MOST_REPORTS)
    return;
  fprintf(stderr, "races: so many reports are enough\n");
  end_with_status();
}

struct wanted_code {
  uint32_t lower;
  uintptr_t found;
};

static int
find_in_module(dl_phdr_info *module, size_t, void *wanted)
{
  wanted_code *code = (wanted_code *)wanted;
  for (int i = 0; i < module->dlpi_phnum; i++) {
    uintptr_t begin = module->dlpi_addr + module->dlpi_phdr[i].p_vaddr, end = begin + module->dlpi_phdr[i].p_memsz;
    if (module->dlpi_phdr[i].p_type != PT_LOAD || !(module->dlpi_phdr[i].p_flags & PF_X))
      continue;
    uintptr_t address = begin + (uint32_t)(code->lower - (uint32_t)begin);
    if (address < end)
      code->found = address;
  }
  return code->found != 0;
}

/* The line of a call, and where it was inlined; without addr2line its place in the file that has it. */
static void
print_code(const char *what, uint32_t lower)
{
  wanted_code code = {lower, 0};
  dl_iterate_phdr(find_in_module, &code);
  Dl_info info;
  link_map *map;
  if (!code.found || !dladdr1((void *)code.found, &info, (void **)&map, RTLD_DL_LINKMAP))
    return;
  char place[32];
  snprintf(place, sizeof place, "0x%lx", (unsigned long)(code.found - 1 - map->l_addr));
  std::string command = std::string("addr2line -Cfpsie '") + info.dli_fname + "' " + place + " 2>/dev/null";
  char line[1000];
  FILE *lines = popen(command.c_str(), "r");
  bool any = false;
  for (; lines && fgets(line, sizeof line, lines); any = true)
    fprintf(stderr, "  %-8s %s", any ? "" : what, line);
  if (lines)
    pclose(lines);
  if (!any)
    fprintf(stderr, "  %-8s %s+%s\n", what, info.dli_fname, place);
}

static void
print_turn(const turn &one)
{
  if (one.is_of_warp)
    fprintf(stderr, "block %u, warp %u as a whole", one.block, one.thread / LANES_OF_A_WARP);
  else
    fprintf(stderr, "block %u, thread %u", one.block, one.thread);
}

static void
print_place(const area &one, uintptr_t address)
{
  if (one.is_of_block)
    fprintf(stderr, "byte %lu of shared memory", (unsigned long)(address - one.begin));
  else
    fprintf(stderr, "byte %lu of the device's %lu at 0x%lx", (unsigned long)(address - one.begin), (unsigned long)(one.end - one.begin),
            (unsigned long)one.begin);
  fprintf(stderr, ", in %s launched in %s\n", kernel_name, kernel_file);
}

static void __attribute__((noinline))
report_race(const area &one, uintptr_t address, stamp before, access_kind kind_before, uint32_t code, access_kind kind)
{
  if (!begin_report(before.code, code))
    return;
  fprintf(stderr, "races: a %s by ", kind_name[before.turn & IS_ATOMIC ? ATOMIC : kind_before]);
  print_turn(turns[(before.turn & LAST_TURN) - first_of_launch]);
  fprintf(stderr, " and then a %s by ", kind_name[kind]);
  print_turn(current);
  fprintf(stderr, ", which nothing orders: ");
  print_place(one, address);
  print_code("first", before.code);
  print_code("then", code);
  end_report();
}

/* ---- accesses -------------------------------------------------------------------------------------------- */

/* Whether it is over for whoever runs now. `first`: the number of the first turn that may be unordered. */
static inline bool
is_ordered(stamp before, uint32_t first)
{
  uint32_t number = before.turn & LAST_TURN;
  if (number < first || number == now)
    return true;
  const turn &one = turns[number - first_of_launch];
  if (one.block != current.block)
    return false;
  if (one.block_barriers < current.block_barriers)
    return true;
  if (one.thread / LANES_OF_A_WARP != current.thread / LANES_OF_A_WARP)
    return false;
  return one.warp_barriers < current.warp_barriers || (one.thread == current.thread && !one.is_of_warp && !current.is_of_warp);
}

static inline unsigned
group_of(stamp reader)
{
  const turn &one = turns[(reader.turn & LAST_TURN) - first_of_launch];
  return one.block * (MOST_THREADS / LANES_OF_A_WARP) + one.thread / LANES_OF_A_WARP;
}

/* Keeps of all who have read two, of different warps if there are any: whoever comes behind both comes behind all. */
static inline void
note_reader(history *of, stamp reader, uint32_t first)
{
  if (is_ordered(of->read[0], first)) {
    of->read[0] = is_ordered(of->read[1], first) ? reader : of->read[1];
    of->read[1] = is_ordered(of->read[1], first) ? stamp() : reader;
  } else if (is_ordered(of->read[1], first) || group_of(of->read[0]) == group_of(of->read[1])) {
    of->read[1] = reader;
  }
}

static void
touch_byte(const area &one, uintptr_t address, access_kind kind, uint32_t code)
{
  history *of = &one.of_byte[address - one.begin];
  stamp self = {now | (kind == ATOMIC ? (uint32_t)IS_ATOMIC : 0), code};
  uint32_t first = one.is_of_block ? first_of_block : first_of_launch;
  if (kind == READ ? of->read[0].turn == now || of->read[1].turn == now : of->write.turn == self.turn && !of->read[0].turn)
    return;
  if (!is_ordered(of->write, first) && !(kind == ATOMIC && of->write.turn & IS_ATOMIC))
    report_race(one, address, of->write, WRITE, code, kind);
  for (const stamp &reader : of->read) {
    bool is_atomic = reader.turn & IS_ATOMIC;
    if ((kind == WRITE || is_atomic != (kind == ATOMIC)) && !is_ordered(reader, first))
      report_race(one, address, reader, READ, code, kind);
  }
  if (kind == WRITE)
    *of = history{self, {}};
  else
    note_reader(of, self, first);
  if (kind == ATOMIC)
    of->write = self;
}

static inline void
touch(const void *memory, size_t bytes, access_kind kind, uintptr_t code)
{
  if (!now)
    return;
  is_told_of = true;
  const area *one = area_of((uintptr_t)memory);
  if (one->of_byte)
    for (size_t i = 0; i < bytes && (uintptr_t)memory + i < one->end; i++)
      touch_byte(*one, (uintptr_t)memory + i, kind, (uint32_t)code);
}

#define CALLER ((uintptr_t)__builtin_return_address(0))

void
races_touch_atomically(void *memory, size_t bytes, const void *code)
{
  touch(memory, bytes, ATOMIC, (uintptr_t)code);
}

unsigned
races_read_part(const unsigned *word, size_t first, size_t bytes)
{
  touch((const char *)word + first, bytes, READ, CALLER);
  return *word;
}

/* ---- what the stand-in tells ------------------------------------------------------------------------------ */

static void
note_kernel()
{
  static std::set<std::pair<std::string, std::string>> launched;
  const char *path = getenv("SHIM_KERNELS");
  if (!path || !is_told_of || !launched.insert(std::make_pair(kernel_file, kernel_name)).second)
    return;
  const char *base = strrchr(kernel_file, '/');
  FILE *names = fopen(path, "a");
  if (!names)
    abort();
  fprintf(names, "%s %s\n", base ? base + 1 : kernel_file, kernel_name);
  fclose(names);
}

void
races_begin_launch(const char *kernel, const char *file)
{
  kernel_name = kernel;
  kernel_file = file;
  is_told_of = false;
  first_of_launch = next_turn();
  turns.clear();
  if (first_of_launch > LAST_TURN / 2) { /* numbers begin anew */
    for (const area &one : watched)
      madvise(one.of_byte, bytes_of_histories(one), MADV_DONTNEED);
    first_of_launch = 1;
  }
  first_of_block = first_of_launch;
}

void
races_end_launch()
{
  now = 0;
  note_kernel();
}

void
races_begin_block(unsigned block)
{
  current.block = block;
  memset(passed, 0, sizeof passed);
  first_of_block = next_turn();
}

void
races_resume(unsigned thread)
{
  current.thread = thread;
  current.block_barriers = passed[thread][0];
  current.warp_barriers = passed[thread][1];
  begin_turn();
}

void
races_pass_block_barrier()
{
  current.block_barriers = ++passed[current.thread][0];
  turns.back() = current; /* nothing has been done in it yet */
}

void
races_pass_warp_barrier()
{
  current.warp_barriers = ++passed[current.thread][1];
  turns.back() = current;
}

races_of_warp::races_of_warp()
{
  current.is_of_warp = true;
  begin_turn();
}

races_of_warp::~races_of_warp()
{
  current.is_of_warp = false;
  begin_turn();
}

/* ---- what the compiler calls ------------------------------------------------------------------------------- */

#define EXPORTED extern "C" __attribute__((visibility("default")))
#define OF_SIZE(bytes) \
  EXPORTED void __tsan_read##bytes(void *memory) { touch(memory, bytes, READ, CALLER); } \
  EXPORTED void __tsan_write##bytes(void *memory) { touch(memory, bytes, WRITE, CALLER); } \
  EXPORTED void __tsan_unaligned_read##bytes(void *memory) { touch(memory, bytes, READ, CALLER); } \
  EXPORTED void __tsan_unaligned_write##bytes(void *memory) { touch(memory, bytes, WRITE, CALLER); } \
  EXPORTED void __tsan_volatile_read##bytes(void *memory) { touch(memory, bytes, ATOMIC, CALLER); } \
  EXPORTED void __tsan_volatile_write##bytes(void *memory) { touch(memory, bytes, ATOMIC, CALLER); }
OF_SIZE(1)
OF_SIZE(2)
OF_SIZE(4)
OF_SIZE(8)
OF_SIZE(16)
EXPORTED void __tsan_read_range(void *memory, size_t bytes) { touch(memory, bytes, READ, CALLER); }
EXPORTED void __tsan_write_range(void *memory, size_t bytes) { touch(memory, bytes, WRITE, CALLER); }
EXPORTED void __tsan_init() {}
EXPORTED void __tsan_func_entry(void *) {}
EXPORTED void __tsan_func_exit() {}
EXPORTED void __tsan_vptr_update(void **, void *) {}
/* Guards of what functions initialize once, which kernels have none of. */
EXPORTED unsigned char
__tsan_atomic8_load(const volatile unsigned char *at, int)
{
  return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/* As gcc and clang lay them out. */
struct source_place {
  const char *file;
  uint32_t line, column;
};

struct mismatch {
  source_place place;
  const struct {
    uint16_t kind, info;
    char name[1];
  } *type;
  unsigned char logarithm_of_alignment;
};

/* An access of a type that lies as it may not, in memory of the host as well. A GPU stops there, and so may the processor. */
EXPORTED void
__ubsan_handle_type_mismatch_v1(const mismatch *what, uintptr_t address)
{
  unsigned long alignment = 1ul << what->logarithm_of_alignment;
  if (!address || address % alignment == 0)
    return;
  fprintf(stderr, "races: %s at 0x%lx, which is no multiple of %lu, in %s\n  at       %s:%u\n", what->type->name, (unsigned long)address, alignment,
          kernel_name, what->place.file, what->place.line);
  end_with_status();
}

EXPORTED void
__ubsan_handle_out_of_bounds(const source_place *place, uintptr_t index)
{
  if (!begin_report((uintptr_t)place, 0))
    return;
  fprintf(stderr, "races: index %ld lies beyond its array, in %s\n  at       %s:%u\n", (long)index, kernel_name, place->file, place->line);
  end_report();
}
