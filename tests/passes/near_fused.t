#!/bin/sh
# near_fused.t: attention becomes one operator however it is spelled, and what is nearly attention is left as it is.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/block.sh"
. "$top_srcdir/tests/passes/near.sh"
options="--batch=8 --loss=softmax-cross-entropy --attention=fused"
pass_options=--attention=fused

write_block >block.onnxtxt
# shellcheck disable=SC2086
before block.onnxtxt fuse-attention $options
fused() { changed "$1" "$2" "${3:-actnn.Attention<}" 1; }
other() { changed "$1" "$2" 'actnn.Attention<' 0; }
fused "attention" ''
fused "its scale, and the draws of its dropout" '' 'scale = 0.35355.*causal = 0, random_id = 1048576>(q, k, v, "", ratio, training)'
fused "the last axis may be -1" 's/Softmax<axis = 3>/Softmax<axis = -1>/'
fused "the scale may come first" 's/Mul\(qk, root\)/Mul(root, qk)/'
fused "or divide" 's/Mul\(qk, root\)/Div(qk, root)/' 'scale = 2.828'
fused "or be missing" 's/\n  scores = Mul[^\n]*//; s/\(scores\)/(qk)/' 'scale = 1.0'
fused "so may dropout" 's/\n  d = Dropout[^\n]*//; s/o = actnn.Product\(d, v\)/o = actnn.Product(p, v)/' 'causal = 0>(q, k, v)'
other "another axis" 's/Softmax<axis = 3>/Softmax<axis = 2>/'
other "what is no softmax" 's/p = Softmax<axis = 3>/p = Neg/'
other "a scale that is divided" 's/Mul\(qk, root\)/Div(root, qk)/'
other "scores times something that is not one number" 's/Mul\(qk, root\)/Mul(qk, qk)/'
other "scores that are no product" 's/qk = actnn.Product\(q, k\)/qk = Add(q, q)/'
other "scores with a sum behind the product" 's/qk = actnn.Product\(q, k\)/qk = actnn.Product(q, k, wq)/'
other "a product of the transpose" 's/qk = actnn.Product\(/qk = actnn.Product<transA = 1>(/'
fused "values that are transposed are turned" 's/v = Transpose<perm = \[0, 2, 1, 3\]/v = Transpose<perm = [0, 2, 3, 1]/; s/(float\[8,2,)16,8(\] v\b)/${1}8,16$2/; s/o = actnn.Product\(/o = actnn.Product<transB = 1>(/'
other "a product that reads the probabilities second" 's/o = actnn.Product\(d, v\)/o = actnn.Product(v, d)/'
for value in qk scores p d; do
  other "$value that is read twice" "$(declare 'float[8,2,16,16]' extra)"' s/\n  o = /\n  extra = Neg('$value')$&/'
done

# Products of Einsum, whose batches have several axes, in whatever order their letters have; the last has its result transposed.
write_block | sed 's/qk = .*/qk = Einsum <equation = "tqhd,tkhd->thqk"> (q1, k1)/; s/o = MatMul.*/oo = Einsum <equation = "thqk,tkhd->thdq"> (d, v1)/
  s/o1 = .*/o1 = Transpose <perm = [0, 3, 1, 2]> (oo)/' >einsum.onnxtxt
# shellcheck disable=SC2086
before einsum.onnxtxt fuse-attention $options
fused "products of Einsum" ''

# Masks that see scores otherwise: of samples that are parts of windows.
write_block windows >windows.onnxtxt
# shellcheck disable=SC2086
before windows.onnxtxt fuse-attention $options
fused "two masks, each with its own leading axes" '' 'causal = 0, random_id = 1048576, .*>(v[0-9]*, v[0-9]*, v[0-9]*, v[0-9]*, ratio'
other "what is added for each sample, before they are parts of windows" 's/Add\(scores, bias\)/Add(scores, numbers)/; s/block \(/block (float[8,2,16,16] numbers, /'
other "a view that has no last axes of the scores" 's/(five = \{).*?\}/${1}8, 2, 2, 8, 16}/; s/(view|masked)( = .*?float\[)4,2,2,16/${1}${2}8,2,2,8/g; s/float\[4,2,2,16,16\] (view|masked)/float[8,2,2,8,16] $1/g;
  s/Add\(view, window\)/Add(view, view)/'

