#!/bin/sh
# near_layers.t: of convolutional layers, what is nearly a normalization with its rectifier, or nearly a mask, is left as it is.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/passes/near.sh"
options="--batch=4 --loss=softmax-cross-entropy"

# net NODE...: two convolutions, a normalization behind the first, and what stands between n1, its result, and r1
net() {
  cat <<'END'
<ir_version: 8, opset_import: ["" : 17]>
net (float[N,3,16,16] image) => (float[N,16] logits)
<float[16,3,3,3] w1 = ["location" : "none"], float[16] s1 = ["location" : "none"], float[16] b1 = ["location" : "none"],
 float[16] m1 = ["location" : "none"], float[16] v1 = ["location" : "none"], float[16,16,3,3] w2 = ["location" : "none"]>
{
  [conv1] c1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (image, w1)
  [norm1] n1, rm, rv = BatchNormalization <training_mode = 1> (c1, s1, b1, m1, v1)
END
  printf '  %s\n' "$@"
  cat <<'END'
  [conv2] c2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r1, w2)
  [head] h2 = Relu (c2)
  [pool] p2 = GlobalAveragePool (h2)
  [flat] logits = Flatten (p2)
}
END
}
net '[relu1] r1 = Relu (n1)' >relu.onnxtxt
net '[clip1] r1 = Clip <min = 0.0, max = 6.0> (n1)' >clip.onnxtxt
# plain NAME: an edit that takes a value out of those in blocks
plain() { printf '%s' 's/("actnn.blocked" : "[^"]*?)\b'"$1"'\b/$1/;'; }

# ---- one save for a normalization, its rectifier and the next layer; v9 is the rectifier's mask, v32 the gradient that it selects of v30
# shellcheck disable=SC2086
before relu.onnxtxt save-normalized $options
changed "a normalization and its rectifier" '' 'NormalizeOnSave<save = 0, rectified = 1' 1
alone() { changed "$1" "$2" 'NormalizeOnSave<save = 0, rectified = 0' 1; }
exact() { changed "$1" "$2" 'NormalizeOnSave<' 0; }
alone "a normalized value that is an output" 's/float\[4,16\] logits\)\n/float[4,16] logits, float[4,16,16,16] n1)\n/'
alone "a normalized value that is the prediction" 's/("actnn.prediction" : ")logits/$1n1/'
alone "a normalized value that is the loss" 's/("actnn.loss" : ")v12/$1n1/'
alone "a sum in place of the rectifier" 's/r1 = Relu\(n1\)/r1 = Add(n1, n1)/'
alone "another function in place of the rectifier" 's/r1 = Relu\(n1\)/r1 = Abs(n1)/'
alone "another test than whether it is positive" 's/Positive<origin = "r1">\(r1\)/Inside<origin = "r1">(r1)/'
alone "a test of another value" 's/Positive<origin = "r1">\(r1\)/Positive<origin = "r1">(c1)/'
alone "a mask that selects another gradient too" 's/\(v10, v28\)/(v9, v28)/'
alone "a mask that comes from outside" 's/net \(/$&bool[4,16,16,16] given, /; s/\(v9, v30\)/(given, v30)/'
alone "a gradient that is not selected" 's/v32 = Select<(.*?)\(v9, v30\)/v32 = Neg<$1(v30)/'
alone "a selected gradient that something else reads" \
  "$(declare 'float[4,16,16,16]' extra)"' s/\n  \[norm1\] v33/\n  extra = Neg<phase = "backward">(v32)$&/'
alone "a rectifier that is not in blocks" "$(plain r1)"
exact "a normalization that is not in blocks" "$(plain n1)"
exact "a gradient that is not in blocks" "$(plain v32)"
exact "a rectifier's gradient that is not in blocks" "$(plain v30)"
exact "a gradient by another mean" 's/\(v32, c1, s1, v7, v8\)/(v32, c1, s1, v8, v8)/'
exact "a gradient by another deviation" 's/\(v32, c1, s1, v7, v8\)/(v32, c1, s1, v7, v7)/'
# shellcheck disable=SC2086
before clip.onnxtxt save-normalized $options
changed "a normalization and a capped rectifier" '' 'NormalizeOnSave<save = 0, rectified = 1, cap = 6.0' 1
alone "a test that is none of its range" 's/Inside<min = 0.0, max = 6.0, /Positive</'
alone "another function of the range" 's/r1 = Clip<min = 0.0, max = 6.0>/r1 = Elu/'
alone "a range from elsewhere" 's/(r1 = Clip<min = )0.0/${1}1.0/'
alone "a test of a range from elsewhere" 's/(v9 = Inside<min = )0.0/${1}1.0/'
alone "a test of a shorter range" 's/(v9 = Inside<min = 0.0, max = )6.0/${1}5.0/'
alone "a cap below zero" 's/(v9 = Inside<min = 0.0, max = |r1 = Clip<min = 0.0, max = )6.0/$1-6.0/g'
alone "a cap that is no float" 's/(v9 = Inside<min = 0.0, max = |r1 = Clip<min = 0.0, max = )6.0/${1}6.1000000000000001/g'
# shellcheck disable=SC2086
before relu.onnxtxt save-normalized $options --freeze='[sb]1'
changed "a scale and a bias that are not trained" '' 'NormalGradScale<save = 0, rectified = 1' 1
check "stay as they are" sh -c '! grep -q "= actnn.Sgd<.*(\(s1\|b1\)," after.onnxtxt'

