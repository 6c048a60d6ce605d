#!/bin/sh
# allocations.t: the n-th allocation fails, for every n, in the translator (its verifier, a child, included) and in a trainer from
# its start through three steps with a log, a checkpoint and an exported model, and in one that resumes. Either it did not
# matter, and all is written as ever, or there is one message, exit code 1, and what was there before. A trainer that gives up
# has freed all that it allocated; the translator ends instead.
#
# Which allocations count goes by the caller's address: those of the program, libactnn, zlib and protobuf-c. oneDNN's own are left
# alone: it ends the process (std::bad_alloc) or chooses another way to compute, and libgomp ends the process, too.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/faults/faults.sh"

[ -z "$SANITIZERS" ] || skip_all "the sanitizer's own allocations would fail"
# shellcheck disable=SC2086
$CC -std=c11 -O1 -shared -fPIC "$top_srcdir/tests/faults/failing_allocations.c" -o failing.so -ldl 2>/dev/null || skip_all "no preloading here"
FAIL_REPORT=$work/report
export FAIL_REPORT

failing() { LD_PRELOAD="$work/failing.so" "$@"; }

# each NAME COMMAND FILE...: all n; FILEs are what COMMAND writes, and lie as they should be in $work/good.
each() {
  name=$1 command=$2
  shift 2
  number=0 bad=0 kept=0 : >"$work/bad"
  while [ $number -lt 3000 ]; do
    number=$((number + 1))
    for file; do cp "$work/old/$file" "$place/$file"; done
    rm -f "$place"/small.log "$place"/*.previous "$FAIL_REPORT"
    FAIL_ALLOCATION=$number
    export FAIL_ALLOCATION
    here "$command" failing
    code=$?
    grep -q 'failed [1-9]' "$FAIL_REPORT" 2>/dev/null || break
    from=old
    [ $code -ne 0 ] || from=good
    outcome && is_whole "$from" "$@" || { echo "n=$number code=$code: $(head -n 1 "$work/messages")" >>"$work/bad"; bad=$((bad + 1)); }
    [ "$command" = compile ] || grep -q 'kept 0' "$FAIL_REPORT" || { kept=$((kept + 1)); echo "n=$number $(cat "$FAIL_REPORT")" >>"$work/bad"; }
  done
  unset FAIL_ALLOCATION
  if [ $bad -eq 0 ] && [ $number -gt 20 ]; then ok "$name: each of $((number - 1)) failing allocations ends cleanly"; else
    not_ok "$name: $bad of $((number - 1)) failing allocations do not end cleanly" "$work/bad"
  fi
  if [ "$command" != compile ]; then
    if [ $kept -eq 0 ]; then ok "$name: and nothing is left allocated"; else not_ok "$name: something is left allocated" "$work/bad"; fi
  fi
}

# Every FILE as in $work/FROM, and nothing half-written beside them. After a failure of a trainer a file may be the new one already.
is_whole() {
  from=$1
  shift
  for file; do
    cmp -s "$work/$from/$file" "$place/$file" || { [ "$command" != compile ] && cmp -s "$work/good/$file" "$place/$file"; } || return 1
  done
  ! ls "$place" | grep -q 'tmp\|\.old'
}

mkdir good old
more="--steps 3 --checkpoint run.safetensors --export run.onnx --log small.log"
here train || exit 1
cp "$place/run.safetensors" "$place/run.onnx" "$place"/small.? "$place/small.safetensors" good
for file in small.c small.h run.onnx run.safetensors; do echo old >"old/$file"; done
cp good/small.safetensors old

each "translating" compile small.c small.h small.safetensors
[ "$FAULTS" != all ] || { FAIL_ONWARD=1; export FAIL_ONWARD; each "translating, all from there on" compile small.c small.h small.safetensors; unset FAIL_ONWARD; }
cp good/small.* "$place"
each "training" train run.safetensors run.onnx
[ "$FAULTS" != all ] || { FAIL_ONWARD=1; export FAIL_ONWARD; each "training, all from there on" train run.safetensors run.onnx; unset FAIL_ONWARD; }
cp good/run.safetensors "$place/first.safetensors"
more="--steps 5 --resume first.safetensors --checkpoint run.safetensors"
here train || exit 1
cp "$place/run.safetensors" good
each "resuming" train run.safetensors
finish
