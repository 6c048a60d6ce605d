#!/bin/sh
# sums.t: products that add to what is there. Gradients are the double-precision evaluator's, on the processor and on the stand-in for a GPU; what
# is computed again is what forward computed; the arena is as planned.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/same.sh"

# Two residual connections, the second of which a Gemm in another shape makes, weights that are used twice, a batch of products, and one that is added to
# its own factor.
perl -e 'srand 3; my $draw = sub { my ($count) = @_; "{" . join(", ", map { sprintf "%.4f", (rand() - 0.5) * 0.7 } 1 .. $count) . "}" };
  my %dims = (a => "16,16", b => "16", c => "16,16", e => "16", f => "16,16", d => "16,5");
  print "<ir_version: 8, opset_import: [\"\" : 17]>\nresidual (float[N,6,16] x) => (float[N,5] y)\n<int64[2] rows = {-1, 16}, int64[3] three = {-1, 6, 16}";
  for my $name (sort keys %dims) { my $count = 1; $count *= $_ for split /,/, $dims{$name}; print ",\nfloat[$dims{$name}] $name = ", $draw->($count) }
  print ">\n"' >residual.onnxtxt
cat >>residual.onnxtxt <<'END'
{ p = MatMul (x, a)
  q = Add (p, b)
  h = Tanh (q)
  r = MatMul (h, c)
  s = Add (r, x)
  k = Softplus (s)
  flat = Reshape (k, rows)
  t = Gemm <transB = 1> (flat, c, e)
  u = Reshape (t, three)
  v = Add (s, u)
  m = MatMul (v, f)
  n = Transpose <perm = [0, 2, 1]> (v)
  o = MatMul (v, n)
  w = MatMul (o, m)
  i = MatMul (w, f)
  j = Add (w, i)
  z = Tanh (j)
  l = ReduceMean <axes = [1], keepdims = 0> (z)
  y = MatMul (l, d) }
END

# adds NAME COUNT COUNT: so many products of each kind add to something
adds() {
  [ "$(grep -c 'RUN(actnn_ProductSum,' "$1.c")" -eq "$2" ] && [ "$(grep -c 'RUN(actnn_ProductGradWeightSum,' "$1.c")" -eq "$3" ]
}

# gradients NAME
gradients() {
  # shellcheck disable=SC2086
  ./"$1" $data --steps 1 --lr 0.02 --checkpoint weights.safetensors --quiet >log 2>&1 &&
    ./"$1" $data --weights weights.safetensors --dump-gradients gradients.safetensors --quiet >>log 2>&1 &&
    LOSS=softmax-cross-entropy "$oracle" compare residual.onnxtxt 8 data weights.safetensors gradients.safetensors 1e-4
}

planned() {
  ./"$1" --memory | sed -n 's/.*"arena_bytes": *\([0-9]*\).*"planned_arena_bytes": *\([0-9]*\).*/\1 \2/p' | awk '{ exit !(NR == 1 && $1 > 0 && $1 == $2) }'
}

options="--batch=8 --loss=softmax-cross-entropy --level=L0 --verify-each"
random_data residual.onnxtxt x 8
# shellcheck disable=SC2086
check "compiles" build_trainer plain residual.onnxtxt $options
check "adds" adds plain 8 3
check "gradients" gradients plain
check "its arena is as planned" planned plain
# shellcheck disable=SC2086
check "computed again: compiles" build_trainer again residual.onnxtxt $options --recompute=always
check "computed again: gradients" gradients again
check "both train" eval 'train plain once && train again twice'
check "and do the same" same_training once twice
if [ -f "$top_builddir/tests/cuda/libactnn-cuda.so" ]; then
  device=actnn-cuda
  for precision in fp32 bf16; do
    # shellcheck disable=SC2086
    check "$precision on a GPU: compiles" build_trainer $precision residual.onnxtxt $options --target=cuda --precision=$precision
    sums=8
    [ $precision = fp32 ] || sums=6 # what x is added to is held otherwise than x
    check "$precision on a GPU: adds" adds $precision $sums 3
    check "$precision on a GPU: its arena is as planned" planned $precision
  done
  check "on a GPU: gradients" gradients fp32
  check "on a GPU: trains" train bf16 narrow
else
  skip "on a GPU" "no C++ compiler made the stand-in for one"
fi
finish
