#!/bin/sh
# near_rows.t: which rows a coder makes itself, where it then stands, and what is nearly so and stays as it is.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/passes/near.sh"
options="--batch=4 --loss=softmax-cross-entropy"

cat >rows.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 23]>
net (float[N,16,32] x) => (float[N,8] logits)
<float[32,32] w1 = ["location" : "none"], float[32] s1 = ["location" : "none"], float[32] b1 = ["location" : "none"],
 float[32,32] w2 = ["location" : "none"], float[32] s2 = ["location" : "none"], float[32,8] w3 = ["location" : "none"]>
{
  [fc1] h1 = MatMul (x, w1)
  [norm1] n1 = LayerNormalization <axis = 2> (h1, s1, b1)
  [fc2] h2 = MatMul (n1, w2)
  [norm2] n2 = RMSNormalization <axis = 2> (h2, s2)
  [fc3] h3 = MatMul (n2, w3)
  [mean] logits = ReduceMean <axes = [1], keepdims = 0> (h3)
}
END

# v8 is the first normalization's row, of h1, v6 and v7; v11 the second's, of h2 and v10; v9 and v12 are their codes.
# shellcheck disable=SC2086
before rows.onnxtxt code-where-made $options
both() { changed "$1" "$2" 'steps = "y0=' 2; }
second() { changed "$1" "$2" 'steps = "y0=Mul(x0,x1)"' 1; only_one; }
first() { changed "$1" "$2" 'steps = "y0=Standardize(x0,x1,x2)"' 1; only_one; }
only_one() { check "and no other" test "$(grep -c 'steps = ' after.onnxtxt)" -eq 1; }

both "the rows of both normalizations" ''
changed "made of what the row read" '' 'Standardize(x0,x1,x2)", origin = "n1">(h1, v6, v7)' 1
changed "with one number a row" '' 'Mul(x0,x1)", origin = "n2">(h2, v9)' 1
changed "and nobody makes them besides" '' 'v[0-9]* = \(actnn.Standardize\|Mul\)<' 0
changed "whose values the table of saves names no more" '' "'' v8 even" 1
check "twice is as good as once" sh -c '"$1" after.onnxtxt --run-pass=code-where-made >again.onnxtxt && cmp after.onnxtxt again.onnxtxt' - "$actnnc"
both "a coder that stands further down" 's/(  \[norm1\] v9 = .*\n)(  \[fc2\] h2 = .*\n)/$2$1/'
check "moves to where the row stood" sh -c 'sed -n "/LayerNormalization/{n;p;}" after.onnxtxt | grep -q QuantizeOnSave'
both "levels over a fixed range" 's/(v8 v9) even dither plain 0 0/$1 fixed dither plain -4 4/'
second "levels from zero on" 's/(v8 v9) even/$1 masked/'
second "squares" 's/(v8 v9) even dither/$1 square stochastic/'
second "a value with a name" 's/\bv8\b/own/g'
second "a row that another node reads" 's/actnn.Product\(n1, w2\)/actnn.Product(v8, w2)/'
second "another row" 's/actnn.Standardize<(.*?)>\(h1, v6, v7\)/Sub<$1>(h1, v6)/'
second "a slope, which shares work with its function" 's/actnn.Standardize<(.*?)>\(h1, v6, v7\)/actnn.SigmoidSlope<$1>(h1)/'
second "a mean that is the reciprocal deviation as well" 's/\(h1, v6, v7\)/(h1, v7, v7)/'
first "a factor for each feature" 's/\(h2, v10\)/(h2, s2)/'
first "a factor for each element" 's/\(h2, v10\)/(h2, h1)/'
first "a factor that does not depend on the row" 's/(Mul<origin = "n2">)\(h2, v10\)/$1(v10, h2)/'
second "a coder of no save" 's/QuantizeOnSave<save = 0/QuantizeOnSave<save = 9/'

# shellcheck disable=SC2086
before rows.onnxtxt code-where-made $options --precision=bf16
both "rows held as bfloat16" ''
# shellcheck disable=SC2086
before rows.onnxtxt code-where-made $options --bits=32
changed "nothing is coded" '' 'steps = ' 0

finish
