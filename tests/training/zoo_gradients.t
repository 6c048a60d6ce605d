#!/bin/sh
# zoo_gradients.t: the gradients of emitted FP32 trainers against the double-precision evaluator, for every model of the zoo.
#
# Large models are here in a reduced form (tests/training/models, README.md there): the evaluator is made of plain loops.
# Every parameter's gradient must lie within 1e-4 of the exact one, in relative L2 distance. An activation that lies on a
# kink (ReLU, a tie of a maximum) up to float rounding may legitimately fall to its other side in single precision and then
# changes gradients by far more than rounding does; so up to six seeds are tried, and one has to agree everywhere. A wrong
# formula agrees with none. The weights are those after STEPS steps on that one batch: at their first values the
# deepest networks hardly tell samples apart, and normalizing what hardly differs amplifies rounding up to the tolerance.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
small=$top_srcdir/tests/training/models

# agrees NAME MODEL BATCH STEPS SEED [DIM=N]...: one seed.
agrees() {
  name=$1 model=$2 batch=$3 steps=$4 seed=$5
  shift 5
  rm -rf data && mkdir data && "$oracle" inputs "$model" "$batch" "$seed" data "$@" || return 1
  arguments=
  for file in data/*.npy; do
    input=${file#data/}
    arguments="$arguments --data ${input%.npy}=$file"
  done
  # shellcheck disable=SC2086 # lists of words
  ./"$name" $arguments --steps "$steps" --lr 0.02 --seed "$seed" --checkpoint weights.safetensors --quiet &&
    ./"$name" $arguments --seed "$seed" --weights weights.safetensors --dump-gradients gradients.safetensors --quiet &&
    "$oracle" compare "$model" "$batch" data weights.safetensors gradients.safetensors 1e-4 "$@"
}

# gradients NAME MODEL BATCH STEPS [DIM=N]...: one point of the test.
gradients() {
  name=$1 model=$2 batch=$3 steps=$4
  shift 4
  options=
  for dimension in "$@"; do options="$options --dim $dimension"; done
  # shellcheck disable=SC2086
  if ! build_trainer "$name" "$model" --batch="$batch" $options --loss=softmax-cross-entropy --level=L0 >log 2>&1; then
    not_ok "$name: compiles" log
    return
  fi
  for seed in 1 2 3 4 5 6; do
    if agrees "$name" "$model" "$batch" "$steps" "$seed" "$@" >"log.$seed" 2>&1; then
      ok "$name: seed $seed: $(tail -n 1 "log.$seed")"
      return
    fi
    cat "log.$seed" >>log
  done
  not_ok "$name: no seed agrees" log
}

gradients mlp "$models/mlp.onnx" 4 1
gradients lenet5 "$models/lenet5.onnx" 4 1
gradients resnet20 "$models/resnet20.onnx" 2 1
gradients decoder "$models/decoder.onnx" 2 1 T=16
gradients resnet18 "$small/resnet18.onnx" 4 1
gradients resnet50 "$small/resnet50.onnx" 4 8
gradients mobilenetv2 "$small/mobilenetv2.onnx" 4 8
gradients densenet121 "$small/densenet121.onnx" 4 2
for model in vgg16 unet vit-tiny; do gradients "$model" "$small/$model.onnx" 2 1; done
gradients gpt2 "$small/gpt2.onnx" 2 1 T=16
finish
