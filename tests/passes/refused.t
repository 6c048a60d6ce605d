#!/bin/sh
# refused.t: what the passes up to the optimizer refuse, each with one message; and what they take that looks nearly alike.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# model LINE...: a model as text
model() { printf '%s\n' '<ir_version: 8, opset_import: ["" : 17, "actnn" : 1, "example" : 1]'"$facts"'>' "$@" >model.onnxtxt; }
facts=

# refused WHAT MESSAGE FILE [OPTION]...
refused() {
  what=$1 message=$2
  shift 2
  "$actnnc" "$@" >output 2>messages
  code=$?
  if [ $code -eq 1 ] && [ "$(grep -c 'error: ' messages)" -eq 1 ] && grep -q -e "$message" messages; then ok "$what"; else not_ok "$what" messages; fi
}
# taken WHAT PATTERN FILE [OPTION]...: what comes of it has the pattern
taken() {
  what=$1 pattern=$2
  shift 2
  "$actnnc" "$@" >output 2>&1
  code=$?
  if [ $code -eq 0 ] && grep -q -e "$pattern" output; then ok "$what"; else not_ok "$what" output; fi
}
special=--run-pass=specialize

# ---- inputs and operators
model 'g (float[?,4] x) => (float[?,4] y)' '{ y = Relu(x) }'
refused "an axis without a name" "dimension 0 of input 'x' is not fixed$" model.onnxtxt $special
refused "a dimension of a model without names" "no input has a dimension called 'N'" model.onnxtxt $special --batch=4 --dim=N=4
model 'g (float[] x) => (float[] y)' '{ y = Relu(x) }'
refused "an input of any shape" "input 'x' has no shape" model.onnxtxt $special
model 'g (float[2] x) => (float[2] y)' '{ a = Fantasy(x) b = example.Fantasy(a) c = Fantasy(b) d = example.Gradient(c) y = Relu(d) }'
refused "operators of the same name, told apart by their domain" "3 operators are not supported: Fantasy.*, example.Fantasy.*, example.Gradient" \
  model.onnxtxt $special
model 'g (float[2] x) => (float[2] y)' '{ y = Elu<alpha = "x">(x) }'
refused "an attribute that is a word" "attribute 'alpha' is of another kind" model.onnxtxt $special
model 'g (float[2] x) => (float[2] y)' '{ y = Elu<alpha = 2>(x) }'
taken "an integer in place of a real number" 'y = Elu<alpha = 2>' model.onnxtxt $special
{
  echo '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) {'
  awk 'BEGIN { print "a0 = Relu(x)"; for (i = 1; i < 32768; i++) print "a" i " = Relu(a" i - 1 ")"
    print "y = Relu(a32767) }" }'
} >long.onnxtxt
refused "more nodes than there may be" "the model has 32769 nodes, more than the 32768" long.onnxtxt $special
list() { awk -v what="$1" 'BEGIN { for (i = 0; i < 257; i++) printf "%s%s", i ? ", " : "", what == "x" ? "x" : what i }'; }
model 'g (float[2,1] x) => (float[2,257] y)' "{ y = Concat<axis = 1>($(list x)) }"
refused "more operands than a call holds" "Concat .*it has 257 operands or results, at most 256" model.onnxtxt $special
model 'g (float[2,257] x) => (float[2,1] y)' "{ $(list s) = Split<axis = 1>(x) y = Add(s0, s256) }"
refused "more results than a call holds" "Split .*it has 257 operands or results, at most 256" model.onnxtxt $special
model 'g (float[2,1] x) => (float[2,1] y)' "{ y = Sum($(list x)) }"
taken "more terms than a call holds" 'y = Add(' model.onnxtxt $special
model 'g (float[2,1] x) => (float[2,256] y)' "{ y = Concat<axis = 1>($(list x | sed 's/, x$//')) z = Identity(y) }"
taken "as many operands as a call holds, in evaluation too" 'Concat<axis = 1, phase = "evaluate", origin = "y">' model.onnxtxt --loss=mse \
  --run-pass=specialize,attach-loss,evaluation

