#!/bin/sh
# older.t: what older operator sets wrote in other ways means what the present ones say: the same loss, bit for bit, and the same weights
# after a step.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/block.sh"

# model OPSET BODY [INITIALIZERS]: BODY makes e [N,3,4] of h [N,3,4]; p is a parameter [4], s, b, m and v are a normalization's [3]
model() {
  printf '<ir_version: 8, opset_import: ["" : %s]>\nnet (float[N,3,4] x) => (float[N,5] logits)\n<\n' "$1"
  weights w 4 4; weights head 12 5; vector p 4 0.7
  vector s 3 0.9; vector b 3 -0.2; vector m 3 0; vector v 3 1
  printf '%s\n   int64[2] rows = {0, 12}\n>\n{\n   h = MatMul (x, w)\n   %s\n   r = Reshape (e, rows)\n   logits = MatMul (r, head)\n}\n' "$3" "$2"
}

# number LOG: the loss
number() { sed -n 's/.*"step":1,.*"loss":\([^,]*\),.*/\1/p' "$1"; }

# same NAME OLD-OPSET BODY INITIALIZERS OPSET BODY INITIALIZERS
same() {
  name=$1
  model "$2" "$3" "$4" >old.onnxtxt
  model "$5" "$6" "$7" >new.onnxtxt
  for which in old new; do
    { build_trainer $which $which.onnxtxt --batch=4 --loss=softmax-cross-entropy --level=L0 &&
      ./$which --data x=data/x.npy --data labels=data/labels.npy --steps 1 --seed 1 --threads 1 --quiet --log $which.json \
        --checkpoint $which.after.safetensors; } >log 2>&1 || { not_ok "$name: $which one runs" log; return; }
  done
  tail -c 400 old.after.safetensors >old.tail
  tail -c 400 new.after.safetensors >new.tail
  check "$name, as of $2 and of $5: loss $(number old.json)" test "$(number old.json)" -a "$(number old.json)" = "$(number new.json)"
  check "$name: and weights after a step" cmp old.tail new.tail
}

model 17 'e = Identity (h)' '' >net.onnxtxt
mkdir data && "$oracle" inputs net.onnxtxt 4 3 data >log 2>&1 || { not_ok "inputs" log; finish; exit 1; }

same "softmax over all axes from one on" 11 'e = Softmax <axis = 1> (h)' '' \
  17 'a = Reshape (h, flat) c = Softmax <axis = 1> (a) e = Reshape (c, back)' '   int64[2] flat = {0, 12}, int64[3] back = {0, 3, 4},'
same "log of softmax, axis one by default" 11 'e = LogSoftmax (h)' '' \
  17 'a = Reshape (h, flat) c = LogSoftmax <axis = 1> (a) e = Reshape (c, back)' '   int64[2] flat = {0, 12}, int64[3] back = {0, 3, 4},'
same "a product by a vector" 13 'a = MatMul (h, p) c = Unsqueeze (a, last) e = Add (h, c)' '   int64[1] last = {2},' \
  17 'k = Unsqueeze (p, last1) c = MatMul (h, k) e = Add (h, c)' '   int64[1] last1 = {1},'
same "a vector by a product" 13 't = Transpose <perm = [0, 2, 1]> (h) a = MatMul (p, t) c = Unsqueeze (a, last) e = Add (h, c)' '   int64[1] last = {2},' \
  17 't = Transpose <perm = [0, 2, 1]> (h) k = Unsqueeze (p, first) a = MatMul (k, t) c = Transpose <perm = [0, 2, 1]> (a) e = Add (h, c)' \
  '   int64[1] first = {0},'
same "a power of another type" 13 'e = Pow (h, two)' '   int64 two = {2},' 17 'two = Constant <value_float = 2.0> () e = Pow (h, two)' ''
same "a normalization that names its statistics" 9 'e, m1, v1, m2, v2 = BatchNormalization (h, s, b, m, v)' '' \
  17 'e, m1, v1 = BatchNormalization <training_mode = 1> (h, s, b, m, v)' ''
same "limits as attributes" 7 'e = Clip <min = -0.5, max = 0.25> (h)' '' \
  13 'low = Constant <value_float = -0.5> () high = Constant <value_float = 0.25> () e = Clip (h, low, high)' ''
same "axes of a sum as attributes" 11 'a = ReduceSum <axes = [1], keepdims = 1> (h) e = Add (a, h)' '' \
  13 'a = ReduceSum <keepdims = 1> (h, axes) e = Add (a, h)' '   int64[1] axes = {1},'
same "axes of squeezing as attributes" 11 'a = Unsqueeze <axes = [1]> (h) e = Squeeze <axes = [1]> (a)' '' \
  13 'a = Unsqueeze (h, axes) e = Squeeze (a, axes)' '   int64[1] axes = {1},'
same "a slice by attributes" 9 'a = Slice <axes = [2], starts = [1], ends = [3]> (h) e = Concat <axis = 2> (a, a)' '' \
  13 'a = Slice (h, from, to, axes) e = Concat <axis = 2> (a, a)' '   int64[1] from = {1}, int64[1] to = {3}, int64[1] axes = {2},'
same "padding by attributes" 10 'a = Pad <pads = [0, 0, 1, 0, 0, 0]> (h) e = Slice (a, zero, four, axes)' \
  '   int64[1] zero = {0}, int64[1] four = {4}, int64[1] axes = {2},' \
  13 'a = Pad (h, pads) e = Slice (a, zero, four, axes)' '   int64[6] pads = {0, 0, 1, 0, 0, 0}, int64[1] zero = {0}, int64[1] four = {4}, int64[1] axes = {2},'
same "parts by attributes" 11 'a, c = Split <axis = 2, split = [1, 3]> (h) e = Concat <axis = 2> (c, a)' '' \
  13 'a, c = Split <axis = 2> (h, parts) e = Concat <axis = 2> (c, a)' '   int64[2] parts = {1, 3},'
finish
