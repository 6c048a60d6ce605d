#!/bin/sh
# poisoned.t: models of the zoo train the same, bit for bit, when all memory that holds nothing alive is NaN (poison.h).
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
poison=$top_srcdir/tests/random

# poisoned NAME MODEL BATCH STEPS [OPTION]...: one point of the test.
poisoned() {
  name=$1 model=$2 batch=$3 steps=$4 dimension=$5
  shift 5
  rm -rf data && mkdir data && "$oracle" inputs "$model" "$batch" 5 data $dimension >log 2>&1 || { not_ok "$name: inputs" log; return; }
  build_trainer train "$model" --batch="$batch" ${dimension:+--dim "$dimension"} --loss=softmax-cross-entropy "$@" >log 2>&1 ||
    { not_ok "$name: compiles" log; return; }
  # shellcheck disable=SC2086 # lists of words
  $CC -std=c11 $includes -DACTNN_NO_MAIN -Dactnn_run=poisoned_run -DMODEL=train_model train.c "$poison/poison.c" \
    "$poison/poisoned_trainer.c" -L"$library" -lactnn -o poisoned >log 2>&1 || { not_ok "$name: compiles poisoned" log; return; }
  data=
  for file in data/*.npy; do data="$data --data $(basename "$file" .npy)=$file"; done
  run="--eval none --threads 1 --steps $steps --lr 0.02 --seed 5 --quiet"
  # shellcheck disable=SC2086
  { ./train $data $run --checkpoint plain.safetensors && ./poisoned $data $run --checkpoint poisoned.safetensors &&
    cmp plain.safetensors poisoned.safetensors; } >log 2>&1 && ok "$name $*: $(tail -n 1 log)" || not_ok "$name: $*" log
}

poisoned lenet5 "$models/lenet5.onnx" 4 20 ""
poisoned resnet20 "$models/resnet20.onnx" 2 18 "" --compression=20
poisoned resnet20 "$models/resnet20.onnx" 2 18 "" --scheme=actnn --bits=2
poisoned mobilenetv2 "$top_srcdir/tests/training/models/mobilenetv2.onnx" 4 2 ""
poisoned decoder "$models/decoder.onnx" 2 40 T=16
poisoned unet "$top_srcdir/tests/training/models/unet.onnx" 2 2 ""
finish
