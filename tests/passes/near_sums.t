#!/bin/sh
# near_sums.t: when a product adds to a sum, and a bias is a product's own; and what is nearly so and stays as it is.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

types='float[8,8] w = ["location" : "none"], float[8] b = ["location" : "none"], float[4] c = ["location" : "none"]'

# model NODES [OUTPUTS]: of x, y and z, all 4 x 8
model() {
  echo '<ir_version: 8, opset_import: ["" : 17, "actnn" : 1]>'
  echo "g (float[4,8] x, float[4,8] z) => (float[4,8] y$2)"
  echo "<$types, int64[2] rows = {4, 8}, int64[3] part = {1, 4, 8}, int64[2] square = {8, 8}>"
  echo "{ $1 }"
}
# after PASSES WHAT PATTERN COUNT NODES [OUTPUTS]
after() {
  model "$5" "$6" >model.onnxtxt
  "$actnnc" model.onnxtxt --run-pass="$1" >after.onnxtxt 2>&1
  code=$?
  if [ $code -eq 0 ] && [ "$(grep -c -F -e "$3" after.onnxtxt)" -eq "$4" ]; then ok "$2"; else not_ok "$2" after.onnxtxt; fi
}

# ---- sums
sums() {
  after specialize,simplify,accumulate "$@"
}
sums "a product that is added to what was there" 'y = actnn.ProductSum(x, z, w)' 1 'p = MatMul (z, w) y = Add (x, p)'
sums "in either order" 'y = actnn.ProductSum(x, z, w)' 1 'p = MatMul (z, w) y = Add (p, x)'
sums "with its bias and transpose" 'y = actnn.ProductSum<transB = 1>(x, z, w, b)' 1 'p = Gemm <transB = 1> (z, w, b) y = Add (x, p)'
sums "to what another product has made" 'y = actnn.ProductSum(p, z, w)' 1 'p = MatMul (x, w) q = MatMul (z, w) y = Add (p, q)'
sums "and the later of both, whatever their names" 'y = actnn.ProductSum(p, x, w)' 1 'q = MatMul (x, w) p = MatMul (z, w) y = Add (p, q)'
three='p = MatMul (x, w) q = MatMul (z, w) s = Add (p, q) n = Neg (z) r = MatMul (n, w) y = Add (s, r)'
sums "three products" 'actnn.ProductSum(' 2 "$three"
sums "of which no Add is left" 'Add(' 0 "$three"
sums "behind what shows it in another shape" 'y = Reshape' 1 \
  'u = Reshape (z, part) p = MatMul (u, w) v = Reshape (p, rows) y = Add (x, v)'
sums "which the sum is then shown in, too" 'actnn.ProductSum(v' 1 \
  'u = Reshape (z, part) p = MatMul (u, w) v = Reshape (p, rows) y = Add (x, v)'
sums "a gradient of a weight" 'actnn.ProductGradWeightSum(s, x, z)' 1 \
  's = MatMul (w, w) g = actnn.ProductGradWeight (x, z, square) t = Add (s, g) y = MatMul (x, t)'
sums "what comes later is no sum yet" 'ProductSum' 0 'p = MatMul (z, w) s = Relu (x) y = Add (p, s)'
sums "what others read as well" 'ProductSum' 0 'p = MatMul (z, w) s = Add (x, p) y = Mul (s, p)'
sums "an output" 'ProductSum' 0 'p = MatMul (z, w) y = Add (x, p)' ', float[4,8] p'
sums "what is added to itself" 'ProductSum' 0 'p = MatMul (z, w) y = Add (p, p)'
sums "a sum that is broadcast" 'ProductSum' 0 'p = MatMul (z, w) y = Add (p, b)'
sums "a product that is broadcast" 'ProductSum' 0 'p = MatMul (b, w) y = Add (x, p)'
sums "a difference" 'ProductSum' 0 'p = MatMul (z, w) y = Sub (x, p)'
sums "shown and read on the way" 'ProductSum' 0 \
  'u = Reshape (z, part) p = MatMul (u, w) v = Reshape (p, rows) s = Add (x, v) n = ReduceSum <keepdims = 0> (p) y = Mul (s, n)'
