#!/bin/sh
# races.t: kernels for GPUs once more, on the stand-in, with each of their accesses told to what looks for races (races.cu): two threads at one
# place with no barrier between them, misaligned accesses, indices beyond arrays; and that such kernels are noticed. Every kernel is launched.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
tries=$top_builddir/tests/cuda/races/tries
[ -f "$tries" ] || skip_all "no C++ compiler told what looks for races of accesses"
LD_LIBRARY_PATH=$top_builddir/tests/cuda/races:$LD_LIBRARY_PATH SHIM_TRUSTS=1 SHIM_KERNELS=$work/launched ORDINARY=1
export LD_LIBRARY_PATH SHIM_TRUSTS SHIM_KERNELS ORDINARY

# noticed NAME: a kernel with that mistake ends the program with a status of its own and a report, without it it does not
noticed() {
  "$tries" "$1" wrong >told 2>&1
  [ $? = 66 ] && grep -q "^races: .*$1<false>\|^races: .* in kernel<$1" told && "$tries" "$1" right >silent 2>&1 && [ ! -s silent ]
}
for name in $("$tries"); do
  check "a mistake is noticed: $name" noticed "$name"
done

# without_races TEST [OPERAND]...: all its points pass, and nothing is told
without_races() {
  program=$top_builddir/tests/cuda/$1
  shift
  "$program" "$@" >output 2>told
  code=$?
  cat told
  grep '^not ok' output
  [ $code = 0 ] && grep -q '^ok' output && ! grep -q '^not ok' output && ! grep -q '^races:' told
}
for test in test_ahead test_attention 'test_codes 24' test_exact test_pack test_sums test_updates test_winners test_kernels; do
  # shellcheck disable=SC2086 # a program and its operand
  check "$test" without_races $test
done
finish