# ---- constants
# folds WHAT CONSTANT NODES: NODES make `c` of constants k (3 numbers), n and w, and c is known then
folds() {
  what=$1
  shift
  model 'g (float[3] x) => (float[3] y)' '<int64[1] n = {2}>' '{' '  k = Constant <value_floats = [1.0, 3.0, 2.0]> ()' "$@" '  y = Add (x, c)' '}'
  taken "$what" '^  float\(\[[13]\]\|\) c = {' model.onnxtxt $special
}
folds "positions without the values that lie there" '  , i = TopK (k, n)' '  f = Cast <to = 1> (i)' '  c = ReduceSum (f)'
folds "a number in eight bits" '  i = Cast <to = 3> (k)' '  c = Cast <to = 1> (i)'
for type in 10 11 16; do folds "a cast to type $type and back" "  h = Cast <to = $type> (k)" '  c = Cast <to = 1> (h)'; done
folds "a slice without axes" \
  '  s = Constant <value_ints = [0]> ()' '  t = Constant <value_ints = [1]> ()' '  d = Slice (k, s, n, , t)' '  c = ReduceSum (d)'
folds "how many elements there are" '  i = Size (x)' '  j = Cast <to = 1> (i)' '  c = Neg (j)'
folds "a convolution without a bias" \
  '  i = Constant <value = float[1,1,3,3] {1, 2, 3, 4, 5, 6, 7, 8, 9}> ()' '  j = Conv (i, i, )' '  c = ReduceSum <keepdims = 0> (j)'
for type in '' '<dtype = 1>' '<dtype = 10>' '<dtype = 11>' '<dtype = 16>'; do
  model 'g (float[2,3] x) => (float[2,3] y)' "{ e = EyeLike $type (x) c = Neg (e) y = Add (x, c) }"
  taken "a unit matrix like something${type:+, $type}" '^  float\[2,3\] c = {-1, -*0, -*0, -*0, -1, -*0}' model.onnxtxt $special
done
model 'g (float[4096,4096] x) => (float[4096,4096] y)' '{ e = EyeLike (x) y = Add (x, e) }'
refused "a unit matrix too large" "EyeLike .*too large to be computed at compile time" model.onnxtxt $special
model 'g (float[2] x) => (float[2] y)' '{' \
  '  k = Constant <value_floats = [1.0, 2.0]> () i = Constant <value_ints = [7]> () c = Gather (k, i) y = Add (x, c) }'
refused "an index beyond a constant" "index 7 is outside" model.onnxtxt $special
model 'g (float[2] x) => (float[2] y)' '<int64[1] n = {0}> { k = Constant <value_ints = [4]> () d = Mod (k, n) c = Cast <to = 1> (d) y = Add (x, c) }'
taken "a remainder of nothing" '^  float\[1\] c = {' model.onnxtxt $special
model 'g (float[2] x) => (float[2] y)' '{ k = Constant <value_floats = [1.0, 2.0]> () Identity (k) "" = Identity (k) y = Add (x, k) }'
sed -i 's/ Identity (k) ""/ ""/' model.onnxtxt
taken "an identity that nobody asked for" 'y = Add(x, k)' model.onnxtxt $special
facts=', metadata_props: ["actnn.constant" : "k"]'
model 'g (float[70000] x) => (float[70000] y)' '<float[70000] k = ["location" : "none"]> { c = Identity (k) y = Add (x, c) }'
taken "an identity of what is too large to be kept twice" 'y = Add(x, c)' model.onnxtxt $special
facts=', metadata_props: ["actnn.constant" : "a b"]'
model 'g (float[1] x) => (float[1,1] y)' '<float[1,536870912] a = ["location" : "none"], float[536870912,1] b = ["location" : "none"]>' \
  '{ c = MatMul (a, b) y = Add (x, c) }'
taken "a product that would take too long is left to the trainer" 'c = actnn.Product(a, b)' model.onnxtxt $special
facts=
model 'g (float[70000] x) => (float[70000] y)' '{ k = ConstantOfShape (s) c = Identity (k) y = Add (x, c) }'
sed -i 's/^{/<int64[1] s = {70000}>\n{/' model.onnxtxt
taken "what is too large to be kept is made at each step" 'y = Add(x, k)\|y = Add(x, c)' model.onnxtxt $special
for type in float16 bfloat16 double; do
  model 'g (float[2] x) => (float[2] y)' "<$type[2] w = {1, 2}, $type[2] v = [\"location\" : \"none\"]> { a = Add (x, w) y = Add (a, v) }"
  taken "numbers that are $type become float" '^  float\[2\] v = \["location" : "none"\]' model.onnxtxt $special
