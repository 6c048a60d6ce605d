#!/bin/sh
# torch_gradients.sh: emitted trainers without compression find the gradients that PyTorch finds, on the same weights
# and the same batch (gradients_against_torch.py). Runs where $PYTHON has torch and onnx, and skips elsewhere.
#
# ACTNNC: the translator. ACTNN_CC: how a trainer is compiled, up to its name. ACTNN_LIBS: what it is linked with.
PYTHON=${PYTHON:-python3}
ACTNNC=${ACTNNC:-./actnnc}
ACTNN_CC=${ACTNN_CC:-cc -O2}
: "${ACTNN_LIBS:=$(pkg-config --cflags --libs actnn 2>/dev/null)}"
here=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
compare=$here/tests/conformance/gradients_against_torch.py

if ! "$PYTHON" -c 'import numpy, onnx, torch' 2>/dev/null; then
  echo "1..0 # SKIP $PYTHON has no torch or no onnx"
  exit 0
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1

count=0
# check MODEL INPUT BATCH [--dim NAME=N]: one test, its protocol as comments
check() {
  model=$here/models/$1.onnx input=$2 batch=$3 folder=$work/$1
  shift 3
  count=$((count + 1))
  if {
    "$PYTHON" "$compare" "$model" --make "$folder" --batch "$batch" "$@" &&
    "$ACTNNC" "$model" -o "$folder/train.c" --batch="$batch" "$@" --loss=softmax-cross-entropy --level=L0 &&
    $ACTNN_CC "$folder/train.c" $ACTNN_LIBS -o "$folder/train" &&
    "$folder/train" --data "$input=$folder/$input.npy" --data "labels=$folder/labels.npy" --shuffle no --quiet \
      --weights "$folder/weights.safetensors" --dump-gradients "$folder/dumped.safetensors" &&
    "$PYTHON" "$compare" "$model" --weights "$folder/weights.safetensors" --input "$input=$folder/$input.npy" \
      --labels "$folder/labels.npy" --gradients "$folder/dumped.safetensors"
  } >"$work/protocol" 2>&1; then
    result=ok
  else
    result="not ok"
  fi
  sed 's/^/# /' "$work/protocol"
  echo "$result $count - $(basename "$model" .onnx)"
}

echo 1..5
check lenet5 image 4
check resnet20 image 4
check resnet18 image 4
check unet image 1
check decoder tokens 4 --dim T=32
