#!/bin/sh
# near_functions.t: what is nearly an activation, a transposed product or a convolution's gradient as usual.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/passes/near.sh"

# model NODES [OUTPUTS [INITIALIZERS]]: of x and y, both 4 x 8
model() {
  echo '<ir_version: 8, opset_import: ["" : 17, "actnn" : 1]>'
  echo "g (float[4,8] x) => (float[4,8] y$2)"
  echo "<float[8,8] w = [\"location\" : \"none\"], float[8] v = [\"location\" : \"none\"], int64[1] n = {1}>"
  echo "{ $1 }"
}
# recognized WHAT PATTERN COUNT NODES [OUTPUTS]
recognized() {
  model "$4" "$5" >model.onnxtxt
  "$actnnc" model.onnxtxt --run-pass=specialize,simplify,recognize >after.onnxtxt 2>&1
  code=$?
  if [ $code -eq 0 ] && [ "$(grep -c -e "$2" after.onnxtxt)" -eq "$3" ]; then ok "$1"; else not_ok "$1" after.onnxtxt; fi
}
recognized "x times its sigmoid" 'y = Swish<' 1 's = Sigmoid (x) y = Mul (x, s)'
recognized "a sigmoid that is an output" 'y = Swish<' 0 's = Sigmoid (x) y = Mul (x, s)' ', float[4,8] s'
recognized "a sigmoid that is read on" 'Swish<' 0 's = Sigmoid (x) z = Mul (x, s) y = Add (z, s)'
recognized "operators by our names are not looked through" 'Swish<' 0 's = Sigmoid (x) y = actnn.Mul (x, s)'
recognized "x times its negative" 'y = Mul(' 1 's = Neg (x) y = Mul (x, s)'
long=$(awk 'BEGIN { print "s0 = Sigmoid (x)"; for (i = 0; i < 20; i++) print "s" i + 1 " = Neg (s" i ")"; print "y = Mul (x, s20)" }')
recognized "a function in more steps than are looked at" 'y = Mul(' 1 "$long"
long=$(awk 'BEGIN { print "s0 = Sigmoid (x)"; for (i = 0; i < 14; i++) print "s" i + 1 " = Neg (s" i ")"; print "y = Mul (x, s14)" }')
recognized "and in as many" 'y = Swish<' 1 "$long"
long=$(awk 'BEGIN { print "s0 = Sigmoid (x)"; for (i = 0; i < 15; i++) print "s" i + 1 " = Neg (s" i ")"; print "y = Mul (x, s15)" }')
recognized "and in one more" 'y = Mul(' 1 "$long"
numbers='nought = Constant <value_float = 0.0> () one = Constant <value_float = 1.0> ()'
guarded='y = Softmax<axis = 1, guarded = 1>(x)'
recognized "softmax whose NaN become zero" "$guarded" 1 "$numbers "'p = Softmax (x) lost = IsNaN (p) y = Where (lost, nought, p)'
recognized "whose NaN become something else" "$guarded" 0 "$numbers "'p = Softmax (x) lost = IsNaN (p) y = Where (lost, one, p)'
recognized "whose numbers become zero" "$guarded" 0 "$numbers "'p = Softmax (x) lost = IsNaN (p) y = Where (lost, p, nought)'
recognized "what is zero where something else is NaN" "$guarded" 0 "$numbers "'p = Softmax (x) lost = IsNaN (x) y = Where (lost, nought, p)'
recognized "softmax that is read on" "$guarded" 0 "$numbers "'p = Softmax (x) lost = IsNaN (p) z = Where (lost, nought, p) y = Add (z, p)'
recognized "softmax that is an output" "$guarded" 0 "$numbers "'p = Softmax (x) lost = IsNaN (p) y = Where (lost, nought, p)' ', float[4,8] p'
recognized "a product by a transpose" 'y = actnn.Product<transB = 1>(x, w)' 1 't = Transpose <perm = [1, 0]> (w) y = MatMul (x, t)'
recognized "a product by a transpose that changes nothing" 'y = actnn.Product(x, u)' 1 \
  'u = Transpose <perm = [0, 1]> (w) y = MatMul (x, u)'
recognized "a product by a vector, transposed" 't = Transpose<perm = .0.>(v)' 1 \
  't = Transpose <perm = [0]> (v) p = MatMul (x, t) q = Unsqueeze (p, n) y = Add (x, q)'
# refused WHAT MESSAGE NODES: what no model may have, shown to the pass without the ones before it
refused() {
  model "$3" | sed 's/int64\[1\] n = {1}>/int64[1] n = {1}, float[4,8] s, float[8,8] t>/' >model.onnxtxt
  "$actnnc" model.onnxtxt --run-pass=recognize >output 2>messages
  code=$?
  if [ $code -eq 1 ] && grep -q -e "$2" messages; then ok "$1"; else not_ok "$1" messages; fi
}
refused "a sigmoid at another time" "reads across phases" 's = Sigmoid <phase = "initialize"> (x) y = Mul (x, s)'
refused "a transpose at another time" "reads across phases" 't = Transpose <perm = [1, 0], phase = "initialize"> (w) y = actnn.Product (x, t)'
refused "a product by nothing" "'b' is missing" 'y = actnn.Product (x)'
refused "a product of nothing" "'a' is missing" 'y = Mul (, x)'

# ---- convolutions whose gradients say less than usual
cat >conv.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17]>
conv (float[N,3,16,16] image) => (float[N,16] logits)
<float[16,3,3,3] w1 = ["location" : "none"], float[16,16,3,3] w2 = ["location" : "none"]>
{
  [conv1] c1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (image, w1)
  [relu1] r1 = Relu (c1)
  [conv2] c2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r1, w2)
  [pool] p2 = GlobalAveragePool (c2)
  [flat] logits = Flatten (p2)
}
END
before conv.onnxtxt quantize --batch=4 --loss=softmax-cross-entropy
changed "a convolution's operand" '' 'QuantizeOnSave<' 1
weight=$(sed -n 's/.* masked .* \([0-9.e+-]*\) adaptive.*/\1/p' after.onnxtxt | head -n 1)
# same WHAT EDIT: the weight of its noise is what it was
same() {
  changed "$1" "$2" " $weight adaptive" 1
}
if [ -n "$weight" ]; then ok "its noise has a weight"; else not_ok "its noise has no weight" after.onnxtxt; fi
same "no strides are strides of 1" 's/(ConvGradWeight<[^\n]*)strides = \[1, 1\], /$1/g'
same "no dilations are dilations of 1" 's/(ConvGradWeight<[^\n]*)dilations = \[1, 1\], /$1/g'
changed "without pads taps meet more" 's/(\[conv2\] [^\n]*ConvGradWeight<[^\n]*)pads = \[1, 1, 1, 1\], /$1/' 'QuantizeOnSave<' 1
changed "strides of nothing" 's/(\[conv2\] [^\n]*ConvGradWeight<[^\n]*)strides = \[1, 1\], /$1strides = [0, 0], /' 'QuantizeOnSave<' 1
changed "no places" \
  's/float\[4,16,16,16\] (v\d+),(?=[^{]*\{.*\[conv2\] v\d+ = actnn.ConvGradWeight<[^\n]*\(\1, )/float[4,16,0,0] $1,/s' 'QuantizeOnSave<' 1
changed "a kernel of fewer axes" 's/(\[conv2\] [^\n]*ConvGradWeight<[^\n]*)kernel_shape = \[3, 3\], /$1kernel_shape = [3], /' 'QuantizeOnSave<' 1
changed "a program whose first input is a scalar" 's/conv \(/$&float scale, /' 'QuantizeOnSave<' 1
finish