done
check "with their values" grep -q '^  float\[2\] w = {1, 2}' output

# ---- first values
facts=', metadata_props: ["actnn.drawn_from" : "w=d"]'
draw='d = RandomNormal <shape = [2], phase = "initialize"> ()'
model 'g (float[2] x) => (float[2] y)' '<float[3] w = ["location" : "none"]>' "{ $draw a = ReduceSum <keepdims = 0> (w) y = Add (x, a) }"
refused "first values of another shape" "initialization draws f32\[2\] for 'w', which is f32\[3\]" model.onnxtxt $special
model 'g (float[2] x) => (float[2] y)' '<float[2] w = ["location" : "none"]>' "{ $draw y = Add (x, w) }"
model 'g (float[2] x) => (float[2] y)' '<float[2] w = ["location" : "none"]>' "{ $draw y = Add (x, w) }"
taken "first values that are drawn" '"actnn.drawn_from" : "w=d"' model.onnxtxt $special
model 'g (float[2] x) => (float[2] y)' '<float[1100] w = ["location" : "none"]>' \
  "{ d = Constant <value_floats = [$(awk 'BEGIN { for (i = 0; i < 1100; i++) printf "%s%d.5", i ? ", " : "", i }')], phase = \"initialize\"> ()" \
  'a = ReduceSum <keepdims = 0> (w) y = Add (x, a) }'
"$actnnc" model.onnxtxt $special >output 2>&1
check "first values that are known are the parameter's own" sh -c \
  '! grep -q drawn_from output && grep -q "float\[1100\] w = \[\"location\" : \"omitted\"" output'
facts=

# ---- statistics
model 'g (float[2,3,4] x) => (float[2,3,4] y)' \
  "<float[3] s = [\"location\" : \"none\"], float[3] b = [\"location\" : \"none\"]," \
  " float[3] m = [\"location\" : \"none\"], float[3] v = [\"location\" : \"none\"]>" \
  '{ a = Relu (x) y = BatchNormalization (a, s, b, m, v) }'
taken "a normalization by given statistics stays one" 'y = BatchNormalization' model.onnxtxt $special
taken "--batchnorm=train makes it one by the batch's" 'y, [^ ]*, [^ ]*, [^ ]*, [^ ]* = actnn.BatchNorm' model.onnxtxt $special --batchnorm=train
sed 's/BatchNormalization (/BatchNormalization <training_mode = 1> (/' model.onnxtxt >train.onnxtxt
taken "statistics that nobody asked for" 'y.* = actnn.BatchNorm' train.onnxtxt $special
sed 's/ y = Batch/ y, , v2 = Batch/' train.onnxtxt >half.onnxtxt
taken "one of them" 'BatchNormalization<.*phase = "evaluate"' half.onnxtxt --loss=mse --run-pass=specialize,attach-loss,evaluation
perl -0777 -pe 's/ y = Batch/ y, m2, v2 = Batch/; s/,\s*float\[3\] m = .*?>\n/>\n/s; s/\[2,3,4\] x\)/[2,3,4] x, float[3] m, float[3] v)/' train.onnxtxt >given.onnxtxt
taken "statistics that come from outside" 'y, m2, v2.* = actnn.BatchNorm' given.onnxtxt $special

# ---- losses
model 'g (float[N,4] x) => (float[N,3] y, float l, float[1] one, int64 count)' '<float[4,3] w = ["location" : "none"]>' \
  '{ y = MatMul (x, w) q = Mul (y, y) l = ReduceMean <keepdims = 0> (q) one = Reshape (l, s) count = Size (y) }'
