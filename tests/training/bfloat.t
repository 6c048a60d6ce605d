#!/bin/sh
# bfloat.t: --precision=bf16. Gradients are near the double-precision evaluator's, as near as eight bits of fraction allow; the arena is as
# planned and smaller than in FP32; training learns as in FP32, with codes and without; where the library has nothing for bfloat16, kernels
# run on FP32 copies.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/same.sh"
small=$top_srcdir/tests/training/models

# inputs NAME MODEL BATCH [DIM=N]: sets $data
inputs() {
  mkdir -p "data.$1" && "$oracle" inputs "$2" "$3" 3 "data.$1" $4 >log 2>&1 || { not_ok "$1: inputs" log; return 1; }
  data=
  for file in "data.$1"/*.npy; do data="$data --data $(basename "$file" .npy)=$file"; done
}

# gradients NAME MODEL BATCH TOLERANCE [DIM=N]
gradients() {
  inputs "$1" "$2" "$3" $5 || return
  # shellcheck disable=SC2086
  {
    check "$1: compiles" build_trainer "$1" "$2" --batch="$3" ${5:+--dim "$5"} --loss=softmax-cross-entropy --level=L0 --precision=bf16 --verify-each
    ./"$1" $data --steps 1 --lr 0.02 --checkpoint weights.safetensors --quiet >log 2>&1 || not_ok "$1: trains" log
    ./"$1" $data --weights weights.safetensors --dump-gradients gradients.safetensors --quiet >log 2>&1 || not_ok "$1: dumps gradients" log
    check "$1: gradients within $4" "$oracle" compare "$2" "$3" "data.$1" weights.safetensors gradients.safetensors "$4" $5
  }
}

arena() {
  "./$1" --memory | sed -n 's/.*"arena_bytes": *\([0-9]*\).*"planned_arena_bytes": *\([0-9]*\).*/\1 \2/p' | head -n 1
}

listed() {
  sed -n 's/.*"step": *[0-9]*,.*"loss": *\([0-9.e+-]*\),.*/\1/p' "$1" | tr '\n' ' '
}

# trains NAME MODEL BATCH RATE SHARE [DIM=N]: six steps on one batch; the arena is at most SHARE of FP32's
trains() {
  inputs "$1" "$2" "$3" $6 || return
  for precision in fp32 bf16; do
    build_trainer "$1.$precision" "$2" --batch="$3" ${6:+--dim "$6"} --loss=softmax-cross-entropy --bits=2 --precision=$precision >log 2>&1 ||
      not_ok "$1: compiles in $precision" log
    # shellcheck disable=SC2086
    "./$1.$precision" $data --eval none --steps 6 --lr "$4" --log "$precision.jsonl" --quiet >log 2>&1 || not_ok "$1: trains in $precision" log
  done
  bytes="$(arena "$1.bf16") $(arena "$1.fp32")"
  check "$1: the arena is as planned, and smaller: $bytes" awk -v bytes="$bytes" -v share="$5" \
    'BEGIN { n = split(bytes, v, " "); exit !(n == 4 && v[1] == v[2] && v[1] <= share * v[3]) }'
  both="$(listed bf16.jsonl)$(listed fp32.jsonl)"
  check "$1: the loss falls, from where FP32's does: $both" awk -v both="$both" \
    'BEGIN { n = split(both, v, " "); d = v[1] - v[7]; exit !(n == 12 && v[6] < v[1] && d * d < 0.0004 * v[7] * v[7]) }'
}

gradients mlp "$models/mlp.onnx" 4 0.02
gradients lenet5 "$models/lenet5.onnx" 16 0.1 # maxima that round to ties go to other places
gradients decoder "$models/decoder.onnx" 2 0.05 T=16
trains resnet20 "$models/resnet20.onnx" 16 0.02 0.9
trains unet "$small/unet.onnx" 2 0.05 1
trains mobilenetv2 "$small/mobilenetv2.onnx" 8 0.01 1
trains vit "$small/vit-tiny.onnx" 4 0.01 1
trains decoder "$models/decoder.onnx" 4 0.05 1 T=32

# What is computed again is rounded as it was.
inputs again "$models/decoder.onnx" 4 T=32
for how in never always; do
  # shellcheck disable=SC2086
  (build_trainer "again.$how" "$models/decoder.onnx" --batch=4 --dim T=32 --loss=softmax-cross-entropy --bits=32 --precision=bf16 --recompute=$how &&
    train "again.$how" "$how" --eval none --threads 1) >log 2>&1 || not_ok "decoder: trains, recompute=$how" log
done
check "decoder: runs computed again end where all that is saved does" same_training never always

# Where the library has no bfloat16: the same training but for what the products round.
inputs plain "$models/lenet5.onnx" 16
for isa in DEFAULT AVX2; do
  (ONEDNN_MAX_CPU_ISA=$isa DNNL_MAX_CPU_ISA=$isa && export ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA &&
    build_trainer "plain.$isa" "$models/lenet5.onnx" --batch=16 --loss=softmax-cross-entropy --bits=2 --precision=bf16 &&
    ./"plain.$isa" $data --eval none --steps 6 --lr 0.005 --log "$isa.jsonl" --quiet) >log 2>&1 || not_ok "$isa: trains" log
  set -- $(arena "plain.$isa")
done
both="$(listed DEFAULT.jsonl)$(listed AVX2.jsonl)"
check "without bfloat16 in the library: about the same losses: $both" awk -v both="$both" \
  'BEGIN { n = split(both, v, " "); for (i = 1; i <= 6; i++) { d = v[i] - v[i + 6]; bad += d * d > 0.0004 * v[i] * v[i] } exit !(n == 12 && !bad) }'
finish
