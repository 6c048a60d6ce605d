#!/bin/sh
# bench.t: what measures codes' kernels on a GPU runs on the stand-in, where its times mean nothing: each kernel is called, and every row told.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
bench=$top_builddir/tests/cuda/bench_codes
[ -f "$bench" ] || skip_all "no C++ compiler made the stand-in for a GPU"
SHIM_TRUSTS=1
export SHIM_TRUSTS
check "codes' kernels are measured" sh -c '"$1" 2 19 6 6 1 >rows && cat rows' - "$bench"
check "seven rows for each way to hold a map" sh -c '[ "$(grep -c "^FP32 .* us .* GB/s" rows)" = 7 ] && [ "$(grep -c "^bfloat16 .* us .* GB/s" rows)" = 7 ]'
check "extents are numbers" sh -c '! "$1" 2 none 2>told && grep -q "none. is no extent" told' - "$bench"
if command -v python3 >/dev/null; then
  check "the benchmark of trainers can be read by Python" env PYTHONDONTWRITEBYTECODE=1 python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' \
    "$top_srcdir/bench/bench_gpu.py"
fi
finish