sums "a gradient of rows" 'y, k, l = actnn.LayerNormalizationGrad<axis = 1>(x, z, b, c, c, z)' 1 'p, k, l = actnn.LayerNormalizationGrad (x, z, b, c, c) y = Add (z, p)' ', float[8] k, float[8] l'
sums "in either order, without a mean" 'y, k = actnn.RMSNormalizationGrad<axis = 1>(x, z, b, c, z)' 1 'p, k = actnn.RMSNormalizationGrad (x, z, b, c) y = Add (p, z)' ', float[8] k'
sums "of normalized rows" 'y, k = actnn.NormalizedRowsGrad<axis = 1>(x, z, b, c, z)' 1 'p, k = actnn.NormalizedRowsGrad (x, z, b, c) y = Add (p, z)' ', float[8] k'
sums "two, of which one adds already" 'Add(' 1 'q, l = actnn.NormalizedRowsGrad (x, z, b, c) p, k = actnn.NormalizedRowsGrad (x, z, b, c, q) y = Add (p, z)' ', float[8] k, float[8] l'
sums "a gradient of scales" 'Add(' 2 'q, p = actnn.NormalizedRowsGrad (x, z, b, c) s = Add (p, b) y = Add (q, s)'
dropped='r = Constant <value_float = 0.25> () t = Constant <value = bool {1}> ()'
sums "what dropout leaves" 'y = actnn.DropoutSum<random_id = 1048576>(z, x, r, t)' 1 "$dropped p = Dropout <seed = 3> (x, r, t) y = Add (z, p)"
sums "but not where its mask is asked for" 'DropoutSum' 0 "$dropped p, m = Dropout (x, r, t) y = Add (z, p)" ', bool[4,8] m'

# ---- biases
biases() {
  after specialize,simplify,recognize "$@"
}
biases "a row that is added is a bias" 'y = actnn.Product(x, w, b)' 1 'p = MatMul (x, w) y = Add (p, b)'
biases "in either order" 'y = actnn.Product(x, w, b)' 1 'p = MatMul (x, w) y = Add (b, p)'
biases "of a transposed weight" 'y = actnn.Product<transB = 1>(x, w, b)' 1 't = Transpose <perm = [1, 0]> (w) p = MatMul (x, t) y = Add (p, b)'
biases "that is computed" 'y = actnn.Product(x, w, n)' 1 'n = Neg (b) p = MatMul (x, w) y = Add (p, n)'
biases "one is enough" 'y = Add(p, b)' 1 'p = Gemm (x, w, b) y = Add (p, b)'
biases "what others read stays" 'p = actnn.Product(x, w)' 1 'p = MatMul (x, w) s = Add (p, b) y = Mul (s, p)'
biases "an output stays" 'p = actnn.Product(x, w)' 1 'p = MatMul (x, w) y = Add (p, b)' ', float[4,8] p'
biases "a matrix is no row" 'y = Add(p, z)' 1 'p = MatMul (x, w) y = Add (p, z)'
biases "nor is what has one number for each row" 'y = Add(p, column)' 1 \
  'axis = Constant <value_ints = [1]> () column = Unsqueeze (c, axis) p = MatMul (x, w) y = Add (p, column)'

# ---- programs that no pass has made
# refused PASS WHAT MESSAGE NODES
refused() {
  types="$types, float[4,8] p" model "$4" >model.onnxtxt
  "$actnnc" model.onnxtxt --run-pass="$1" >output 2>messages
  code=$?
  if [ $code -eq 1 ] && grep -q -e "$3" messages; then ok "$2"; else not_ok "$2" messages; fi
}
for pass in accumulate recognize; do
  refused $pass "$pass: a product of nothing" "is missing" 'p = actnn.Product (x) y = Add (z, p)'
  refused $pass "$pass: a sum with nothing" "is missing" 'p = actnn.Product (x, w) y = Add (, p)'
  refused $pass "$pass: a sum of one" "is missing" 'p = actnn.Product (x, w) y = Add (p)'
done

finish
