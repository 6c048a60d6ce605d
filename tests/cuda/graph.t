#!/bin/sh
# graph.t: steps that are recorded once and launched as a whole end where those end whose calls are made one by one, to the last bit; so they
# do where nothing can be recorded.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
[ -f "$top_builddir/tests/cuda/libactnn-cuda.so" ] || skip_all "no C++ compiler made the stand-in for a GPU"
SHIM_TRUSTS=1
export SHIM_TRUSTS

# values COUNT SIZE: so many numbers up to that size, none like the next
values() { awk -v count="$1" -v size="$2" 'BEGIN { for (i = 0; i < count; i++) printf "%s%.5f", i ? ", " : "", size * sin(i * 1.7 + 0.4) }'; }
# net BATCH: convolutions, a normalization, a random draw, products
net() {
  cat <<TEXT
<ir_version: 8, opset_import: ["" : 17]>
net (float[$1,3,12,12] image) => (float[$1,10] scores)
<float[8,3,3,3] k1 = {$(values 216 0.3)}, float[8] b1 = {$(values 8 0.1)}, float[8] s1 = {1, 1, 1, 1, 1, 1, 1, 1},
 float[8] t1 = {$(values 8 0.1)}, float[8] m1 = {0, 0, 0, 0, 0, 0, 0, 0}, float[8] v1 = {1, 1, 1, 1, 1, 1, 1, 1}, float[16,8,3,3] k2 = {$(values 1152 0.2)},
 float[1024,32] w1 = {$(values 32768 0.05)}, float[32,10] w2 = {$(values 320 0.3)}>
{
  c1 = Conv <kernel_shape = [3, 3]> (image, k1, b1)
  n1, m, v = BatchNormalization <training_mode = 1> (c1, s1, t1, m1, v1)
  r1 = Relu (n1)
  c2 = Conv <kernel_shape = [3, 3]> (r1, k2)
  r2 = Relu (c2)
  flat = Flatten (r2)
  h = MatMul (flat, w1)
  g = Tanh (h)
  rate = Constant <value_float = 0.25> ()
  on = Constant <value = bool {1}> ()
  d, mask = Dropout (g, rate, on)
  scores = MatMul (d, w2)
}
TEXT
}
net 4 >net.onnxtxt
net 12 >twelve.onnxtxt

# whole OPTION...: trains 40 steps of 4 samples out of 12, evaluating each epoch, in four ways
whole() {
  rm -rf data && mkdir data && "$oracle" inputs twelve.onnxtxt 12 3 data || return 1
  device=actnn-cuda && build_trainer net net.onnxtxt --target=cuda --loss=softmax-cross-entropy "$@" || return 1
  given=$(for file in data/*.npy; do input=${file##*/}; printf ' --data %s=%s --eval %s=%s' "${input%.npy}" "$file" "${input%.npy}" "$file"; done)
  # shellcheck disable=SC2086
  SHIM_GRAPHS=count ./net $given --steps 40 --seed 5 --lr 0.01 --quiet --threads 1 --checkpoint whole.safetensors 2>launches &&
    ./net $given --steps 40 --seed 5 --lr 0.01 --quiet --threads 1 --checkpoint single.safetensors --profile >profile &&
    SHIM_GRAPHS=fail ./net $given --steps 40 --seed 5 --lr 0.01 --quiet --threads 1 --checkpoint failed.safetensors &&
    SHIM_GRAPHS=invalid ./net $given --steps 40 --seed 5 --lr 0.01 --quiet --threads 1 --checkpoint invalid.safetensors
  cat launches
  count=$(sed -n 's/^shim: \([0-9]*\) graphs launched$/\1/p' launches)
  cmp whole.safetensors single.safetensors && cmp whole.safetensors failed.safetensors && cmp whole.safetensors invalid.safetensors
}
check "codes that adapt" whole --optimizer=adamw --bits=4
check "of 40 steps $count were launched as a whole: not the three that measure, nor the one after each" [ "$count" = 34 ]
check "codes of fixed size" whole --level=L2 --optimizer=sgd
check "of 40 steps $count were launched as a whole: not the three that measure, nor the second" [ "$count" = 36 ]
check "no codes" whole --level=L0 --optimizer=sgd,momentum=0.9,nesterov=1
finish