sed -i 's/^<float/<int64[1] s = {1}, float/' model.onnxtxt
loss=--run-pass=specialize,attach-loss
taken "the output that is named is the loss" '"actnn.loss" : "one"' model.onnxtxt --batch=2 --loss=output:one $loss
taken "the first scalar, where none is named" '"actnn.loss" : "l"' model.onnxtxt --batch=2 --loss=output $loss
refused "an output that is no scalar" "output 'y' is not a scalar loss" model.onnxtxt --batch=2 --loss=output:y $loss
refused "an output that there is not" "output 'z' is not a scalar loss" model.onnxtxt --batch=2 --loss=output:z $loss
refused "a prediction that there is not" "no output is called 'z'" model.onnxtxt --batch=2 --loss=mse:z $loss
refused "classes of a vector" "needs scores of shape" model.onnxtxt --batch=2 --loss=softmax-cross-entropy:one $loss
model 'g (float[2] x) => (float[2] x)' '{ }'
refused "no scalar at all" "the model has no scalar loss among its outputs" model.onnxtxt $loss
model 'g (float x) => (float x)' '{ }'
refused "no output to compute a loss from" "no output to compute the loss from" model.onnxtxt $loss --loss=mse
taken "an input that is the loss" '"actnn.loss" : "x"' model.onnxtxt $loss
model 'g () => (float[2] y)' '<float[2] w = ["location" : "none"]> { y = Relu (w) }'
taken "a model without inputs gets labels" 'g (float\[2\] labels)' model.onnxtxt $loss --loss=mse
model 'g (float[2,3] x, int64[2] c) => (float l)' '<float[3,3] w = ["location" : "none"]> { y = MatMul (x, w) l = SoftmaxCrossEntropyLoss (y, c) }'
model 'g (float[2] x) => (float[1,1] y)' '{ a = ReduceSum <keepdims = 0> (x) y = Reshape (a, s) }'
sed -i 's/^{/<int64[2] s = {1, 1}> {/' model.onnxtxt
refused "one number in two dimensions" "the model has no scalar loss" model.onnxtxt $loss
model 'g (float[2] x) => (float[1099511627776,1099511627776] y)' '{ y = Relu (x) }'
refused "an output beyond all memory" "the model has no scalar loss" model.onnxtxt --run-pass=attach-loss
facts=', metadata_props: ["actnn.text" : "2"]'
model 'g (float[2] x) => (float[2] v1)' '{ v1 = Relu (x) }'
refused "a name, where the output has none" "no output is called 'y'" model.onnxtxt $loss --loss=mse:y
facts=
model 'g (float[2,3] x, int64[2] c) => (float l)' '<float[3,3] w = ["location" : "none"]> { y = MatMul (x, w) l = SoftmaxCrossEntropyLoss (y, c) }'
taken "a loss of the model's own that is known" '"actnn.label" : "c"' model.onnxtxt $loss

# ---- gradients
backward=--run-pass=specialize,attach-loss,evaluation,differentiate
model 'g (float[2] x) => (float[2] y)' '<float[2] w = ["location" : "none"]> { a = Mul (x, w) y = actnn.EluSlope (a) }'
refused "what cannot be differentiated" "EluSlope cannot be differentiated" model.onnxtxt --loss=mse $backward
model 'g (float[2] x) => (float[2] y)' '<float[2] w = ["location" : "none"], int64[2] i = ["location" : "none"]>' \
  '{ j = Cast <to = 1> (i) a = Mul (x, w) y = Add (a, j) }'
sed -i 's/"example" : 1\]/&, metadata_props: ["actnn.parameter" : "i"]/' model.onnxtxt
taken "parameters that are integers are not trained" 'actnn.Update<phase = "update">(w,' model.onnxtxt --loss=mse $backward
model 'g (float[2] x) => (float[2] y)' '<float[2] w = ["location" : "none"], float[2] v = ["location" : "none"]> { a = Mul (x, w) y = Add (a, v) }'
"$actnnc" model.onnxtxt --loss=mse --freeze=w $backward >output 2>&1
check "a parameter that is frozen is not trained" sh -c \
  '! grep -q "Update<.*(w," output && grep -q "Update<.*(v," output && grep -q "\"actnn.frozen\" : \"w\"" output'
refused "all parameters frozen" "the loss depends on no parameter that is trained" model.onnxtxt --loss=mse --freeze=w --freeze=v $backward
facts=', metadata_props: ["actnn.text" : "2"]'
model 'g (float[2] x) => (float[2] y)' '<float[2] w = ["location" : "none"], float[2] v1 = ["location" : "none"]> { a = Mul (x, w) y = Add (a, v1) }'
"$actnnc" model.onnxtxt --loss=mse --freeze=w $backward >output 2>&1
check "a parameter without a name is not frozen" sh -c '! grep -q "Update<.*(w," output && grep -q "Update<.*(v[0-9]*," output'
refused "and no pattern freezes it" "no parameter is called 'v_'" model.onnxtxt --loss=mse --freeze='v*' $backward
facts=
model 'g (float[2,4] x) => (float[2,2] y)' \
  '<float[4,4] w = ["location" : "none"], int64[2] n = {2, 2}> { z = MatMul (x, w) , y = Split <axis = 1> (z, n) }'
