#!/bin/sh
# near_attention.t: what is nearly attention, and nearly a normalization of rows, is left as it is.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/block.sh"
. "$top_srcdir/tests/passes/near.sh"
options="--batch=8 --loss=softmax-cross-entropy --attention=separate"

# ---- softmax's gradient by way of the product's result
write_block >block.onnxtxt
# shellcheck disable=SC2086
before block.onnxtxt linearize-attention $options
# The gradients: v72 replays dropout for that of p, v66 is that of d, v65 and v64 those of o and o1.
changed "attention" '' 'SoftmaxGradAlong' 1
changed "the last axis may be -1" 's/SoftmaxGrad<axis = 3/SoftmaxGrad<axis = -1/' 'SoftmaxGradAlong' 1
other() { changed "$1" "$2" 'SoftmaxGradAlong' 0; }
other "another axis" 's/SoftmaxGrad<axis = 3/SoftmaxGrad<axis = 2/'
other "what is no softmax" 's/p = Softmax<axis = 3>/p = Neg/'
other "probabilities that are read twice" "$(declare 'float[8,2,16,16]' extra)"' s/\n  d = Dropout/\n  extra = Neg(p)$&/'
other "dropout, and a gradient without" 's/v72 = actnn.DropoutReplay<random_id = 1048576, (.*?), ratio, training\)/v72 = Neg<$1)/'
other "another dropout's gradient" 's/(v72 = .*?origin = ")d"/$1p"/'
other "a product that reads them second" 's/o = actnn.Product\(d, v\)/o = actnn.Product(v, d)/'
other "a product that reads them twice" 's/o = actnn.Product\(d, v\)/o = actnn.Product(d, d)/'
other "a sum in place of the product" 's/o = actnn.Product\(d, v\)/o = Add(d, v)/'
other "a product with a sum behind it" 's/o = actnn.Product\(d, v\)/o = actnn.Product(d, v, root)/'
other "a product of the transpose" 's/o = actnn.Product\(/o = actnn.Product<transA = 1>(/'
other "a product by a transpose, whose gradient is of none" 's/o = actnn.Product\(/o = actnn.Product<transB = 1>(/'
other "a gradient that is no product" 's/v66 = actnn.Product<transA = 0, transB = 1, (.*?)\(v65, v\)/v66 = Neg<$1(v65)/'
other "a gradient of another product" 's/(v66 = .*?origin = ")o"/$1qk"/'
other "a gradient by another factor" 's/(v66 = .*?)\(v65, v\)/$1(v65, q)/'
other "a gradient with a sum behind it" 's/(v66 = .*?)\(v65, v\)/$1(v65, v, root)/'
other "a gradient of the transpose" 's/(v66 = .*?)transA = 0/$1transA = 1/'
other "a gradient of another shape" 's/float\[8,2,16,16\] v66/float[8,2,16,4] v66/'
other "a result of another shape" 's/float\[8,2,16,8\] o,/float[8,2,8,16] o,/'

# The row sum of dO O is taken of what backward reads anyway: o2, moved as its gradient was; or of o itself.
moved() { changed "$1" "$2" 'Mul<phase = "backward", origin = "p">(v[0-9]*, o)' "$3"; }
moved "the result is moved back from where it is read" '' 0
moved "a result that is read by two" "$(declare 'float[8,2,16,8]' extra)"' s/\n  o1 = Transp/\n  extra = Neg(o)$&/' 1
moved "a result that is not only moved" 's/o1 = Transpose<perm = \[0, 2, 1, 3\]>/o1 = Neg/' 1
moved "a gradient that is not only moved" 's/v65 = actnn.TransposeInverse<perm = \[0, 2, 1, 3\], /v65 = Neg</' 1
moved "a gradient that is moved for another" 's/(v65 = .*?origin = ")o1"/$1q1"/' 1
moved "a move that changes the shape" 's/float\[8,16,2,8\] v64/float[8,2,16,8] v64/' 1
changed "a gradient that comes from outside" 's/net|block \(/$&float[8,2,16,8] given, /; s/(v66 = .*?)\(v65, v\)/$1(given, v)/' \
  'Mul<phase = "backward", origin = "p">(given, o)' 1
changed "a gradient that is known in forward" "$(declare 'float[8,2,16,8]' early)"'
  s/\n  o2 = Reshape/\n  early = actnn.TransposeInverse<perm = [0, 2, 1, 3], origin = "o1">(o1)$&/; s/(v66 = .*?)\(v65, v\)/$1(early, v)/' \
  'Mul<phase = "backward", origin = "p">(early, o)' 1
