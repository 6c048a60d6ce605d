#!/bin/sh
# operators.t: every operator whose gradient reads a coded value leaves the mean gradient exact: one model of many branches, each a
# product by a parameter, the operator, a product by another; the logits are the sum of all, so that no branch's noise meets another's.
#   DRAWS=2000 BITS="1.6 2 3"   as many draws (300), and at these bits (2)
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/block.sh"
. "$top_srcdir/tests/training/unbiased.sh"

# NAME|what makes h of u, both [N,16,16]; @ stands before the branch's own names; p.. is a parameter [16], m.. one [16,16] of the branch
branches='gelu|@h = Gelu (@u)
gelu_tanh|@h = Gelu <approximate = "tanh"> (@u)
swish|@s = Sigmoid (@u) @h = Mul (@u, @s)
sigmoid|@h = Sigmoid (@u)
tanh|@h = Tanh (@u)
softplus|@h = Softplus (@u)
mish|@h = Mish (@u)
elu|@h = Elu <alpha = 1.5> (@u)
selu|@h = Selu (@u)
celu|@h = Celu <alpha = 0.7> (@u)
hardswish|@h = HardSwish (@u)
relu|@h = Relu (@u)
leaky|@h = LeakyRelu <alpha = 0.2> (@u)
prelu|@h = PRelu (@u, @p)
softsign|@h = Softsign (@u)
erf|@h = Erf (@u)
atan|@h = Atan (@u)
sin|@h = Sin (@u)
cos|@h = Cos (@u)
exp|@h = Exp (@u)
square|@h = Mul (@u, @u)
log|@e = Exp (@u) @s = Add (@e, one) @h = Log (@s)
sqrt|@e = Mul (@u, @u) @s = Add (@e, one) @h = Sqrt (@s)
pow|@e = Mul (@u, @u) @s = Add (@e, one) @h = Pow (@s, third)
reciprocal|@e = Mul (@u, @u) @s = Add (@e, one) @h = Reciprocal (@s)
gate|@v = MatMul (x, @m) @h = Mul (@u, @v)
ratio|@v = MatMul (x, @m) @e = Mul (@v, @v) @s = Add (@e, one) @h = Div (@u, @s)
scale|@h = Mul (@u, @p)
product|@h = MatMul (@u, @m)
twice|@t = Transpose <perm = [0, 2, 1]> (@u) @h = MatMul (@u, @t)
einsum|@h = Einsum <equation = "nij,jk->nik"> (@u, @m)
einsum_pair|@v = MatMul (x, @m) @h = Einsum <equation = "nij,nkj->nik"> (@u, @v)
softmax|@h = Softmax <axis = -1> (@u)
logsoftmax|@h = LogSoftmax <axis = -1> (@u)
layernorm|@h = LayerNormalization <axis = -1> (@u, @p, @p)
rmsnorm|@h = RMSNormalization <axis = -1> (@u, @p)
batchnorm|@i, @j, @k = BatchNormalization <training_mode = 1> (@u, @p, @p, zeros, ones) @h = Relu (@i)
capped|@i, @j, @k = BatchNormalization <training_mode = 1> (@u, @p, @p, zeros2, ones2) @h = Clip (@i, zero, third)
groupnorm|@h = GroupNormalization <num_groups = 4> (@u, @p, @p)
instancenorm|@h = InstanceNormalization (@u, @p, @p)
conv|@r = Reshape (@u, image) @c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (@r, @f) @h = Reshape (@c, rows)
depthwise|@r = Reshape (@u, image) @c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 4> (@r, @g) @h = Reshape (@c, rows)
transposed|@r = Reshape (@u, image) @c = ConvTranspose <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (@r, @f) @h = Reshape (@c, rows)
norm|@n = ReduceL2 <keepdims = 1> (@u, last) @s = Add (@n, one) @h = Div (@u, @s)
logsum|@n = ReduceLogSumExp <keepdims = 1> (@u, last) @h = Sub (@u, @n)'

