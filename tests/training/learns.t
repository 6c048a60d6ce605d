#!/bin/sh
# learns.t: real images, real training on 2-bit activations, and an exported model that others load.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
images=/usr/share/datasets/fashion-mnist
[ -d "$images" ] || skip_all "no Fashion-MNIST: apt-get install dataset-fashion-mnist"

build_trainer train "$models/lenet5.onnx" --batch=64 --loss=softmax-cross-entropy --bits=2 || exit 1
check "LeNet-5 trains for 300 steps at 2 bits" \
  ./train --data fashion-mnist --steps 300 --lr 0.02 --seed 1 --quiet --log log.jsonl --export trained.onnx
accuracy=$(sed -n 's/.*"test_accuracy":\([0-9.]*\).*/\1/p' log.jsonl | tail -n 1)
check "it finds $accuracy of the test set, more than 0.75" awk "BEGIN { exit !(${accuracy:-0} > 0.75) }"
check "every test image counts" grep -q '"test_samples":10000' log.jsonl

# What was exported is a model for inference: it can be read back, and has the trained weights.
check "the exported model is read back" "$actnnc" trained.onnx --check --batch=4 --loss=softmax-cross-entropy
: "${PYTHON:=python3}"
if "$PYTHON" -c 'import numpy, onnx, onnxruntime' 2>/dev/null; then
  check "ONNX Runtime finds the same" env PYTHONDONTWRITEBYTECODE=1 "$PYTHON" \
    "$top_srcdir/tests/conformance/export_against_onnxruntime.py" trained.onnx --data "$images" --accuracy "$accuracy"
else
  skip "ONNX Runtime finds the same" "no onnxruntime for $PYTHON"
fi
if build_trainer again trained.onnx --batch=64 --loss=softmax-cross-entropy --level=L0 >log 2>&1; then
  # No step: evaluation only.
  ./again --data fashion-mnist --steps 0 --quiet --log again.jsonl >log 2>&1
  again=$(sed -n 's/.*"test_accuracy":\([0-9.]*\).*/\1/p' again.jsonl | tail -n 1)
  check "a trainer made of the export starts at the accuracy reached ($again)" \
    awk "BEGIN { d = ${again:-0} - ${accuracy:-9}; exit !(d < 0.0005 && d > -0.0005) }"
else
  not_ok "a trainer made of the export starts at the accuracy reached" log
fi
finish