taken "the gradient of a result that nobody asked for is zero" 'Concat<axis = 1, phase = "backward"' model.onnxtxt --loss=mse $backward
"$actnnc" model.onnxtxt --loss=mse -o split.c >log 2>&1
check "and the trainer is written" test -s split.c
model 'g (float[2] x) => (float[2] y)' '<float[2] w = ["location" : "none"], float[2] v = ["location" : "none"]> { a = Mul (x, w) y = Add (a, v) }'
awk 'BEGIN { print "<ir_version: 8, opset_import: [\"\" : 17]> g (float[2] x) => (float[2] y)"
  print "<float[2] w = [\"location\" : \"none\"]> { a0 = Mul (x, w)"
  for (i = 1; i < 400; i++) print "a" i " = Mul (a" i - 1 ", a" i - 1 ")"; print "y = Mul (a399, w) }" }' >deep.onnxtxt
"$actnnc" deep.onnxtxt --loss=mse $backward >output 2>&1
check "a gradient of many nodes: a sum for each value that is read twice" [ "$(grep -c '= Add<phase = "backward"' output)" -eq 401 ]

# ---- optimizers
train=$backward,optimizer
taken "a learning rate" 'actnn.Sgd<' model.onnxtxt --loss=mse --optimizer=sgd,lr=0.25,momentum=0 $train
refused "a setting without a value" "'momentum' has no value" model.onnxtxt --loss=mse --optimizer=sgd,momentum $train
refused "a number with something behind it" "'0.9x' is not a number" model.onnxtxt --loss=mse --optimizer=sgd,momentum=0.9x $train
refused "a setting of two letters that there is not" "has no setting 'ls'" model.onnxtxt --loss=mse --optimizer=sgd,ls=1 $train
"$actnnc" model.onnxtxt --loss=mse --optimizer=sgd,lr=0.25 -o rate.c >output 2>&1
check "which the trainer starts with" grep -q '0.25' rate.c

# ---- the model's own algorithm
# own WHAT MESSAGE EDIT PASSES: own.onnxtxt is changed by perl's EDIT
"$actnnc" "$top_srcdir/tests/training/models/momentum.onnx" --batch=4 --run-pass=none >own.onnxtxt
edit() { perl -0777 -pe "$1" own.onnxtxt >changed.onnxtxt; ! cmp -s own.onnxtxt changed.onnxtxt || not_ok "nothing was changed by $1"; }
own() {
  edit "$3"
  refused "the model's own algorithm: $1" "$2" changed.onnxtxt --batch=4 --run-pass="$4"
}
own "no Gradient node" "has no Gradient node" 's/\n  "w1.gradient".*?\n/\n/; s/"([wb][12]).gradient"/$1/g' specialize,attach-loss
own "no Gradient node to expand" "has no Gradient node" 's/\n  "w1.gradient".*?\n/\n/; s/"([wb][12]).gradient"/$1/g' specialize,differentiate
own "y that is no tensor" "attribute y names no tensor: 'less'" 's/y = "loss"/y = "less"/' specialize,attach-loss
own "y that is no tensor to differentiate" "must name tensors" 's/y = "loss"/y = "less"/' specialize,differentiate
all=specialize,simplify,recognize,attach-loss,evaluation,differentiate,optimizer
own "an operand that is missing" "operand 'r' is missing" 's/(Momentum<.*?>)\(rate, /$1(, /' $all
own "a pass before its operators are known" "needs its operator and shapes to be known" 's/$/ /' allocate-bits
edit 's/"b1.gradient", ("w2.gradient", "b2.gradient" =)/, $1/; s/(Momentum<.*?>\(.*?)"b1.gradient"/$1b1/'
taken "the model's own algorithm: a gradient that nobody wants" 'OnnxMomentum<' changed.onnxtxt --batch=4 --run-pass=$all
edit 's/, zs = \["x"\]/, zs = ["x"], mine = 1/'
for option in --loss=mse --optimizer=adam --freeze=w1; do
  "$actnnc" changed.onnxtxt --batch=4 $option --run-pass=$all >output 2>messages
  check "the model's own algorithm: $option has no effect, which is said" grep -q 'warning: .*have no effect' messages
