#!/bin/sh
# identity.t: checkpoints belong to what a trainer computes, codes and keeps, whatever order or device it does that in, and to nothing else.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# identity MODEL [OPTION]...: the number by which checkpoints belong to its trainer
identity() {
  "$actnnc" "$@" -o trainer.c >log 2>&1 && sed -n 's/^  .model_hash = \([0-9]*\)u,/\1/p' trainer.c
}
# same WHAT ARGUMENT..., other WHAT ARGUMENT...: as the trainer at the top, or another
same() {
  what=$1
  shift
  number=$(identity "$@")
  if [ -n "$number" ] && [ "$number" = "$own" ]; then ok "the same: $what"; else not_ok "the same: $what" log; fi
}
other() {
  what=$1
  shift
  number=$(identity "$@")
  if [ -n "$number" ] && ! printf '%s\n' "$seen" | grep -q "^$number\$"; then ok "another: $what"; else not_ok "another: $what" log; fi
  seen="$seen
$number"
}

cat >net.onnxtxt <<'TEXT'
<ir_version: 8, opset_import: ["" : 17]>
net (float[8,1,12,12] image) => (float[8,10] scores)
<float[4,1,3,3] k = ["location" : "none"], float[4] b = ["location" : "none"], float[4] scale = ["location" : "none"], float[4] shift = ["location" : "none"],
 float[4] mean = {0, 0, 0, 0}, float[4] variance = {1, 1, 1, 1}, float[400,10] w = ["location" : "none"]>
{
  half = Constant <value_float = 0.5> ()
  c = Conv <kernel_shape = [3, 3]> (image, k, b)
  n, m, v = BatchNormalization <training_mode = 1> (c, scale, shift, mean, variance)
  left = Relu (n)
  right = Tanh (n)
  sum = Add (left, right)
  flat = Flatten (sum)
  product = MatMul (flat, w)
  scores = Mul (product, half)
}
TEXT
options="--loss=softmax-cross-entropy --optimizer=sgd,momentum=0.8"
own=$(identity net.onnxtxt $options) seen=$own
check "a trainer says what its checkpoints belong to" [ -n "$own" ]
same "once more" net.onnxtxt $options
same "for a GPU" net.onnxtxt $options --target=cuda
same "another learning rate to begin with" net.onnxtxt $options,lr=0.3
same "other first random numbers" net.onnxtxt $options --seed=5
sed '/left = Relu/d; s/\(  right = Tanh.*\)/\1\n  left = Relu (n)/' net.onnxtxt >reordered.onnxtxt
same "two nodes in another order" reordered.onnxtxt $options
"$actnnc" net.onnxtxt $options --dump-after=specialize >dump.onnxtxt 2>log
same "from the text of a pass" dump.onnxtxt $options
sed 's/scale = \["location" : "none"\]/scale = {1, 2, 3, 4}/' net.onnxtxt >started.onnxtxt
same "other first values" started.onnxtxt $options
other "another optimizer" net.onnxtxt --loss=softmax-cross-entropy --optimizer=adam
other "another momentum" net.onnxtxt --loss=softmax-cross-entropy --optimizer=sgd,momentum=0.9
other "another loss" net.onnxtxt --loss=mse --optimizer=sgd,momentum=0.8
other "more bits" net.onnxtxt $options --bits=4
other "no codes" net.onnxtxt $options --bits=32
other "a frozen parameter" net.onnxtxt $options --freeze=w
# changed WHAT EDIT: of the model's text
changed() {
  sed "$2" net.onnxtxt >changed.onnxtxt
  other "$1" changed.onnxtxt $options
}
changed "another batch" 's/float\[8,/float[4,/g'
changed "another activation" 's/left = Relu/left = Sigmoid/'
changed "operands the other way round" 's/left = Relu (n)/left = Relu (right)/; /right = Tanh/d; s/\(  n, m, v = .*\)/\1\n  right = Tanh (n)/'
changed "another constant" 's/value_float = 0.5/value_float = 0.25/'
changed "another attribute" 's/training_mode = 1/epsilon = 0.01, training_mode = 1/'
changed "a parameter by another name" 's/\bw\b/weight/'
# A constant that is too large to be folded is filled from an attribute.
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]>' 'g (float[8,4] x) => (float[8,4] y) <float[4] w = {1, 2, 3, 4}, int64[1] n = {70000}>' \
  '{ c = ConstantOfShape <value = float[1] {0.5}> (n) m = ReduceMean <keepdims = 0> (c) a = Mul (x, w) y = Mul (a, m) }' >filled.onnxtxt
own=$(identity filled.onnxtxt --loss=mse)
same "a constant filled with the same" filled.onnxtxt --loss=mse
sed 's/{0.5}/{0.25}/' filled.onnxtxt >changed.onnxtxt
other "a constant filled with another number" changed.onnxtxt --loss=mse
changed "a shorter sum" 's/sum = Add (left, right)/sum = Identity (left)/'
finish
