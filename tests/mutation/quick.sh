#!/bin/sh
# quick.sh: what tests/mutation/run asks of a translator with a mistake: it writes what its verifier accepts, trainers compile, and
# their gradients are the oracle's.
. "${top_srcdir:?}/tests/environment.sh"
actnnc=$top_builddir/actnnc
for model in mlp lenet5; do
  build_trainer "$model" "$models/$model.onnx" --batch=4 --level=L0 --loss=softmax-cross-entropy || exit 1
done
"$actnnc" "$models/resnet20.onnx" --batch=8 --loss=softmax-cross-entropy --compression=16 -o resnet20.c || exit 1
"$actnnc" "$models/decoder.onnx" --batch=2 --dim T=32 --loss=softmax-cross-entropy --optimizer=adam -o decoder.c || exit 1
