#!/bin/sh
# recompute.t: runs of layers that are computed again in backward change no bit of a training without codes, beside codes they leave the
# gradient unbiased, and memory is what is planned. Batch statistics, masks, pooling positions and dropout are computed again too.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/same.sh"
. "$top_srcdir/tests/training/block.sh"
. "$top_srcdir/tests/training/unbiased.sh"

# again NAME: how many nodes of the trainer's program are computed again.
again() { grep -c 'phase = "recompute"' "$1"-dumps/*-plan-memory.onnxtxt; }

# parted NAME: how many nodes are computed again twice, first for another part of their run and then for backward.
parted() {
  sed -n 's/^ *\[\([^]]*\)\].* = \([A-Za-z.]*\)<.*phase = "recompute".*/\1 \2/p' "$1"-dumps/*-plan-memory.onnxtxt | sort | uniq -d | wc -l
}

# number KEY FILE: the first number that JSON in FILE has under KEY.
number() { tr -d '\n' <"$2" | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" | head -n 1; }

# alike MODEL-FILE INPUT BATCH COMPRESSION NODES [DIM=N]: at least NODES nodes are computed again.
alike() {
  model=$1 input=$2 batch=$3 compression=$4 nodes=$5 name=$(basename "$1" .onnx)
  shift 5
  options="--batch=$batch --loss=softmax-cross-entropy --bits=32 --verify-each"
  for dimension in "$@"; do options="$options --dim $dimension"; done
  rm -rf computes-dumps
  random_data "$model" "$input" $((4 * batch)) "$@"
  # shellcheck disable=SC2086
  {
    check "$name: compiles" build_trainer saves "$model" $options --recompute=never
    check "$name: compiles with runs computed again" build_trainer computes "$model" $options --recompute=always --compression="$compression" \
      --dump-passes=computes-dumps --report=computes.json
  }
  check "$name: $(again computes) nodes are computed again" [ "$(again computes)" -ge "$nodes" ]
  { train saves one --threads 1 && train computes two --threads 1 && ./computes --memory >computes.memory; } >log 2>&1 ||
    not_ok "$name: trains" log
  check "$name: both train alike, bit for bit" same_training one two
  check "$name: the arena has the planned size" [ "$(number arena_bytes computes.json)" = "$(number arena_bytes computes.memory)" ]
}

write_block where >block.onnxtxt
alike "$models/lenet5.onnx" image 8 3 5
alike "$models/resnet20.onnx" image 4 6 50
alike "$models/decoder.onnx" tokens 2 16 60 T=32
check "decoder: $(parted computes) of them twice" [ "$(parted computes)" -ge 5 ]
alike block.onnxtxt x 8 4 12

# Beside codes: what is computed again starts from exact values, and what is coded is read by linear nodes alone.
random_data block.onnxtxt x 8
data="$data --seed 3 --quiet"
# shellcheck disable=SC2086
{
  build_trainer exact block.onnxtxt --batch=8 --loss=softmax-cross-entropy --level=L0 &&
    build_trainer coded block.onnxtxt --batch=8 --loss=softmax-cross-entropy --bits=2 --recompute=always --compression=12 --attention=separate --verify-each \
      --dump-passes=coded-dumps &&
    ./exact $data --steps 3 --checkpoint weights.safetensors &&
    ./exact $data --weights weights.safetensors --dump-gradients exact.safetensors &&
    ./coded $data --weights weights.safetensors --variance 200 --gradient-reference exact.safetensors >table
} >log 2>&1 || not_ok "block: runs" log
check "block: $(again coded) nodes are computed again beside $(grep -c '= actnn.QuantizeOnSave' coded-dumps/*-quantize.onnxtxt) codes" \
  [ "$(again coded)" -gt 0 ]
check "block: beside codes, unbiased" is_unbiased table
finish
