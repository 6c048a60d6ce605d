#!/bin/sh
# join_pointwise.t: which elementwise nodes become one, what of them stays a result, and what keeps nodes apart.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# joined: the program on standard input after the pass; calls of joined nodes in the file calls, one a line
joined() {
  { echo '<ir_version: 8, opset_import: ["" : 17, "actnn" : 1]>'; cat; } >given.onnxtxt
  "$actnnc" given.onnxtxt --run-pass=specialize,join-pointwise >after.onnxtxt 2>log || return 1
  tr '\n' ' ' <after.onnxtxt | grep -o '[a-z][a-z0-9]*\(, [a-z][a-z0-9]*\)* = actnn.Pointwise *<[^>]*> *([^)]*)' |
    sed 's/ *= actnn.Pointwise.*steps = "\([^"]*\)".*(\([^)]*\))$/: \1 of \2/' >calls
  cat calls
}
# makes WHAT CALL...: those joined nodes and no others come of the program on standard input
makes() {
  what=$1
  shift
  joined >output || not_ok "$what: a program" log
  printf '%s\n' "$@" >wanted
  [ $# -gt 0 ] || : >wanted
  check "$what" diff wanted calls
}

makes "a sum and its rectifier" 'y: t0=Add(x0,x1);y0=Relu(t0) of a, b' <<'END'
g (float[2,8] a, float[2,8] b) => (float[2,8] y) { s = Add (a, b) y = Relu (s) }
END
makes "a chain is one node" 'y: t0=Mul(x0,x1);t1=Add(t0,x2);t2=Sigmoid(t1);y0=Mul(t2,x0) of a, b, c' <<'END'
g (float[2,8] a, float[2,8] b, float[8] c) => (float[2,8] y) { p = Mul (a, b) q = Add (p, c) r = Sigmoid (q) y = Mul (r, a) }
END
makes "what others read stays a result" 's, y: y0=Add(x0,x1);y1=Relu(y0) of a, b' <<'END'
g (float[2,8] a, float[2,8] b) => (float[2,8] y, float[8,2] z) { s = Add (a, b) y = Relu (s) z = Transpose (s) }
END
makes "attributes are written out" 'y: t0=LeakyRelu(x0,0.25);t1=Elu(t0,1.0);t2=Gelu(t1,tanh);y0=IsInf(t2,1,0) of a' <<'END'
g (float[2,8] a) => (bool[2,8] y) {
  s = LeakyRelu <alpha = 0.25> (a) t = Elu (s) u = actnn.Gelu <approximate = "tanh"> (t) y = IsInf <detect_positive = 0> (u)
}
END
makes "masks are read and made" 'y: t0=Greater(x0,x1);y0=Where(t0,x0,x2) of a, b, c' <<'END'
g (float[2,8] a, float[2,8] b, float[8] c) => (float[2,8] y) { m = Greater (a, b) y = Where (m, a, c) }
END
makes "what reads the same operand comes along" 's, y: t0=Add(x0,x1);y0=Tanh(t0);y1=Sigmoid(t0) of a, b' <<'END'
g (float[2,8] a, float[2,8] b) => (float[2,8] s, float[2,8] y) { q = Add (a, b) s = Tanh (q) y = Sigmoid (q) }
END
makes "what is read further down comes up, where it takes no memory" 's, y: t0=Add(x0,x1);y0=Tanh(t0);y1=Sigmoid(t0) of a, b' <<'END'
g (float[2,8] a, float[2,8] b) => (float[8,2] z, float[8,2] w) {
  q = Add (a, b) s = Tanh (q) z = Transpose (s) y = Sigmoid (q) w = Transpose (y)
}
END
makes "two chains, two nodes" 'p: t0=Add(x0,x1);y0=Relu(t0) of a, b' 'y: t0=Neg(x0);y0=Relu(t0) of q' <<'END'
g (float[2,8] a, float[2,8] b) => (float[8,2] y) { s = Add (a, b) p = Relu (s) q = Transpose (p) r = Neg (q) y = Relu (r) }
END
makes "a smaller result stays apart" <<'END'
g (float[2,8] a, float[8] b) => (float[2,8] y) { s = Relu (b) y = Add (a, s) }
END
makes "a node between that reads it keeps it apart" <<'END'
g (float[2,8] a, float[2,8] b) => (float[2,8] y) { s = Add (a, b) t = ReduceMean <axes = [1]> (s) u = Neg (t) y = Sub (s, u) }
END
makes "integers stay apart" <<'END'
g (int64[2,8] a, int64[2,8] b) => (int64[2,8] y) { s = Add (a, b) y = Mul (s, b) }
END
makes "operands that would live longer than they save stay where they are" <<'END'
g (float[64,64] a, float[64,64] b) => (float[64,64] y) {
  p = Transpose (a) q = Transpose (b) s = Add (p, q) c = Softmax (a) d = MatMul (c, b) e = Transpose (d) f = MatMul (e, b) y = Add (s, f)
}
END
makes "but not where they live on anyhow" 'y: t0=Add(x0,x1);y0=Add(t0,x2) of a, b, f' <<'END'
g (float[64,64] a, float[64,64] b) => (float[64,64] y) { s = Add (a, b) c = Softmax (a) f = MatMul (c, b) y = Add (s, f) }
END
# alone: no more than 16 steps
chain=$(awk 'BEGIN { for (i = 1; i <= 40; i++) printf "x%d = Neg (x%d) ", i, i - 1 }')
joined >output <<END
g (float[2,8] x0) => (float[2,8] x40) { $chain }
END
check "a chain of forty is several nodes" [ "$(grep -c '' calls)" -ge 3 ]

"$actnnc" "$models/resnet20.onnx" --batch=4 --loss=softmax-cross-entropy --dump-after=join-pointwise >joined.onnxtxt 2>log
check "one phase: forward's and evaluation's sums and rectifiers" [ "$(grep -c 'actnn.Pointwise' joined.onnxtxt)" -eq 18 ]
check "updates, and what draws first values, stay apart" sh -c '! grep "actnn.Pointwise" joined.onnxtxt | grep -q "phase = \"\(update\|initialize\)\""'
sed 1d joined.onnxtxt >again.onnxtxt
check "the dump reads back" sh -c "'$actnnc' again.onnxtxt --run-pass=none | cmp - again.onnxtxt"
check "joining once more changes nothing" sh -c "'$actnnc' again.onnxtxt --run-pass=join-pointwise | cmp - again.onnxtxt"

# A dump in which one pair is joined already, as somebody may write it.
"$actnnc" "$models/resnet20.onnx" --batch=4 --loss=softmax-cross-entropy --dump-after=gather-updates 2>log | sed 1d >apart.onnxtxt
LINE=$(grep -m1 'Pointwise<.*"/layer1/0/relu2"' joined.onnxtxt) perl -0pe '
  s{^.* = Add\("/layer1/0/bn2", "/relu"\).*\n}{}m;
  s{^.* = Relu\("/layer1/0/add"\).*}{$ENV{LINE}}m;
  s{origin = "/layer1/0/add"}{origin = "/layer1/0/relu2"};
  s{ /layer1/0/add(?=[\s"])}{}' apart.onnxtxt >mixed.onnxtxt
check "the rest is joined beside nodes that are already" sh -c "'$actnnc' mixed.onnxtxt --run-pass=join-pointwise >rest.onnxtxt && [ \$(grep -c actnn.Pointwise rest.onnxtxt) = 18 ]"

# refused WHAT STEPS MESSAGE: a joined node of two operands and one result
refused() {
  printf '<ir_version: 8, opset_import: ["" : 17, "actnn" : 1]>\ng (float[2,8] a, float[2,8] b) => (float[2,8] y) { y = actnn.Pointwise <steps = "%s"> (a, b) }\n' \
    "$2" >steps.onnxtxt
  check "refused: $1" sh -c "! '$actnnc' steps.onnxtxt --run-pass=specialize >/dev/null 2>log && grep -q 'error' log && grep -q '$3' log"
}
check "steps that are right are taken" sh -c "printf '<ir_version: 8, opset_import: [\"\" : 17, \"actnn\" : 1]>\ng (float[2,8] a, float[2,8] b) => (float[2,8] y) { y = actnn.Pointwise <steps = \"t0=Add(x0,x1);y0=Relu(t0)\"> (a, b) }' >good.onnxtxt && '$actnnc' good.onnxtxt --run-pass=specialize"
refused "no steps" '' 'a step makes'
refused "an operator that is none" 'y0=System(x0,x1)' 'no elementwise operator'
refused "one that is not elementwise" 'y0=MatMul(x0,x1)' 'no elementwise operator'
refused "one of integers" 'y0=BitwiseAnd(x0,x1)' 'no elementwise operator'
refused "too few operands" 't0=Add(x0,x1);y0=Add(t0)' 'too few operands'
refused "too many operands" 'y0=Relu(x0,x1)' 'too many operands'
refused "an operand that no one gives" 'y0=Relu(x0)' '1 operands'
refused "a name that nothing has made" 'y0=Add(x0,t0)' 'nothing before has made'
refused "a name that is made later" 'y0=Relu(t0);t0=Add(x0,x1)' 'nothing before has made'
refused "itself" 'y0=Add(y0,x0)' 'nothing before has made'
refused "a name that is made twice" 't0=Add(x0,x1);t0=Relu(t0);y0=Relu(t0)' 'twice'
refused "an operand that is made" 'x0=Relu(x0);y0=Add(x0,x1)' 'a step makes'
refused "operands out of turn" 'y0=Add(x1,x0)' 'out of turn'
refused "a number beyond all" 'y0=Add(x0,x99)' 'out of turn'
refused "a result more" 'y0=Add(x0,x1);y1=Relu(y0)' '2 results'
refused "no result" 't0=Add(x0,x1)' 'no result'
refused "an attribute that is missing" 't0=LeakyRelu(x0);y0=Add(t0,x1)' 'too few attributes'
refused "an attribute that is no number" 't0=LeakyRelu(x0,nan);y0=Add(t0,x1)' 'finite number'
refused "an attribute without end" 't0=LeakyRelu(x0,1e999);y0=Add(t0,x1)' 'finite number'
refused "an attribute in quotes" 't0=Gelu(x0,\"tanh\");y0=Add(t0,x1)' 'a word'
refused "white space" 'y0 = Add(x0, x1)' 'a step is'
refused "something behind" 'y0=Add(x0,x1);' 'a step makes'
refused "a comment" 'y0=Add(x0,x1)/*' 'parted'
refused "too many steps" "t0=Add(x0,x1);$(awk 'BEGIN { for (i = 1; i < 17; i++) printf "t%d=Neg(t%d);", i, i - 1 }')y0=Neg(t16)" 'too many steps'
refused "a long text" "$(awk 'BEGIN { for (i = 0; i < 3000; i++) printf "a" }')" 'too long'
finish
