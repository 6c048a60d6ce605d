#!/bin/sh
# unbiased.t: the mean gradient over many draws of codes is the exact one: 500 draws of ActNN's at 2 bits; and of codes of any
# number of levels, with dither, at three compressions.
#
# The exact gradients come from the same model compiled without compression, on the same weights and batch. With K draws of
# variance V (all elements together), the mean's squared distance from the truth is V / K on average: its root is the
# standard error. A parameter fails when its mean is farther than 4 standard errors from the exact gradient, or when its
# projection on the exact gradient is off by more than LIMIT of the projection's own standard errors: the former sees
# a bias in few elements, the latter a small one along the whole gradient. Both allow for 1e-5 of the gradient: rounding of
# float32, where codes play no part or next to none.
#
# Batch normalization reads its code twice: its gradient shrinks by Var(code) / n, n elements a channel (here 196 and more), in each
# such layer. That is small against one draw's noise, and projections see it after enough draws; so ResNet-20 has no limit there.
#
# The variance predicted from the noise counted in the codes is the one measured, within WITHIN: exactly so for matrix
# products; for convolutions the prediction takes noise and gradient to be spread evenly over the image; and codes of
# normalization disturb gradients below them, which no weight's own prediction contains.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# unbiased MODEL BATCH LIMIT WITHIN DRAWS OPTION...: OPTION says how values are coded
unbiased() {
  model=$1 batch=$2 limit=$3 within=$4 draws=$5
  shift 5
  options="--batch=$batch --loss=softmax-cross-entropy"
  rm -rf data && mkdir data && "$oracle" inputs "$models/$model.onnx" "$batch" 3 data || exit 1
  data="--data image=data/image.npy --data labels=data/labels.npy --seed 3 --quiet"
  # shellcheck disable=SC2086
  {
    build_trainer exact "$models/$model.onnx" $options --level=L0 &&
      build_trainer coded "$models/$model.onnx" $options "$@" &&
      ./exact $data --steps 3 --checkpoint weights.safetensors &&
      ./exact $data --weights weights.safetensors --dump-gradients exact.safetensors &&
      ./coded $data --weights weights.safetensors --variance $draws --gradient-reference exact.safetensors >table
  } >log 2>&1 || { not_ok "$model $*: runs" log && return; }
  # columns: parameter |g| variance predicted ratio bias s.e. bias/s.e. z of the projection, between batches
  awk -v limit="$limit" -v within="$within" -v name="$model" '
    $1 == "parameter" { in_table = 1; next }
    in_table && $1 != "(all)" {
      parameters++
      if ($3 > 0) coded++
      if ($6 > 4 * $7 + 1e-5) { bad++; print name ": " $1 ": mean is off by " $8 " standard errors" }
      if (($9 > limit || $9 < -limit) && $6 > 1e-5) { bad++; print name ": " $1 ": projection is off by " $9 " standard errors" }
      if ($5 != "-") predicted++
      if ($5 != "-" && ($5 < 1 - within || $5 > 1 + within)) { bad++; print name ": " $1 ": predicted / measured variance is " $5 }
      if ($8 > worst) worst = $8
      if ($9 * $9 > along * along) along = $9
      variance += $3 * $2 * $2; norm += $2 * $2
    }
    END {
      printf "%d parameters, %d of them on codes; mean off by at most %.2f s.e., along the gradient %.2f s.e.; variance %.3g of |g|^2\n",
        parameters, coded, worst, along, variance / norm
      exit bad > 0 || parameters < 6 || coded < 2 || predicted < 2
    }' table >verdict
  if [ $? -eq 0 ]; then ok "$model $*: $(tail -n 1 verdict)"; else cat table >>verdict && not_ok "$model $*: unbiased" verdict; fi
}

unbiased mlp 16 4 0.1 500 --scheme=actnn --bits=2
unbiased lenet5 8 4 0.25 500 --scheme=actnn --bits=2
unbiased resnet20 4 1e9 1 500 --scheme=actnn --bits=2
unbiased lenet5 8 4 0.5 500 --scheme=actnnc --compression=9
for compression in 6 12 20; do unbiased resnet20 4 4 1e9 120 --scheme=actnnc --compression=$compression; done
# ReLU6 saturates where it caps at 1: a float tensor of one number, 6, becomes 1.
perl -0777 -pe 's/\x22\x04\x00\x00\xc0\x40/\x22\x04\x00\x00\x80\x3f/g' "$top_srcdir/tests/training/models/mobilenetv2.onnx" >mobilenetv2.onnx
models=$PWD
unbiased mobilenetv2 8 4 1e9 60 --bits=2
finish
