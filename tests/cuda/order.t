#!/bin/sh
# order.t: kernels for GPUs once more, on the stand-in, with threads and blocks taking their turns in other orders: a barrier that is missing,
# or shared memory that is read before it is written, would show; and that such a kernel is noticed.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
[ -f "$top_builddir/tests/cuda/libactnn-cuda.so" ] || skip_all "no C++ compiler made the stand-in for a GPU"

# in_order ORDER TEST: all its points pass
in_order() {
  SHIM_ORDER=$1 "$top_builddir/tests/cuda/$2" >output 2>&1
  code=$? good=$(grep -c '^ok' output)
  grep '^not ok' output
  [ $code -eq 0 ] && [ "$good" -gt 0 ] && ! grep -q '^not ok' output
}
for test in test_attention test_codes test_exact test_pack test_sums test_updates test_kernels; do
  check "$test, last threads first" in_order reverse $test
done
for test in test_attention test_codes test_exact test_pack test_sums test_updates; do
  check "$test, threads in no order" in_order shuffle $test
done

# A kernel whose threads each read what the one before has written, with a barrier between and without.
cat >kernel.cc <<'C'
#include "gpu.h"
#include <cstdio>
template <bool has_barrier>
KERNEL
shift(int *to)
{
  SHARED int room[BLOCK_THREADS];
  asm volatile("" : : "r"(room) : "memory");
  room[threadIdx.x] = (int)threadIdx.x;
  if (has_barrier)
    __syncthreads();
  to[threadIdx.x] = threadIdx.x ? room[threadIdx.x - 1] : -1;
}
KERNEL
read_nothing(int *to)
{
  SHARED int room[BLOCK_THREADS];
  asm volatile("" : : "r"(room) : "memory");
  to[threadIdx.x] = room[threadIdx.x] ? -2 : (int)threadIdx.x - 1;
}
static bool
is_right(const int *number)
{
  for (int i = 0; i < BLOCK_THREADS; i++)
    if (number[i] != i - 1)
      return false;
  return true;
}
int
main()
{
  static int number[BLOCK_THREADS];
  shim_run_blocks(1, BLOCK_THREADS, [] { shift<true>(number); });
  printf("%d ", is_right(number));
  shim_run_blocks(1, BLOCK_THREADS, [] { shift<false>(number); });
  printf("%d ", is_right(number));
  shim_run_blocks(1, BLOCK_THREADS, [] { read_nothing(number); });
  printf("%d\n", is_right(number));
  return 0;
}
C
"${CXX:-c++}" -std=c++17 -O1 -DACTNN_SHIM $includes -I"$top_srcdir/cuda" -I"$top_srcdir/tests/cuda" -x c++ kernel.cc "$top_srcdir/tests/cuda/shim.cu" "$top_srcdir/tests/cuda/shim_memory.cu" \
  -o kernel 2>log || not_ok "the stand-in can be linked to a kernel" log
check "a barrier that is missing does not show in order" [ "$(./kernel)" = "1 1 1" ]
check "in another order it does, and so does what is read before it is written" [ "$(SHIM_ORDER=reverse ./kernel)" = "1 0 0" ]
finish
