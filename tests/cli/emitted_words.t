#!/bin/sh
# emitted_words.t: numbers, names and tables at their limits, in emitted source that compiles and computes what the model says.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# model FILE LINE...: as text
model() { file=$1; shift; printf '%s\n' '<ir_version: 8, opset_import: ["" : 17]'"$facts"'>' "$@" >"$file.onnxtxt"; }
facts=
# array FILE EXTENTS NUMBER...: a file of data
array() {
  perl -e 'my ($file, $shape, @numbers) = @ARGV; my $h = "{\x27descr\x27: \x27<f4\x27, \x27fortran_order\x27: False, \x27shape\x27: ($shape), }";
    $h .= " " x (117 - length $h) . "\n"; open my $f, ">", $file or die; binmode $f;
    print $f "\x93NUMPY\x01\x00", pack("v", length $h), $h, pack("f<*", @numbers)' "$@"
}
# loss NAME: of the first step
loss() {
  ./"$1" --data x=x.npy --steps 1 --shuffle no --quiet --log "$1.log" && sed -n 's/.*"loss":\([^,]*\),.*/\1/p' "$1.log" | head -n 1
}
array x.npy "2, 3" 1 2 3 4 5 6

# Every other number reads back exactly; the loss is the sum of all that the model makes of x and of w, which is 1.
ones='float[3] w = {1, 1, 1}'
model backward 'backward (float[N,3] x) => (float l)' "<$ones, int64[1] s = {-1}, int64[1] e = {-9223372036854775808}," \
  'int64[1] a = {1}, int64[1] t = {-1},' \
  ' float[3] k = {1, 10, 100}>' '{ r = Slice (x, s, e, a, t) m = Mul (r, k) y = Mul (m, w) l = ReduceSum <keepdims = 0> (y) }'
check "a slice to before the first: compiles" build_trainer backward backward.onnxtxt --batch=2 --loss=output
check "and reads backwards" [ "$(loss backward)" = 579 ]
facts=', metadata_props: ["actnn.constant" : "most big"]'
model infinite 'infinite (float[N,3] x) => (float l)' "<$ones, float[3] most = {inf, -inf, 2}, float big = {inf}>" \
  '{ a = Min (x, most) b = Max (a, x) c = Min (b, big) y = Mul (c, w) l = ReduceSum <keepdims = 0> (y) }'
check "infinite constants: compiles" build_trainer infinite infinite.onnxtxt --batch=2 --loss=output
check "as INFINITY and -INFINITY" grep -q 'REALS(INFINITY, -INFINITY, 2.0)' infinite.c
check "and computes with them" [ "$(loss infinite)" = 21 ]
facts=', metadata_props: ["actnn.text" : "2", "actnn.constant" : "v1"]'
many=$(awk 'BEGIN { for (i = 0; i < 1500; i++) printf "%s%d", i ? ", " : "", i % 3 }')
model unnamed 'unnamed (float[N,3] x) => (float l)' "<$ones, float[1500] v1 = {$many}>" \
  '{ o = ReduceMax <axes = [1]> (x) z = Mul (o, v1) s = ReduceMean <axes = [1]> (z) k = ReduceMean <keepdims = 0> (s)' \
  'm = Mul (x, k) y = Mul (m, w) l = ReduceSum <keepdims = 0> (y) }'
check "a large constant without a name: compiles" build_trainer unnamed unnamed.onnxtxt --batch=2 --loss=output
check "under a name of the translator's own" grep -q '"actnn.constant.[0-9]*", ACTNN_FIXED' unnamed.c
check "which its file has too" grep -q '"actnn.constant.[0-9]*":{"dtype":"F32","shape":\[1500\]' unnamed.safetensors
# the mean of 0, 1 and 2 is 1; of the rows' largest, 3 and 6, that is 4.5, times 21
check "and is read" [ "$(loss unnamed)" = 94.5 ]
"$actnnc" unnamed.onnxtxt --batch=2 --run-pass=specialize >left.onnxtxt
"$actnnc" left.onnxtxt --loss=output -o left.c >log 2>&1
check "numbers that a dump leaves out are missed" sh -c '[ ! -e left.c ] && grep -q "the numbers of the constant .* were left out" log'
facts=
model alone 'alone () => (float l)' "<$ones>" '{ y = Mul (w, w) l = ReduceSum <keepdims = 0> (y) }'
check "a model without inputs has a table of none" sh -c \
  '"$0" alone.onnxtxt --loss=output -o alone.c && grep -A1 "^static const actnn_input inputs" alone.c | grep -q "NONE, \"\""' "$actnnc"
model point 'point (float x) => (float l)' "<float w = {1}>" '{ l = Mul (x, w) }'
check "a model of one number a step: compiles" build_trainer point point.onnxtxt --loss=output
model absent 'absent (float[N,3] x) => (float l)' "<$ones, int64[2] n = {1, 2}, float[2] v = {1, 1}>" \
  '{ , b = Split <axis = 1> (x, n) y = Mul (b, v) l = ReduceSum <keepdims = 0> (y) }'
check "a result that nobody asked for: compiles" build_trainer absent absent.onnxtxt --batch=2 --loss=output
check "the others are right" [ "$(loss absent)" = 16 ]
mkdir 'r*?'
check "a command line of any characters: compiles" build_trainer words point.onnxtxt --loss=output '--report=r*?/ä\\.json'
finish
