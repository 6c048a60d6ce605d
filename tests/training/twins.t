#!/bin/sh
# twins.t: a network applied to two inputs, as for learning distances: weights are shared, and the normalization's running statistics
# move twice a step, first by the one input and then by the other. Gradients are the double-precision evaluator's; what is computed
# again and what is coded changes no statistic.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/block.sh"
. "$top_srcdir/tests/training/same.sh"

{
  printf '<ir_version: 8, opset_import: ["" : 17]>\ntwins (float[N,4,8,8] a, float[N,4,8,8] b) => (float[N,3] logits)\n<\n'
  weights w 8 36 | sed 's/\[8,36\]/[8,4,3,3]/'
  weights head 8 3
  vector scale 8 0.9; vector bias 8 -0.1; vector mean 8 0; vector variance 8 1
  cat <<'END'
   int64[2] flat = {0, -1}
>
{
  ca = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (a, w)
  na, m1, v1 = BatchNormalization <training_mode = 1> (ca, scale, bias, mean, variance)
  ra = Relu (na)
  cb = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (b, w)
  nb, m2, v2 = BatchNormalization <training_mode = 1> (cb, scale, bias, mean, variance)
  rb = Relu (nb)
  d = Sub (ra, rb)
  q = Mul (d, d)
  p = GlobalAveragePool (q)
  f = Reshape (p, flat)
  logits = MatMul (f, head)
}
END
} >twins.onnxtxt
mkdir data && "$oracle" inputs twins.onnxtxt 16 3 data >log 2>&1 || { not_ok "inputs" log; finish; exit 1; }
data="--data a=data/a.npy --data b=data/b.npy --data labels=data/labels.npy"
options="--batch=16 --loss=softmax-cross-entropy --verify-each"
which=0
for how in --level=L0 "--bits=32 --recompute=always" --bits=2; do
  # shellcheck disable=SC2086
  {
    check "$how: compiles" build_trainer twins twins.onnxtxt $options $how
    train twins "result$which" --eval none --threads 1 >log 2>&1 || not_ok "$how: trains" log
    ./twins $data --weights "result$which.safetensors" --dump-gradients gradients.safetensors
  }
  [ "$how" = --bits=2 ] ||
    check "$how: gradients" "$oracle" compare twins.onnxtxt 16 data "result$which.safetensors" gradients.safetensors 1e-4
  which=$((which + 1))
done
check "what is computed again moves no statistic" same_training result0 result1
finish
