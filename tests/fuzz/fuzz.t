#!/bin/sh
# fuzz.t: each harness for a moment, from its seeds: nothing crashes, hangs, leaks, fills memory or breaks what the harness asserts.
# SECONDS_EACH=60 gives each more; `make fuzz` keeps what it finds.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
[ -z "$FUZZER_MISSING" ] || skip_all "$FUZZER_MISSING"
[ -x "$top_builddir/tests/fuzz/libfuzzer/fuzz_import" ] || skip_all "the harnesses are not built: make check builds them"
export CORPUS="$work/corpus"
for harness in import text compile checkpoint data; do
  check "$harness" sh "$top_srcdir/tests/fuzz/run" libfuzzer "${SECONDS_EACH:-6}" $harness
  sed 's/^/# /' check.output | grep -a executions
done

# A harness that could not fail would find nothing: it must see what is wrong.
cat >broken.c <<'BROKEN'
#include "harness.h"
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  MUST(size < 3 || data[0] != 'b' || data[1] != 'a' || data[2] != 'd');
  return 0;
}
BROKEN
# shellcheck disable=SC2086
check "a harness that is wrong is built" \
  ${FUZZ_CC:-clang-14} -std=c11 -fsanitize=fuzzer,address,undefined -I"$top_srcdir/tests/fuzz" broken.c -o broken
mkdir inputs && printf bad >inputs/bad
check "and found out" sh -c "! ./broken -runs=0 inputs 2>found && grep -q 'not so: size < 3' found"
finish
