#!/bin/sh
# passes.t: the translator shows what it does: passes one at a time, programs as text that read back exactly.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

check "--list-passes" sh -c "'$actnnc' --list-passes >passes"
for pass in specialize differentiate quantize plan-memory; do
  check "--list-passes names $pass" grep -q "$pass" passes
done
check "--list-operators" sh -c "'$actnnc' --list-operators >operators"
for operator in Conv MatMul BatchNormalization Softmax Relu; do
  check "--list-operators names $operator" grep -qw "$operator" operators
done
if "$actnnc" --list-rules >rules 2>&1; then
  for rule in V1 V2 V3 V4 V5 V6 V7 V8 V9 V10; do check "--list-rules names $rule" grep -qw "$rule" rules; done
  check "--list-rules says what is not proven" sh -c "sed '1,/^Not proven/d' rules | grep -q ."
else
  skip "--list-rules" "no libclang"
fi
check "--explain=Relu" sh -c "'$actnnc' --explain=Relu >explanation"
check "--explain=Relu says its gradient" grep -q "gradient.*dy" explanation
check "--explain of an operator that is not there fails" sh -c "! '$actnnc' --explain=Fantasy 2>/dev/null"

# dumped MODEL OPTION...: each dump reads back to itself, and each pass turns one dump into the next.
dumped() {
  model=$1
  shift
  rm -rf dumps && mkdir dumps
  "$actnnc" "$models/$model.onnx" "$@" --run-pass=none -o dumps/00-none.onnxtxt >log 2>&1 &&
    "$actnnc" "$models/$model.onnx" "$@" --dump-passes=dumps --check >>log 2>&1 || { not_ok "$model: dumps" log && return; }
  check "$model: one dump a pass" [ "$(find dumps -name '*.onnxtxt' | wc -l)" -eq $((1 + $(grep -c '^[a-z]' passes))) ]
  previous=
  for file in dumps/*.onnxtxt; do
    "$actnnc" "$file" --run-pass=none >again.onnxtxt 2>>faults && cmp "$file" again.onnxtxt >>faults 2>&1 ||
      echo "$file does not read back" >>faults
    pass=$(basename "$file" .onnxtxt | cut -c4-)
    if [ -n "$previous" ]; then
      "$actnnc" "$previous" "$@" --run-pass="$pass" >next.onnxtxt 2>>next.faults && cmp "$file" next.onnxtxt >>next.faults 2>&1 ||
        echo "$pass on $previous does not give $file" >>next.faults
    fi
    previous=$file
  done
  if [ -s faults ]; then not_ok "$model: dumps read back" faults; else ok "$model: dumps read back"; fi
  if [ -s next.faults ]; then not_ok "$model: each pass makes the next dump" next.faults; else ok "$model: each pass makes the next dump"; fi
  rm -f faults next.faults
}

dumped mlp --batch=4 --loss=softmax-cross-entropy
dumped resnet20 --batch=4 --loss=softmax-cross-entropy --optimizer=adam
dumped decoder --batch=2 --dim=T=16 --loss=softmax-cross-entropy --optimizer=sgd,momentum=0

# What only later passes make is not there yet.
"$actnnc" "$models/mlp.onnx" --batch=4 --loss=softmax-cross-entropy --dump-after=differentiate | sed 1d >early.onnxtxt
"$actnnc" early.onnxtxt --run-pass=none >before.onnxtxt
check "allocate-bits leaves a program without codes as it is" sh -c \
  "'$actnnc' early.onnxtxt --run-pass=allocate-bits >after.onnxtxt && cmp before.onnxtxt after.onnxtxt"
check "recompute copies what backward reads into backward" sh -c \
  "'$actnnc' early.onnxtxt --recompute=1GiB --run-pass=recompute | grep -c 'phase = \"recompute\"' | grep -qx '[1-9][0-9]*'"
"$actnnc" "$models/mlp.onnx" --batch=4 --loss=softmax-cross-entropy --dump-after=evaluation | sed '1d; /"actnn.loss" :/d' >lossless.onnxtxt
check "without a loss nothing is differentiated" sh -c \
  "'$actnnc' lossless.onnxtxt --run-pass=differentiate 2>message >/dev/null; [ \$? -eq 1 ] && grep -q 'no loss to differentiate' message"
saved= more=
for size in 16KiB 64KiB 256KiB 1MiB 4MiB; do
  now=$("$actnnc" "$models/resnet20.onnx" --batch=2 --loss=softmax-cross-entropy --bits=32 --recompute=$size --print-memory --check |
    sed -n 's/^saved for backward *\([0-9]*\) bytes.*/\1/p')
  [ "${now:--1}" -ge 0 ] && [ "$now" -le "${saved:-$now}" ] || more="$more $size"
  saved=$now
done
check "larger runs save no more bytes:$more $saved at last" [ -z "$more" ]
check "and far fewer in the end" [ "${saved:-9999999}" -lt 100000 ]
for option in --recompute=often --recompute=; do
  check "$option is refused" sh -c "! '$actnnc' '$models/mlp.onnx' --batch=4 --loss=softmax-cross-entropy $option --check 2>messages && grep -q 'bad value' messages"
done

check "--dump-after shows one pass" sh -c \
  "'$actnnc' '$models/mlp.onnx' --batch=4 --loss=softmax-cross-entropy --dump-after=differentiate | grep -c '^# ---- after' | grep -qx 1"

# The verifier after every pass, for all models.
for file in "$models"/*.onnx; do
  model=$(basename "$file" .onnx) length=
  case $model in gpt2 | decoder) length=--dim=T=16 ;; esac
  check "--verify-each: $model" "$actnnc" "$file" --batch=2 $length --loss=softmax-cross-entropy --verify-each --check
done
finish