# ---- a rectifier's mask without bytes in between; v10 is the mask, v11 its bits, v30 the mask again
# shellcheck disable=SC2086
before relu.onnxtxt fuse $options --level=L0
changed "two masks" '' 'PackPositive' 2
one() { changed "$1" "$2" 'PackPositive' 1; }
one "a mask from outside" 's/net \(/$&bool[4,16,16,16] given, /; s/(\n  \[head\] v\d+ = actnn.PackBits<.*?>)\(v\d+\)/$1(given)/'
one "a mask of no rectifier" 's/(\n  \[head\] v\d+ = )Positive/$1Not/'
one "a mask that something else reads" \
  "$(declare 'bool[4,16,16,16]' extra)"' s/\n  \[head\] v\d+ = actnn.PackBits<.*?>\((v\d+)\)/$&\n  extra = Not($1)/'
one "bits that are not unpacked" 's/(\n  \[head\] v\d+ = )actnn.UnpackBits<.*?phase/$1actnn.DequantizeOnBackward<save = 0, phase/'
one "a mask that selects twice" \
  "$(declare 'float[4,16,16,16]' extra)"' s/\n  \[head\] v\d+ = Select<.*?\((v\d+), (v\d+)\)/\n  extra = Select<phase = "backward">($1, $2)$&/'
one "a mask that does not select" 's/(\n  \[head\] v\d+ = )Select(<.*?\()(v\d+), v\d+\)/$1Not$2$3)/'
one "a mask that is selected from" 's/net \(/$&bool[4,16,16,16] given, /; s/(\n  \[head\] v\d+ = Select<.*?\()(v\d+), v\d+\)/$1given, $2)/'
one "a gradient that is not in blocks" 'my ($gradient) = /\n  \[head\] v\d+ = Select<.*?\(v\d+, (v\d+)\)/; '"$(plain '$gradient')"
one "a gradient of another shape" \
  'my ($gradient) = /\n  \[head\] v\d+ = Select<.*?\(v\d+, (v\d+)\)/; s/float\[4,16,16,16\] $gradient\b/float[4,16,1,1] $gradient/'
one "a rectifier that is not in blocks" "$(plain h2)"
one "integers that are rectified" 's/float\[4,16,16,16\] h2,/int64[4,16,16,16] h2,/'

# ---- bits of masks and positions
# shellcheck disable=SC2086
before relu.onnxtxt encode-exact $options --level=L0
changed "two masks of a bit each" '' 'PackBits<bits = 1,' 2
changed "bytes that are no positions take eight" \
  's/bool\[4,16,16,16\] v9,/uint8[4,16,16,16] v9,/; s/v9 = Positive</v9 = Cast<to = 2, /' 'PackBits<bits = 8,' 1
changed "who reads a mask twice unpacks it once" 's/\(v9, v30\)/(v9, v9)/' 'UnpackBits<' 2
net '[relu1] r1 = MaxPool <kernel_shape = [1, 1]> (n1)' >pool.onnxtxt
# shellcheck disable=SC2086
before pool.onnxtxt encode-exact $options
changed "a position among one takes a bit" '' '= actnn.PackBits<bits = 1, origin = "r1">' 1