done
for change in 's/xs = \[.*?\], //' 's/, "b2"\]/]/' 's/xs = \["w1"/xs = ["w9"/'; do
  own "gradients of no known shape ($change)" "is not known\|is f32" "$change" specialize
done
edit 's/\bone\b/v1/g'
taken "the model's own algorithm: a counter's step without a name" 'Gradient<' changed.onnxtxt --batch=4 $special
{ # Gradients and an optimizer of more tensors than a call holds: they are taken apart
  echo '<ir_version: 8, opset_import: ["" : 17, "ai.onnx.preview.training" : 1], metadata_props: ["actnn.training_algorithm" : "yes",'
  awk 'function list(what, next_, quote,   i, text) { for (i = 0; i < 90; i++) text = text (i ? ", " : "") quote what i quote; return text }
    BEGIN { for (i = 0; i < 90; i++) { updates = updates " n" i "=p" i " t" i "=s" i; states = states " s" i
        type = type (i ? ", " : "") "float[2] p" i " = {1, 2}, float[2] s" i " = {0, 0}" }
      print "\"actnn.state\" : \"step" states "\", \"actnn.constant\" : \"rate\", \"actnn.updates\" : \"" updates "\"]>"
      print "g (float[2] x) => (float l) <" type ", float rate = {0.1}, int64 step = {0}> {"
      print "y = Sum (x, " list("p") ") l = ReduceMean <keepdims = 0> (y)"
      print list("g") " = ai.onnx.preview.training.Gradient <xs = [" list("p", 0, "\"") "], y = \"l\", phase = \"backward\"> (" list("p") ")"
      print list("n") ", " list("t") " = ai.onnx.preview.training.Momentum <alpha = 0.9, beta = 0.7, mode = \"standard\", norm_coefficient = 0.0,"
      print "phase = \"update\"> (rate, step,"
      print list("p") ", " list("g") ", " list("s") ")"
      print "}" }'
} >wide.onnxtxt
"$actnnc" wide.onnxtxt --run-pass=$all >output 2>&1
check "the model's own algorithm: ninety tensors in one optimizer" [ "$(grep -c '= actnn.OnnxMomentum<' output)" -eq 90 ]
# Once specialize is through nobody looks at shapes before the optimizer.
"$actnnc" "$top_srcdir/tests/training/models/momentum.onnx" --batch=4 --run-pass=specialize,simplify,recognize >own.onnxtxt
own "no xs" "must name tensors" 's/xs = \[.*?\], //' differentiate
own "xs that are no tensors" "xs names no tensor: 'w9'" 's/xs = \["w1"/xs = ["w9"/' differentiate
taken "the model's own algorithm: without its loss nothing is evaluated" 'y = "loss"' own.onnxtxt --run-pass=evaluation
check "which nothing else shows" sh -c '! grep -q evaluate output'
taken "the model's own algorithm: its loss is known at last" '"actnn.loss" : "loss"' own.onnxtxt --run-pass=differentiate
edit 's/xs = \["w1", "b1", "w2", "b2"/$&, "x"/'
taken "the model's own algorithm: a gradient too many" 'OnnxMomentum' changed.onnxtxt --run-pass=attach-loss,evaluation,differentiate,optimizer
edit 's/Tanh\(h\)/Constant(h)/'
refused "the model's own algorithm: an operator that takes no operand" "at most 0 are known" changed.onnxtxt --run-pass=differentiate
"$actnnc" own.onnxtxt --run-pass=attach-loss,evaluation >before.onnxtxt && mv before.onnxtxt own.onnxtxt
own "y that is no tensor, where some have no name" "must name tensors" 's/y = "loss"/y = "less"/' differentiate
edit 's/y = "loss"/y = "less"/'
taken "the model's own algorithm: y that is no tensor keeps nothing" 'y = "less"' changed.onnxtxt --run-pass=simplify
"$actnnc" own.onnxtxt --run-pass=differentiate >before.onnxtxt && mv before.onnxtxt own.onnxtxt
own "too few operands" "operands are R, T" 's/(Momentum<.*?>)\(.*?\)/$1(rate, step, w1)/' optimizer
own "operands that do not come out even" "operands are R, T" 's/, "b2.state0"\)/)/' optimizer
own "too few results" "operands are R, T" \
  's/, "b2.state0.next" = /  = /; s/\n  float\[3\] "b2.state0.next",?//; s/ b2.state0.next=b2.state0//; s/,\n>/\n>/' optimizer
