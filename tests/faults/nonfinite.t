#!/bin/sh
# nonfinite.t: a batch of data with NaN, infinities, the largest floats or denormals. A step that is not finite stops the run with
# one message that says which step and what, and the last checkpoint stays; or, with --on-nonfinite=skip, it changes no variable,
# is written down, and the run goes on. Finite extremes are either trained on or noticed, and never reach a checkpoint as NaN.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/faults/faults.sh"

header() { od -An -tu4 -N4 "$1" | tr -d ' '; }
# What is behind a checkpoint's header: variables and state, without the counters.
content() { tail -c +$(($(header "$1") + 9)) "$1"; }
# True when a float32 in the content is infinite or NaN.
has_nonfinite() { content "$1" | od -An -v -tx4 -w4 | grep -Eqi '^ *[7f]f[89a-f]'; }

run() { here ./small --data x=bad.npy --data labels=data/labels.npy --shuffle no --seed 3 --threads 1 --quiet "$@"; }

cp "$place/data/x.npy" "$place/bad.npy"
run --steps 1 --checkpoint before.safetensors || exit 1
for case in 'NaN \000\000\300\177' 'infinity \000\000\200\177' '-infinity \000\000\200\377' 'FLT_MAX \377\377\177\177' \
  '-FLT_MAX \377\377\177\377' 'denormal \001\000\000\000'; do
  name=${case%% *}
  cp "$place/data/x.npy" "$place/bad.npy"
  # The first number of the second batch; 128 bytes of header, 8 samples of 2 floats each.
  # shellcheck disable=SC2059
  printf "${case#* }" | dd of="$place/bad.npy" bs=1 seek=192 conv=notrunc 2>/dev/null
  rm -f "$place"/run.* "$place/small.log"
  run --steps 3 --every 1 --checkpoint run.safetensors
  code=$?
  if [ $code -eq 0 ]; then
    case $name in NaN | *infinity) not_ok "$name: is noticed" ;; *) ok "$name: is trained on" ;; esac
  else
    if [ $code -eq 1 ] && [ "$(wc -l <messages)" -eq 1 ] && grep -q '^step 1: .* is not finite' messages; then ok "$name: $(cat messages)"; else
      not_ok "$name: one message says so" messages
    fi
    check "$name: the last good checkpoint stays" cmp "$place/before.safetensors" "$place/run.safetensors"
  fi
  if has_nonfinite "$place/run.safetensors"; then not_ok "$name: nothing that is not finite is kept"; else ok "$name: nothing that is not finite is kept"; fi
  [ $code -ne 0 ] || continue
  rm -f "$place"/run.*
  run --steps 2 --on-nonfinite=skip --checkpoint run.safetensors --log small.log
  code=$?
  check "$name: skipped, the run goes on" [ $code -eq 0 ]
  content "$place/before.safetensors" >before.content
  content "$place/run.safetensors" >run.content
  check "$name: the step has changed no variable" cmp before.content run.content
  check "$name: the log says so" grep -q '^{"step":2,.*"skipped":"step 1: .* is not finite' "$place/small.log"
  check "$name: and how many there were" grep -q '"skipped":1,' "$place/small.log"
  run --steps 3 --on-nonfinite=skip --checkpoint run.safetensors
  content "$place/run.safetensors" >run.content
  check "$name: the next step is taken" sh -c '! cmp -s before.content run.content'
done
finish
