# block.sh: a transformer block of 16 positions and 16 features, written by tests that source this.
#   write_block [where|add|windows]   prints the model; under a causal mask, which selects scores or is added to them, or under two that are
#                                     trained: one for each head, and one for each of two windows that samples are parts of

# weights NAME ROWS COLUMNS: an initializer with fixed pseudo-random numbers
weights() {
  awk -v name="$1" -v rows="$2" -v columns="$3" 'BEGIN {
    srand(length(name) * 131 + rows * 7 + columns)
    printf "   float[%d,%d] %s = {", rows, columns, name
    for (i = 0; i < rows * columns; i++) printf "%s%.4f", i ? ", " : "", (rand() - 0.5) * 3.4 / sqrt(rows)
    print "},"
  }'
}

# vector NAME COUNT VALUE
vector() {
  awk -v name="$1" -v count="$2" -v value="$3" 'BEGIN {
    printf "   float[%d] %s = {", count, name
    for (i = 0; i < count; i++) printf "%s%.3f", i ? ", " : "", value + i % 3 * 0.1
    print "},"
  }'
}

# mask KIND: a constant, true up to the diagonal, or 0 there and -10000 beyond
mask() {
  awk -v kind="$1" 'BEGIN {
    printf "   mask = Constant <value = %s[16,16] {", kind == "add" ? "float" : "bool"
    for (i = 0; i < 256; i++) {
      shown = int(i / 16) >= i % 16
      printf "%s%s", i ? ", " : "", kind == "add" ? (shown ? "0" : "-10000") : shown + 0
    }
    print "}> ()"
  }'
}

# trained NAME EXTENT...: an initializer with fixed numbers
trained() {
  awk 'BEGIN {
    count = 1
    for (i = 2; i < ARGC; i++) { count *= ARGV[i]; shape = shape (i > 2 ? "," : "") ARGV[i] }
    printf "   float[%s] %s = {", shape, ARGV[1]
    for (i = 0; i < count; i++) printf "%s%.4f", i ? ", " : "", sin(i * 1.7)
    print "},"
  }' "$@"
}

write_block() {
  printf '<ir_version: 8, opset_import: ["" : 23]>\nblock (float[N,16,16] x) => (float[N,4] logits)\n<\n'
  vector scale1 16 0.9; vector bias1 16 -0.1; vector scale2 16 0.9
  weights wq 16 16; weights wwk 16 16; weights wwwv 16 16; weights wwwwo 16 16; weights up 16 32; weights down 32 16; weights head 16 4
  [ "$1" != windows ] || { trained bias 2 16 16; trained window 2 1 16 16; printf '   int64[5] five = {-1, 2, 2, 16, 16},\n   int64[4] four = {-1, 2, 16, 16},\n'; }
  cat <<'END'
   int64[4] heads = {0, 16, 2, 8},
   int64[3] rows = {0, 16, 16},
   int64[1] axis = {1}
>
{
   root = Constant <value_float = 0.35355339> ()
   ratio = Constant <value_float = 0.25> ()
   training = Constant <value = bool {1}> ()
   sqrt2 = Constant <value_float = 1.4142135> ()
   one = Constant <value_float = 1.0> ()
   low = Constant <value_float = -1e9> ()
   half = Constant <value_float = 0.5> ()
   [n1] n1 = LayerNormalization <axis = -1> (x, scale1, bias1)
   q0 = MatMul (n1, wq)
   k0 = MatMul (n1, wwk)
   v0 = MatMul (n1, wwwv)
   q1 = Reshape (q0, heads)
   k1 = Reshape (k0, heads)
   v1 = Reshape (v0, heads)
   q = Transpose <perm = [0, 2, 1, 3]> (q1)
   k = Transpose <perm = [0, 2, 3, 1]> (k1)
   v = Transpose <perm = [0, 2, 1, 3]> (v1)
   qk = MatMul (q, k)
   scores = Mul (qk, root)
END
  case $1 in where | add) mask "$1" ;; esac
  case $1 in
    where) echo '   seen = Where (mask, scores, low)' ;;
    add) echo '   seen = Add (mask, scores)' ;;
    windows) printf '   moved = Add (scores, bias)\n   view = Reshape (moved, five)\n   masked = Add (view, window)\n   seen = Reshape (masked, four)\n' ;;
    *) echo '   seen = Identity (scores)' ;;
  esac
  cat <<'END'
   p = Softmax <axis = -1> (seen)
   d = Dropout (p, ratio, training)
   o = MatMul (d, v)
   o1 = Transpose <perm = [0, 2, 1, 3]> (o)
   o2 = Reshape (o1, rows)
   mixed = MatMul (o2, wwwwo)
   sum = Add (x, mixed)
   n2 = RMSNormalization <axis = -1> (sum, scale2)
   u = MatMul (n2, up)
   g1 = Div (u, sqrt2)
   g2 = Erf (g1)
   g3 = Add (g2, one)
   g4 = Mul (u, g3)
   [g] g = Mul (g4, half)
   f = MatMul (g, down)
   s = Add (sum, f)
   m = ReduceMean <keepdims = 0> (s, axis)
   logits = MatMul (m, head)
}
END
}
