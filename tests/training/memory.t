#!/bin/sh
# memory.t: the planner's figures are what the trainer takes, to the byte, and ResNet-50 saves at least eleven times less.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# number KEY FILE: the first number that JSON in FILE has under KEY.
number() { tr -d '\n' <"$2" | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" | head -n 1; }

# planned NAME MODEL OPTION...
planned() {
  name=$1
  shift
  build_trainer "$name" "$@" --loss=softmax-cross-entropy --report="$name.json" >log 2>&1 || { not_ok "$name: compiles" log && return; }
  ./"$name" --memory --threads 2 >"$name.memory" 2>log || { not_ok "$name: --memory" log && return; }
  check "$name: the report has the size of the arena" [ "$(number arena_bytes "$name.json")" -gt 0 ]
  check "$name: --memory takes $(number arena_bytes "$name.json") bytes, as planned" \
    [ "$(number arena_bytes "$name.memory")" = "$(number arena_bytes "$name.json")" ]
}

planned mlp "$models/mlp.onnx" --batch=32
planned lenet5 "$models/lenet5.onnx" --batch=32 --level=L0
planned resnet20 "$models/resnet20.onnx" --batch=16 --bits=2
planned decoder "$models/decoder.onnx" --batch=2 --dim T=32 --bits=4
planned resnet50 "$models/resnet50.onnx" --batch=16 --bits=2
saved=$(number saved_bytes resnet50.memory) whole=$(number saved_bytes_fp32 resnet50.memory)
check "resnet50, batch 16, 2 bits: $saved bytes saved, $whole in FP32, at least eleven times less" [ "$((11 * saved))" -le "$whole" ]

# close MODEL [OPTION]...: a step's buffers take no more than what lives at once, or a thousandth
close() {
  "$actnnc" "$@" --loss=softmax-cross-entropy --print-memory --no-verify -o close.c |
    sed -n 's/.*live at once at most: \([0-9.]*\) of that)/\1/p' | awk '{ print } END { exit !(NR == 1 && $1 >= 1 && $1 <= 1.001) }'
}
check "resnet50, exact: buffers are packed closely" close "$models/resnet50.onnx" --batch=16 --bits=32
check "resnet50, ActNN's scheme: buffers are packed closely" close "$models/resnet50.onnx" --batch=16 --scheme=actnn
check "decoder, exact: buffers are packed closely" close "$models/decoder.onnx" --batch=16 --dim T=128 --bits=32
check "gpt2: buffers are packed closely" close "$models/gpt2.onnx" --batch=2 --dim T=1024

if "$actnnc" "$models/resnet50.onnx" --batch=16 --loss=softmax-cross-entropy --memory-budget=64MiB -o over.c 2>messages; then
  not_ok "a budget that is too small is refused"
else
  check "a budget that is too small is refused, nothing is written" [ ! -e over.c ]
fi
finish
