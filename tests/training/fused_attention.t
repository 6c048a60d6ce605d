#!/bin/sh
# fused_attention.t: attention in one operator trains as its nodes do, up to rounding, with the very draws of their dropout; it saves fewer
# bytes where nothing is coded, beside codes its mean gradient is the exact one, and memory is what is planned.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/same.sh"
. "$top_srcdir/tests/training/block.sh"
. "$top_srcdir/tests/training/unbiased.sh"

# number KEY FILE: the first number that JSON in FILE has under KEY.
number() { tr -d '\n' <"$2" | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" | head -n 1; }

# close RESULT RESULT TOLERANCE: six losses each, which differ by rounding alone.
close() {
  for result in "$1" "$2"; do sed -n 's/.*"loss": *\([-0-9.e+]*\).*/\1/p' "$result.log" >"$result.losses"; done
  paste "$1.losses" "$2.losses" | awk -v most="$3" '
    { off = ($1 - $2) / $1; if (off < 0) off = -off; if (!(off <= most)) { bad++; print "step " NR ": " $1 " and " $2 } }
    END { exit bad > 0 || NR < 6 }'
}

# alike MODEL-FILE INPUT TOLERANCE OPTION...
alike() {
  model=$1 input=$2 most=$3 name=$(basename "$1" .onnx)
  shift 3
  options="--batch=4 --loss=softmax-cross-entropy --verify-each $*"
  # shellcheck disable=SC2086
  {
    check "$name $*: compiles as nodes" build_trainer nodes "$model" $options --attention=separate --report=nodes.json
    check "$name $*: compiles as one" build_trainer fused "$model" $options --attention=fused --report=fused.json
  }
  check "$name $*: it is one operator" [ "$(grep -c 'actnn_AttentionGrad' fused.c)" -ge 1 -a "$(grep -c 'actnn_Softmax' fused.c)" -lt \
    "$(grep -c 'actnn_Softmax' nodes.c)" ]
  { train nodes one && train fused two && ./fused --memory >fused.memory; } >log 2>&1 || not_ok "$name $*: trains" log
  check "$name $*: losses are alike" close one two "$most"
  check "$name $*: a framework would keep the same" [ "$(number saved_bytes_fp32 nodes.json)" = "$(number saved_bytes_fp32 fused.json)" ]
  check "$name $*: the arena has the planned size" [ "$(number arena_bytes fused.json)" = "$(number arena_bytes fused.memory)" ]
}
less() { check "$name: fewer bytes are saved" [ "$(number saved_bytes fused.json)" -lt "$(number saved_bytes nodes.json)" ]; }

random_data "$models/decoder.onnx" tokens 24 T=48
alike "$models/decoder.onnx" tokens 1e-5 --bits=32 --dim=T=48 && less
alike "$models/decoder.onnx" tokens 2e-2 --bits=32 --dim=T=48 --precision=bf16
for kind in none where add; do
  write_block $kind | sed 's/-10000/-1e38/g' >$kind.onnxtxt
  random_data $kind.onnxtxt x 24
  alike $kind.onnxtxt x 1e-5 --bits=32 && less
done
alike where.onnxtxt x 1e-5 --bits=32 --recompute=always
# Rows that a mask blocks as a whole have no probabilities, and none where the model says so; the mask is no causal one.
write_block where | sed 's/{1, 0, /{0, 0, /; s/low = .*/low = Constant <value = float {-inf}> ()\n   nought = Constant <value_float = 0.0> ()/
  s/p = Softmax .*/p0 = Softmax <axis = -1> (seen)\n   lost = IsNaN (p0)\n   p = Where (lost, nought, p0)/' >blocked.onnxtxt
alike blocked.onnxtxt x 1e-5 --bits=32 && less
# A mask that is trained has its gradient from the operator: one for each head and pair of positions, and one for each position alone.
for extents in "2 16 16" "1 16"; do
  # shellcheck disable=SC2086
  write_block add | sed "s/^   mask = Constant.*/   mask = Identity (bias)/; s/^   int64\[1\] axis/$(trained bias $extents)\n&/" >trained.onnxtxt
  alike trained.onnxtxt x 1e-5 --bits=32
done
write_block windows >windows.onnxtxt
alike windows.onnxtxt x 1e-5 --bits=32

# shellcheck disable=SC2086
{
  options="--batch=8 --loss=softmax-cross-entropy --attention=fused"
  data="$data --seed 3 --quiet"
  build_trainer exact where.onnxtxt $options --level=L0 &&
    build_trainer coded where.onnxtxt $options --bits=2 --verify-each --explain-saves >saves &&
    ./exact $data --steps 3 --checkpoint weights.safetensors &&
    ./exact $data --weights weights.safetensors --dump-gradients exact.safetensors &&
    ./coded $data --weights weights.safetensors --variance 400 --gradient-reference exact.safetensors >table
} >log 2>&1 || not_ok "runs with codes" log
check "unbiased" is_unbiased table
for exact in q k; do check "$exact is exact" grep -q "^${exact}1  *exact .*AttentionGrad" saves; done
check "v is coded" grep -q "^v1  *even/dither .*AttentionGrad" saves
check "so is o, once, for the next layer and for its row sum" \
  [ "$(grep -c '^o2 .*even/dither' saves)" -eq 1 -a "$(grep -c '^o[1 ] ' saves)" -eq 0 ]
finish