for kind in where add; do
  if [ $kind = where ]; then changed_number=0; else changed_number=2; fi
  write_block $kind | sed 's/-10000/-1e38/g' >$kind.onnxtxt
  # shellcheck disable=SC2086
  before $kind.onnxtxt fuse-attention $options
  fused "$kind: a causal mask is an attribute" '' 'causal = 1, random_id = 1048576>(q, k, v, "", ratio, training)'
  fused "$kind: any other is an operand" 's/((bool|float)\[16,16\] mask = \{)\d/${1}'$changed_number'/' 'causal = [01], random_id = 1048576>(q, k, v, mask, ratio, training)'
  fused "$kind: one from outside as well" 's/  ((bool|float)\[16,16\] mask) = \{.*?\},\n//; my $mask = $1; s/block \(/$&$mask, /' \
    'causal = 0, random_id = 1048576>(q, k, v, mask, ratio, training)'
done
fused "add: two masks, of which one is the diagonal's" "$(declare 'float[8,2,16,16]' moved)"' s/seen = Add\(mask, scores\)/moved = Add(scores, numbers)
  seen = Add(mask, moved)/; s/block \(/block (float[2,16,16] numbers, /' 'causal = 1, random_id = 1048576>(q, k, v, numbers, ratio, training)'
fused "add: the scores may come first" 's/Add\(mask, scores\)/Add(scores, mask)/' 'causal = 1'
fused "add: a mask that is trained" 's/("actnn.constant" : .*?) mask/$1/'
# shellcheck disable=SC2086
write_block add >little.onnxtxt && before little.onnxtxt fuse-attention $options
fused "add: a mask to which scores still add something" '' '(q, k, v, mask, ratio, training)'
# shellcheck disable=SC2086
before where.onnxtxt fuse-attention $options
# nodes NODES: an edit that has nodes make the mask of what was the mask
nodes() { printf '%s' "s/bool\\[16,16\\] mask = /bool[16,16] lower = /; s/\\n>\\n\\{/,\\n  bool[16,16] mask\\n>\\n{/; s/\\{\\n  # forward\\n/\${&}  $1\\n/;"; }
fused "where: a mask that nodes make of constants" "$(nodes 'mask = And(lower, lower)')" 'causal = 1.*(q, k, v, ""'
fused "where: a mask that nodes make of an input" "$(nodes 'mask = And(lower, given)') s/block \\(/\$&bool[16,16] given, /" 'causal = 0.*(q, k, v, mask'
fused "where: a mask that is drawn" "$(nodes 'noise = RandomUniform<shape = [16, 16]>()\n  mask = Less(noise, noise)') $(declare 'float[16,16]' noise)" \
  'causal = 0.*(q, k, v, mask'
fused "where: a mask that blocks where it is true" 's/Where\(mask, scores, low\)/Where(mask, low, scores)/' 'never = -1.*causal = 0.*(q, k, v, c\?[^,]*, ratio'
two="$(declare 'float[8,2,16,16]' moved)"' s/Where\(mask, scores, low\)/Where(mask, moved, low)/; s/\n  seen = /\n  moved = Add(numbers, scores)$&/;
  s/block \(/block (float[2,1,16] numbers, /;'
fused "where: two masks, of which one is the diagonal's" "$two" 'causal = 1, random_id = 1048576>(q, k, v, numbers, ratio, training)'
open='s/(bool\[16,16\] mask = \{)\d/${1}0/;'
fused "where: two masks" "$two $open s/low = \{-1e\+09/low = {-1e38/" 'random_id = 1048576>(q, k, v, v[0-9]*, ratio'
other "where: two masks, of which one leaves something of what is added" "$two $open"
other "where: what is blocked is not one number" 's/Where\(mask, scores, low\)/Where(mask, scores, qk)/'
finish