perl -pe 's/^   o1 = Transpose.*\n/"   m0 = Neg (o)\n" . join "", map { "   m$_ = Transpose <perm = [0, 2, 1, 3]> (m" . ($_ - 1) . ")\n" } 1 .. 10/e;
  s/m0 = Neg \(o\)/m0 = Transpose <perm = [0, 2, 1, 3]> (o)/; s/Reshape \(o1, rows\)/Reshape (m10, rows)/' block.onnxtxt >far.onnxtxt
# shellcheck disable=SC2086
before far.onnxtxt linearize-attention $options
changed "a way too long to move back" '' 'Mul<phase = "backward", origin = "p">(v[0-9]*, o)' 1

# ---- half of what a causal mask leaves
for kind in where add; do
  write_block $kind >$kind.onnxtxt
  # shellcheck disable=SC2086
  before $kind.onnxtxt pack-triangles $options
  changed "$kind: a causal mask" '' 'actnn.PackTriangle<' 1
  changed "$kind: the last axis may be -1" 's/(\n  p = Softmax<axis = )3/$1-1/' 'actnn.PackTriangle<' 1
  other() { changed "$kind: $1" "$2" 'actnn.PackTriangle<' 0; }
  other "another axis" 's/(\n  p = Softmax<axis = )3/${1}2/'
  other "a softmax in double precision" 's/float\[8,2,16,16\] p,/double[8,2,16,16] p,/'
  other "one matrix alone" 's/float\[8,2,16,16\] p,/float[256,16] p,/'
  other "no squares" 's/float\[8,2,16,16\] p,/float[8,2,32,8] p,/'
  other "scores from outside" 's/block \(/$&float[8,2,16,16] given, /; s/(\n  p = Softmax<axis = 3>)\(seen\)/$1(given)/'
  other "a mask that is a row" 's/(bool|float)\[16,16\] mask/$1\[256] mask/'
  other "a mask of other columns" 's/(bool|float)\[16,16\] mask/$1\[32,8] mask/'
  other "a mask of other rows" 's/(bool|float)\[16,16\] mask/$1\[2,8,16] mask/'
  other "a mask of other numbers" 's/(bool|float)\[16,16\] mask/int64[16,16] mask/'
  other "a mask whose numbers are not there" 's/((bool|float)\[16,16\] mask = )\{.*?\}/$1\["location" : "none"]/'
  other "a mask that comes from outside" 's/  ((bool|float)\[16,16\] mask) = \{.*?\},\n//; my $mask = $1; s/block \(/$&$mask, /'
done
changed "add: the mask may come second" 's/(\n  seen = Add)\(mask, scores\)/$1(scores, mask)/' 'actnn.PackTriangle<' 1
other "a mask that is trained" 's/("actnn.constant" : .*?) mask/$1/'
# shellcheck disable=SC2086
before where.onnxtxt pack-triangles $options
kind=where
changed "where: a mask that nodes make of constants" \
  "$(declare 'bool[16,16]' twice)"' s/\n  # forward\n/$&  twice = And(mask, mask)\n/; s/(\n  seen = Where\()mask/$1twice/' 'actnn.PackTriangle<' 1
other "a mask that blocks little" 's/float low = \{.*?\}/float low = {-5}/'
other "what is blocked is not constant" 's/\(mask, scores, low\)/(mask, scores, qk)/'

# ---- one save for a normalization of rows and the layers behind it
# shellcheck disable=SC2086
before block.onnxtxt save-normalized-rows $options
changed "two normalizations of rows" '' 'NormalizedRowsGrad<' 2
one() { changed "$1" "$2" 'NormalizedRowsGrad<' 1; }
one "a gradient by another scale" 's/(LayerNormalizationGrad<.*?)\((.*?), x, scale1/$1($2, x, scale2/'
one "a gradient by another deviation" 's/(LayerNormalizationGrad<.*?), (v\d+), (v\d+)\)/$1, $2, $2)/'
one "a gradient by another mean" 's/(LayerNormalizationGrad<.*?), (v\d+), (v\d+)\)/$1, $3, $3)/'
# of NAME SHAPE: an edit that gives a parameter, its gradient and state another shape
of() {
  printf '%s' 'my ($new, $state, $gradient) = /\n  \['$1'\] (v\d+), (v\d+) = actnn.Sgd<.*?>\('$1', (v\d+)/;
    s/float\[16\] ($new|$state|$gradient)\b/float['$2'] $1/g;
    s/float\[16\] ('$1'|"'$1'.momentum") = (\{.*?\}|\[.*?\])/float['$2'] $1 = ["location" : "none"]/g'
}
one "a bias of one element" "$(of bias1 1)"
one "a scale of another rank" "$(of scale1 1,1,1,16)"
finish
