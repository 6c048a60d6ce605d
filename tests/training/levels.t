#!/bin/sh
# levels.t: what must not change results does not. No compression is the same however it is asked for, one thread finds what
# two find, and the layout of images changes nothing beyond rounding.
#
# A convolution's weight gradient is the exception: oneDNN divides its sum among the threads there are, so models with
# convolutions are held to rounding instead (gradients without codes, 1 to 3 threads, against double precision).
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

. "$top_srcdir/tests/training/same.sh"

# levels MODEL INPUT BATCH [DIM=N]
levels() {
  model=$1 input=$2 batch=$3
  shift 3
  options="--batch=$batch --loss=softmax-cross-entropy"
  for dimension in "$@"; do options="$options --dim $dimension"; done
  random_data "$models/$model.onnx" "$input" $((4 * batch)) "$@"
  # shellcheck disable=SC2086
  {
    check "$model: compiles with --level=L0" build_trainer exact "$models/$model.onnx" $options --level=L0
    check "$model: compiles with --bits=32" build_trainer whole "$models/$model.onnx" $options --bits=32
    check "$model: compiles with --bits=2" build_trainer coded "$models/$model.onnx" $options --bits=2
  }
  { train exact exact --threads 1 && train whole whole --threads 1; } >log 2>&1 || not_ok "$model: trains without codes" log
  check "$model: --level=L0 and --bits=32 train alike, bit for bit" same_training exact whole
  { train coded one --threads 1 && train coded two --threads 2; } >log 2>&1 || not_ok "$model: trains on codes" log
  [ "$input" = image ] && [ "$model" != mlp ] ||
    check "$model: at 2 bits one and two threads train alike, bit for bit" same_training one two
  if same_training exact one >log 2>&1; then
    not_ok "$model: 2 bits are not what L0 is"
  else
    ok "$model: 2 bits are not what L0 is"
  fi
}

# layouts MODEL BATCH: the gradients of each channel block and number of threads against the double-precision evaluator.
layouts() {
  model=$1 batch=$2
  rm -rf data && mkdir data && "$oracle" inputs "$models/$model.onnx" "$batch" 1 data || exit 1
  data="--data image=data/image.npy --data labels=data/labels.npy"
  build_trainer block "$models/$model.onnx" --batch="$batch" --loss=softmax-cross-entropy --level=L0 || exit 1
  train block weights --threads 1 || exit 1
  for variant in "--channel-block 1" "--channel-block 8" "--channel-block 16" "--threads 1" "--threads 2" "--threads 3"; do
    rm -f gradients.safetensors
    # shellcheck disable=SC2086
    ./block $data --weights weights.safetensors $variant --dump-gradients gradients.safetensors --quiet
    check "$model: gradients with $variant" \
      "$oracle" compare "$models/$model.onnx" "$batch" data weights.safetensors gradients.safetensors 1e-4
  done
}

levels mlp image 8
levels lenet5 image 8
levels resnet20 image 8
levels decoder tokens 2 T=16
layouts lenet5 4
layouts resnet20 2
finish