# ---- how levels lie
# levels WHAT VALUE PATTERN MODEL [OPTION]...: how a value of the model is coded, as --explain-saves tells it
levels() {
  what=$1 value=$2 pattern=$3 model=$4
  shift 4
  # shellcheck disable=SC2086
  "$actnnc" "$model" $options --explain-saves "$@" >explained 2>&1
  if grep -q "^$value  *$pattern " explained; then ok "levels of $what"; else not_ok "levels of $what" explained; fi
}
net '[clip1] r1 = Clip <min = 0.0> (c1)' >clip.onnxtxt
levels "what is clipped from zero" r1 masked/dither clip.onnxtxt
net '[clip1] r1 = Clip <min = -1.0> (c1)' >clip.onnxtxt
levels "what is clipped from elsewhere" r1 even/dither clip.onnxtxt
# far COUNT: a rectifier, and so many views of its result
far() {
  # shellcheck disable=SC2046
  net 'q0 = Relu (c1)' \
    $(awk -v count="$1" 'BEGIN { for (i = 0; i < count; i++) print "q" i + 1 "=Reshape(q" i "," (i % 2 ? "images" : "rows") ")" }') \
    "r1 = Identity (q$1)" | sed 's/^{/<int64[4] rows = {4, 16, 256, 1}, int64[4] images = {4, 16, 16, 16}>\n{/' |
    sed 's/\(w2 = \["location" : "none"\]\)>$/\1/' |
    awk '/^ float.*w2 = /{ printf "%s", $0; next } /^<int64/ { sub(/^</, ",\n "); print; next } { print }'
}
far 2 >near.onnxtxt
far 8 >far.onnxtxt
levels "what a rectifier made" q2 masked/dither near.onnxtxt
levels "what a rectifier made long ago" q8 even/dither far.onnxtxt
net '[norm2] q1 = Relu (n1)' '[pool1] r1 = MaxPool <kernel_shape = [1, 1]> (q1)' >pool.onnxtxt
levels "the largest of what a rectifier made" r1 masked/dither pool.onnxtxt
levels "the largest, whose positions nobody reads" r1 masked/dither pool.onnxtxt --freeze=w1 --freeze='[sb]1'

# rows NODE...: e is made of x, and what it is multiplied by is trained
rows() {
  echo '<ir_version: 8, opset_import: ["" : 17]>'
  echo 'net (float[N,1024] x, float[N,4,1024] scores, int64[N,1024] classes) => (float[N,8] logits)'
  echo '<float[1024,8] w = ["location" : "none"], float[1024,1024] w0 = ["location" : "none"]>'
  echo '{'
  printf '  %s\n' "$@"
  echo '  logits = MatMul (e, w)'
  echo '}'
}
rows 'e = Exp (x)' >exp.onnxtxt
levels "powers of what comes from outside" e even/dither exp.onnxtxt
rows 'y = MatMul (x, w0)' 'l = LogSoftmax <axis = -1> (y)' 'e = Exp (l)' >exp.onnxtxt
levels "probabilities by way of their logarithms" e square/stochastic exp.onnxtxt
rows 'l = SoftmaxCrossEntropyLoss <reduction = "none"> (scores, classes)' 'e = Exp (l)' >exp.onnxtxt
levels "powers of a loss" e even/dither exp.onnxtxt
rows 'l, p = SoftmaxCrossEntropyLoss <reduction = "none"> (scores, classes)' 'q = Exp (p)' 'e = ReduceMax <axes = [1], keepdims = 0> (q)' >exp.onnxtxt
levels "the largest of probabilities" e even/dither exp.onnxtxt

# A mask in the code of a rectifier's result needs no bits of its own.
net '[relu1] r1 = Relu (c1)' >alone.onnxtxt
# shellcheck disable=SC2086
before alone.onnxtxt quantize $options
changed "a rectifier's mask is in its code" '' 'SelectCoded<' 1
changed "bits of another mask stay" 's/(\n  \[relu1\] v\d+ = actnn.)PackPositive(.*?)\(r1\)/$1PackBits<bits = 1, origin = "r1">(r1)/' 'SelectCoded<' 0

# A slope is decoded where the gradient is multiplied by it, and nowhere else.
net '[gelu1] r1 = Gelu (c1)' >gelu.onnxtxt
# shellcheck disable=SC2086
before gelu.onnxtxt quantize $options
multiplied() { changed "$1" "$2" 'MultiplyCoded<' "$3"; }
multiplied "a gradient times a coded slope" '' 1
multiplied "the slope may come first" 's/(Mul<phase = "backward", origin = "r1">\()(\w+), (\w+)/$1$3, $2/' 1
multiplied "a sum with it" 's/Mul(<phase = "backward", origin = "r1">)/Add$1/' 0
multiplied "the slope times itself" 's/(Mul<phase = "backward", origin = "r1">\()(\w+), (\w+)/$1$3, $3/' 0

# ActNN's own scheme: what a normalization reads too keeps its share.
net '[same1] r1 = Abs (c1)' | sed 's/Relu (c2)/Add (c2, n1)/; s/Conv \(.*\)(r1, w2)/Conv \1(c1, w2)/' >two.onnxtxt
# shellcheck disable=SC2086
"$actnnc" two.onnxtxt $options --scheme=actnn --dump-after=quantize >two.dump 2>&1
check "ActNN's scheme adapts no value that a normalization reads" grep -q 'c1 v[0-9]* even stochastic plain 0.* fixed' two.dump
finish
