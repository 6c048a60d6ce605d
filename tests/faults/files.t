#!/bin/sh
# files.t: the n-th call to the system that touches a file fails, for every n, in translating, training and resuming. After each
# failure there is one message, exit code 1, and each output is as it was or whole and new; nothing half-written lies about.
# Calls that a signal interrupts, and reads and writes that come short, are made again and go unnoticed.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/faults/faults.sh"
can_strike || skip_all "calls of the system cannot be traced here"

struck() { "$strike" "--folder=$place" "--fault=$fault" "$which" "--report=$work/report" -- "$@"; }

# Each file is old or new as a whole; with `together`, all are the same; after success all are new.
is_whole() {
  new=0 old=0
  for file; do
    if cmp -s "$work/good/$file" "$place/$file"; then new=$((new + 1))
    elif cmp -s "$work/old/$file" "$place/$file"; then old=$((old + 1))
    else return 1; fi
  done
  [ $code -ne 0 ] || [ $old -eq 0 ] || return 1
  [ $command != compile ] || [ $code -eq 0 ] || [ $new -eq 0 ] || return 1
  case $(cat "$work/report") in *" unlink") return 0 ;; esac # what may not be removed stays
  ! ls "$place" | grep -q 'tmp\|\.old'
}

begin() {
  rm -f "$place"/small.log "$place"/*.previous "$place"/*.tmp* "$place"/*.old*
  for file; do cp "$work/old/$file" "$place/$file"; done
}

# each NAME COMMAND FAULT STRIDE FILE...
each() {
  name=$1 command=$2 fault=$3 stride=$4
  shift 4
  [ "$FAULTS" != all ] || stride=1
  number=1 tried=0 bad=0 : >"$work/bad"
  while [ $number -lt 3000 ]; do
    begin "$@"
    which=--at=$number
    here "$command" struck
    code=$?
    ! grep -q "struck 0" "$work/report" || break
    tried=$((tried + 1))
    is_good=true
    outcome && is_whole "$@" || is_good=false
    case $fault in EINTR | short) [ $code -eq 0 ] || is_good=false ;; esac
    $is_good || { echo "call $number, $(cat "$work/report"): code $code: $(head -n 1 "$work/messages")" >>"$work/bad"; bad=$((bad + 1)); }
    number=$((number + stride))
  done
  if [ $bad -eq 0 ] && [ $tried -gt 2 ]; then ok "$name: $fault at each of $tried calls"; else not_ok "$name: $fault at $bad of $tried calls" "$work/bad"; fi
}

# all NAME COMMAND FAULT FILE...: every call that can be.
all() {
  name=$1 command=$2 fault=$3
  shift 3
  begin "$@"
  which=--each
  here "$command" struck
  code=$?
  if outcome && [ $code -eq 0 ] && is_whole "$@"; then ok "$name: $fault at all calls goes unnoticed"; else
    not_ok "$name: $fault at all calls goes unnoticed" "$work/messages"
  fi
}

mkdir good old
more="--steps 3 --checkpoint run.safetensors --export run.onnx --profile-generate run.json --log small.log"
here train || exit 1
cp "$place/run.safetensors" "$place/run.onnx" "$place/run.json" "$place"/small.? "$place/small.safetensors" good
for file in small.c small.h run.onnx run.json run.safetensors; do echo old >"old/$file"; done
echo old >old/small.safetensors

for fault in EINTR short; do all "translating" compile $fault small.c small.h small.safetensors; done
each "translating" compile EIO 1 small.c small.h small.safetensors
each "translating" compile ENOSPC 3 small.c small.h small.safetensors
cp good/small.* "$place"
for fault in EINTR short; do all "training" train $fault run.safetensors run.onnx run.json; done
each "training" train ENOSPC 1 run.safetensors run.onnx run.json
each "training" train EIO 5 run.safetensors run.onnx run.json
cp good/run.safetensors "$place/first.safetensors"
more="--steps 5 --resume first.safetensors --checkpoint run.safetensors"
here train || exit 1
cp "$place/run.safetensors" good
for fault in EINTR short; do all "resuming" train $fault run.safetensors; done
each "resuming" train EIO 5 run.safetensors
finish
