#!/bin/sh
# recompute_schedule.t: what is computed again of graphs of any form, and when a model's own algorithm replaces its variables.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# text SIGNATURE TYPES NODES: a model as text, no pass before
text() {
  printf '%s\n' '<ir_version: 8, opset_import: ["" : 17, "actnn" : 1]>' "g $1" \
    "<float[4,4] w = [\"location\" : \"none\"]$2>" "{ $3 }" >text.onnxtxt
}
# kept WHAT SIGNATURE TYPES NODES: without backward there is nothing to be computed again
kept() {
  text "$2" "$3" "$4"
  "$actnnc" text.onnxtxt --run-pass=none >before.onnxtxt 2>log && "$actnnc" text.onnxtxt --recompute=1GiB --run-pass=recompute >after.onnxtxt 2>>log
  if [ -s after.onnxtxt ] && cmp -s before.onnxtxt after.onnxtxt; then ok "$1"; else not_ok "$1" log; fi
}
kept "no nodes" '(float[4,4] x) => (float[4,4] x)' '' ''
kept "results without elements" '(float[0,4] x) => (float[0,4] y)' '' 'y = Relu (x)'
kept "products by any name" '(float[4,4] x) => (float[4,4] y)' ', float[4,4] a, float[4,4] b' \
  'a = MatMul (x, w) b = Gemm (a, w) y = actnn.Product <transA = 1> (b, w)'
kept "a product of a vector" '(float[4] x) => (float[4] y)' '' 'y = actnn.Product <transA = 1> (x, w)'
kept "convolutions by nothing" '(float[1,1,4,4] x) => (float[1,0,4,4] y, float[1,0,4,4] z)' ', float[0,1,1,1] k = ["location" : "none"]' \
  'y = Conv (x, k) z = ConvTranspose (x, k)'
# refused WHAT SIGNATURE NODES: what no operator takes is found behind the pass
refused() {
  text "$2" "" "$3"
  "$actnnc" text.onnxtxt --recompute=1GiB --run-pass=recompute >output 2>messages
  code=$?
  if [ $code -eq 1 ] && grep -q "is missing" messages; then ok "$1"; else not_ok "$1" messages; fi
}
for operator in actnn.Product Conv ConvTranspose; do
  refused "$operator of nothing" '(float[4,4] x) => (float[4,4] y)' "y = $operator ()"
  refused "$operator by nothing" '(float[4,4] x) => (float[4,4] y)' "y = $operator (x)"
done
for operator in actnn.Product Conv ConvTranspose; do
  kept "$operator of numbers" '(float x, float z) => (float y)' '' "y = $operator (x, z)"
  kept "$operator of no channels" '(float[0] x, float[0] z) => (float y)' '' "y = $operator (x, z)"
done

# again MODEL LEAST: so many nodes at least are computed again, and the trainer is planned
again() {
  "$actnnc" "$1" --loss=mse --bits=32 --recompute=1GiB --verify-each --report=plan.json --check >log 2>&1
  count=$(sed -n 's/.*"recomputed_nodes": \([0-9]*\),.*/\1/p' plan.json)
  if [ "${count:-0}" -ge "$2" ]; then ok "$1: $count nodes are computed again"; else not_ok "$1: ${count:-no} nodes are computed again" log; fi
}
text '(float[64,4] x) => (float[64,2] y)' ', int64[2] n = {2, 2}, float[2] v = ["location" : "none"]' \
  'a = Exp (x) , b = Split <axis = 1> (a, n) c = Exp (b) y = Mul (c, v)'
cp text.onnxtxt absent.onnxtxt
again absent.onnxtxt 1
awk 'BEGIN { print "<ir_version: 8, opset_import: [\"\" : 18]> g (float[8,4] x) => (float[8,4] y)"
  print "<float[4,4] w = [\"location\" : \"none\"]> { a0 = MatMul (x, w)"
  for (i = 0; i < 450; i++)
    print "b" i " = Concat <axis = 1> (a" i ", a" i ") c" i " = Tanh (b" i ") d" i ", a" i + 1 " = Split <axis = 1, num_outputs = 2> (c" i ")"
  print "y = Tanh (a450) }" }' >many.onnxtxt
again many.onnxtxt 100

# ---- a model's own algorithm
"$actnnc" "$top_srcdir/tests/training/models/momentum.onnx" --batch=4 --run-pass=none >own.onnxtxt
# own NODES: a second counter, which these make
own() {
  perl -0777 -pe 's/"actnn.state" : "step/"actnn.state" : "step other/; s/step.next=step/step.next=step other.next=other/;
    s/int64 step = \{0\},/$& int64 other = {0},/;
    s/\n  "step.next" = .*?\n/\n'"$1"'\n/' own.onnxtxt >changed.onnxtxt
  "$actnnc" changed.onnxtxt --batch=4 --dump-after=schedule >output 2>messages
}
step='  "step.next" = Add<phase = "update">(step, one)'
own "$step"'\n  "other.next" = Add<phase = "update">("step.next", other)'
check "what reads a new value comes behind it" sh -c "grep -n '\"step.next\" = \|\"other.next\" = ' output | tail -n 1 | grep -q other.next"
own "$step"'\n  "other.next" = Add<phase = "update">("step.next", step)'
check "what reads an old value behind it is refused" grep -q "reads the old value of 'step' after it is replaced" messages
own '  t = Sub<phase = "update">(step, other)\n'"$step"'\n  "other.next" = Add<phase = "update">(t, other)'
check "what is computed of old values comes before" sh -c "grep -n ' t = \|\"step.next\" = ' output | tail -n 2 | head -n 1 | grep -q ' t = '"
printf '%s\n' '<ir_version: 8, opset_import: ["" : 17], metadata_props: ["actnn.drawn_from" : "w=e"]>' 'g (float[2,4] x) => (float[2,4] y)' \
  '<float[4] w = ["location" : "none"], float k = {2}>' '{ d = RandomNormal <shape = [4], phase = "initialize"> ()' \
  'e = Mul <phase = "initialize"> (d, k) y = Mul (x, w) }' | sed 's/"w=e"/"w=e", "actnn.constant" : "k"/' >drawn.onnxtxt
"$actnnc" drawn.onnxtxt --loss=mse --dump-after=schedule >output 2>&1
check "first values are drawn before anything else, and nothing waits for them" sh -c \
  "grep -n 'phase = \"initialize\"\| y = Mul' output | tail -n 1 | grep -q ' y = '"
finish