own "no state" "an operand is missing" 's/(Momentum<.*?>\(.*?)"w1.state0", /$1, /' optimizer
own "gradients of other shapes" "OnnxMomentum" 's/(Momentum<.*?>\(rate, step, w1, b1, w2, b2, )([^,]*), ([^,]*),/$1$3, $2,/' optimizer
edit 's/ai.onnx.preview.training.Momentum</example.Momentum</'
refused "the model's own algorithm: another's Momentum" "not in the table" changed.onnxtxt --run-pass=optimizer

# ---- programs that passes have made
"$actnnc" "$models/mlp.onnx" --batch=4 --loss=softmax-cross-entropy --dump-passes=dumps --check >log 2>&1
for file in dumps/*.onnxtxt; do # without the facts that tell at once
  case $file in *-specialize.onnxtxt | *-simplify.onnxtxt | *-recognize.onnxtxt | *-fuse-attention.onnxtxt | *-absorb-transposes.onnxtxt | *-attach-loss.onnxtxt) continue ;; esac
  perl -0777 -pe 's/\n    "actnn.(loss|evaluation_loss|prediction|evaluation_output|evaluation_losses|label|learning_rate|step_number)" : ".*?",(?=\n)//g' \
    "$file" >bare.onnxtxt
  refused "specialize after $(basename "$file" .onnxtxt)" "it is a program that passes have changed already" bare.onnxtxt $special
done
"$actnnc" "$models/mlp.onnx" --batch=4 --loss=softmax-cross-entropy $backward >model.onnxtxt
perl -0777 -pe 's/actnn.Update<phase = "update">\((\w+|"[^"]*"), (v\d+)\)/actnn.Update<phase = "update">($1, image)/' model.onnxtxt >changed.onnxtxt
refused "an update by a gradient of another shape" "operand 1 is" changed.onnxtxt --run-pass=optimizer
# made WHAT NODE...: what only passes make, in a program that has nothing else of theirs: it is held to the rules, or no model
made() {
  what=$1
  shift
  model "$@"
  refused "specialize of $what" "it is a program that passes have changed already\|after reading: rule" model.onnxtxt $special
}
made "bits" 'g (float[2] x) => (float[2] y)' '{ b = actnn.PackPositive (x) y = Relu (x) }'
made "an optimizer in forward" 'g (float[2] x, float r) => (float[2] y)' '<float[2] w = ["location" : "none"]>' '{ y = actnn.Sgd (w, x, , r) }'
made "a backward node" 'g (float[2] x) => (float[2] y)' '{ y = Relu <phase = "backward"> (x) }'
facts=', metadata_props: ["actnn.blocked" : "y"]'
made "a value in blocks" 'g (float[2,3,4] x) => (float[2,3,4] y)' '{ y = Relu (x) }'
facts=', metadata_props: ["actnn.stash" : "y", "actnn.plain" : "y"]'
made "a stash laid out plainly" 'g (float[2,3,4] x) => (float[2,3,4] y)' '{ y = Relu (x) }'
facts=', metadata_props: ["actnn.saves" : "complete"]'
made "a table of saves" 'g (float[2,3,4] x) => (float[2,3,4] y)' '{ y = Relu (x) }'
facts=
model 'g (float[2,3,4] x) => (float[2,3,4] y)' '{ y = Relu (x) }'
refused "specialize of a plan" "it is a program that passes have changed already" model.onnxtxt --run-pass=specialize,plan-memory,specialize
model 'g (float[N] x, float[2] z) => (float[2] y)' '<float[2] y> { y = Relu (z) }'
sed -i 's/<float\[2\] y> //' model.onnxtxt
refused "a pass before inputs have a shape" "needs the shapes of inputs to be fixed" model.onnxtxt --run-pass=simplify
finish