write_model() {
  printf '<ir_version: 8, opset_import: ["" : 23]>\nbranches (float[N,16,16] x) => (float[N,4] logits)\n<\n'
  echo "$branches" | while IFS='|' read -r name body; do
    weights "in_$name" 16 16
    weights "out_$name" 16 4
    case $body in *@p*) vector "p_$name" 16 0.8 ;; esac
    case $body in *@m*) weights "m_$name" 16 16 ;; esac
    case $body in *@f*) weights "f_$name" 4 36 | sed 's/\[4,36\]/[4,4,3,3]/' ;; esac
    case $body in *@g*) weights "g_$name" 4 9 | sed 's/\[4,9\]/[4,1,3,3]/' ;; esac
  done
  for n in "" 2; do
    vector zeros$n 16 0 | sed 's/0\.[0-9]*/0/g'
    vector ones$n 16 1 | sed 's/1\.[0-9]*/1/g'
  done
  printf '   int64[4] image = {0, 4, 8, 8},\n   int64[3] rows = {0, 16, 16},\n   int64[1] axis = {1}\n>\n{\n'
  printf '   one = Constant <value_float = 1.0> ()\n   zero = Constant <value_float = 0.0> ()\n   third = Constant <value_float = 0.3333333> ()\n'
  printf '   last = Constant <value_ints = [2]> ()\n'
  sum=
  echo "$branches" | while IFS='|' read -r name body; do
    printf '   [%s_in] %s_u = MatMul (x, in_%s)\n' "$name" "$name" "$name"
    echo "$body" | sed "s/) @/)\\n@/g; s/@\([pmfg]\)\b/\1_$name/g; s/@/${name}_/g; s/^/   /"
    printf '   %s_mean = ReduceMean <keepdims = 0> (%s_h, axis)\n   %s_l = MatMul (%s_mean, out_%s)\n' "$name" "$name" "$name" "$name" "$name"
    if [ -z "$sum" ]; then sum=${name}_l; else printf '   sum_%s = Add (%s, %s_l)\n' "$name" "$sum" "$name" && sum=sum_$name; fi
    echo "$sum" >sum
  done
  printf '   logits = Mul (%s, third)\n}\n' "$(cat sum)"
}

write_model >branches.onnxtxt
count=$(echo "$branches" | wc -l)
mkdir data && "$oracle" inputs branches.onnxtxt 8 3 data >log 2>&1 || { not_ok "inputs" log; finish; exit 1; }
options="--batch=8 --loss=softmax-cross-entropy"
data="--data x=data/x.npy --data labels=data/labels.npy --seed 3 --quiet"
# shellcheck disable=SC2086
{
  build_trainer exact branches.onnxtxt $options --level=L0 &&
    ./exact $data --steps 1 --checkpoint weights.safetensors && ./exact $data --weights weights.safetensors --dump-gradients exact.safetensors
} >log 2>&1 || { not_ok "exact gradients" log; finish; exit 1; }
for bits in ${BITS:-2}; do
  # shellcheck disable=SC2086
  { build_trainer coded branches.onnxtxt $options --bits="$bits" --explain-saves >saves &&
    ./coded $data --weights weights.safetensors --variance "${DRAWS:-300}" --gradient-reference exact.safetensors >table
  } >log 2>&1 || { not_ok "runs" log; continue; }
  coded=$(awk '$1 == "parameter" { t = 1; next } t && $3 > 0 { n++ } END { print n + 0 }' table)
  check "$bits bits: most branches have noise" test "$coded" -ge "$((count * 3 / 4))"
  # Normalizations read their code twice, which leaves at most Var / n of the gradient (here n is 16 for rows, 128 for channels).
  grep -v "_\(layer\|rms\|batch\|group\|instance\)norm\|_capped" table >others
  awk '/^in_([a-z]+norm|capped) / { n++; if ($6 > 0.02) { bad++; print } } END { exit bad > 0 || n != 6 }' table >verdict
  if [ $? -eq 0 ]; then ok "$bits bits: normalizations are within 2 % of the gradient"; else not_ok "$bits bits: normalizations" verdict; fi
  if is_unbiased others >verdict; then ok "$bits bits, $((count - 6)) operators: unbiased; $(tail -n 1 verdict)"; else not_ok "$bits bits: unbiased" verdict; fi
done
finish
