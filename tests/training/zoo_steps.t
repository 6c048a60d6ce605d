#!/bin/sh
# zoo_steps.t: the zoo's models as they are committed take training steps at 2 bits, and the loss of the one batch falls. The
# largest two, VGG-16 and GPT-2, are left out: they take more memory and time than a test should.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# steps MODEL BATCH RATE [NAME=N]: three steps on one batch
steps() {
  model=$1 batch=$2 rate=$3 dim=$4
  mkdir "$model" && "$oracle" inputs "$models/$model.onnx" "$batch" 3 "$model" $dim >log 2>&1 || { not_ok "$model: inputs" log; return; }
  build_trainer train "$models/$model.onnx" --batch="$batch" ${dim:+--dim "$dim"} --loss=softmax-cross-entropy --bits=2 >log 2>&1 ||
    { not_ok "$model: compiles" log; return; }
  data=
  for file in "$model"/*.npy; do data="$data --data $(basename "$file" .npy)=$file"; done
  # shellcheck disable=SC2086
  check "$model: trains" ./train $data --eval none --steps 6 --lr "$rate" --log "$model.jsonl" --quiet
  losses=$(sed -n 's/.*"step": *[0-9]*,.*"loss": *\([0-9.e+-]*\),.*/\1/p' "$model.jsonl" | tr '\n' ' ')
  check "$model: the loss falls: $losses" awk -v losses="$losses" \
    'BEGIN { n = split(losses, v, " "); exit !(n == 6 && v[6] == v[6] && v[6] < v[1]) }'
}

steps mlp 4 0.01
steps lenet5 4 0.01
steps resnet20 4 0.02
steps resnet18 4 0.01
steps resnet50 2 0.002
steps mobilenetv2 2 0.01
steps densenet121 2 0.005
steps unet 1 0.05
steps decoder 2 0.05 T=32
steps vit-tiny 1 0.01
finish
