#!/bin/sh
# precision.t: what is held as bfloat16 under --precision=bf16, and what never is; a dump of it reads back.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# dump FILE MODEL [OPTION]...: the program behind the pass
dump() {
  file=$1
  shift
  "$actnnc" "$@" --loss=softmax-cross-entropy --dump-after=precision >"$file" 2>log || not_ok "there is a program after precision" log
}
# types FILE OPERATOR RESULT: how the results of that number, counted from 0, of an operator are held, each once
types() {
  awk -v operator="$2" -v which="$3" '
    /^  [a-z]+[0-9]*\[[0-9,]*\] / { type = $1; sub(/\[.*/, "", type); name = $2; gsub(/[",]/, "", name); held[name] = type }
    index($0, "= " operator "<") || index($0, "= " operator "(") {
      left = $0; sub(/ = .*/, "", left); sub(/^ *(\[[^]]*\] )?/, "", left); split(left, result, ", "); name = result[which + 1]; gsub(/"/, "", name)
      if (name in held) seen[held[name]] = 1
    }
    END { for (type in seen) printf "%s ", type }' "$1"
}
# held WHAT FILE OPERATOR RESULT TYPES
held() {
  found=$(types "$2" "$3" "$4")
  check "$1: $found" [ "$found" = "$5 " ]
}

dump narrow "$models/resnet20.onnx" --batch=16 --precision=bf16
dump wide "$models/resnet20.onnx" --batch=16
dump plain "$models/resnet20.onnx" --batch=16 --precision=fp32
check "FP32 unless it is asked for" cmp wide plain
check "nothing is bfloat16 then" sh -c '! grep -q bfloat16 wide'
held "results of convolutions" narrow Conv 0 bfloat16
held "their gradients" narrow actnn.ConvGradInput 0 bfloat16
held "normalized and rectified values" narrow actnn.NormalizeOnSave 0 bfloat16
held "what codes restore" narrow actnn.DequantizeNormal 0 bfloat16
held "gradients of weights" narrow actnn.ConvGradWeight 0 float
held "means" narrow actnn.BatchNormStatistics 0 float
held "gradients of scales" narrow actnn.NormalGradScale 0 float
check "logits stay floats" grep -q '=> (float\[16,10\] logits)' narrow
check "and so does what the loss makes of them" grep -q '^ *float\[16,10\] v' narrow
check "the same nodes in the same order" sh -c 'for file in narrow wide; do sed -n "s/  # .*//; /^  .* = .*(/p" $file >$file.nodes; done
  [ -s wide.nodes ] && cmp narrow.nodes wide.nodes'

dump attention "$models/decoder.onnx" --batch=2 --dim T=64 --precision=bf16
held "what attention weighs" attention Softmax 0 bfloat16
held "a slope, whose levels have a fixed range" attention actnn.GeluSlope 0 bfloat16
check "whose ends are rounded, too" grep -q ' fixed dither plain -0.12890625 1.1328125 ' attention
cat >shared.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17]>
shared (float[64,256] x, float[64,256] target) => (float loss)
<float[256,256] w = ["location" : "none"]>
{
  y = MatMul (x, w) r = Relu (y) z = MatMul (r, w) d = Sub (z, target) s = Mul (d, d) loss = ReduceMean <keepdims = 0> (s)
}
END
"$actnnc" shared.onnxtxt --loss=output --precision=bf16 --dump-after=precision >shared 2>log
held "matrices" shared Relu 0 bfloat16
held "gradients of a weight that is used twice" shared actnn.ProductGradWeight 0 float
cat >wide.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17]>
wide (float[64,256] x) => (float[64,512] y)
<float[256,512] w = ["location" : "none"]>
{ h = Tanh (x) y = MatMul (h, w) }
END
"$actnnc" wide.onnxtxt --loss=mse --precision=bf16 --dump-after=precision >wide.mse 2>log
held "what any loss makes of a prediction" wide.mse Sub 0 float

check "a dump reads back as it was" sh -c \
  "sed 1d narrow >narrow.onnxtxt; '$actnnc' narrow.onnxtxt --run-pass=none >again.onnxtxt && '$actnnc' again.onnxtxt --run-pass=none | cmp - again.onnxtxt && grep -q bfloat16 again.onnxtxt"
check "the arena is planned for it" sh -c \
  "for precision in bf16 fp32; do '$actnnc' '$models/resnet50.onnx' --batch=32 --loss=softmax-cross-entropy --precision=\$precision --check --report=\$precision.json >&2 || exit 1
     sed -n 's/.*\"arena_bytes\": \([0-9]*\),.*/\1/p' \$precision.json; done | awk '{ bytes[NR] = \$1 } END { exit !(bytes[1] > 0 && bytes[1] < 0.8 * bytes[2]) }'"
check "another word is refused" sh -c "! '$actnnc' '$models/mlp.onnx' --precision=fp8 --check"
finish
