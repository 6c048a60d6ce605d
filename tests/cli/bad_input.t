#!/bin/sh
# bad_input.t: what is wrong is said once and clearly, the exit code is 1, and nothing half-written stays behind.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# refused WHAT PATTERN COMMAND...: exit code 1; one message on standard error (a line, with indented lines of help under it)
# that matches PATTERN; nothing on standard output; and nothing in the folder ./out, where all outputs go.
refused() {
  what=$1 pattern=$2
  shift 2
  rm -rf out && mkdir out
  "$@" >output 2>messages
  code=$?
  {
    [ $code -eq 1 ] || echo "exit code $code"
    [ "$(grep -vc '^  ' messages)" -eq 1 ] || echo "not one message"
    grep -Eq "$pattern" messages || echo "the message lacks: $pattern"
    [ -s output ] && echo "says something on standard output"
    [ -z "$(ls -A out)" ] || echo "leaves behind: $(ls -A out)"
  } >faults
  if [ -s faults ]; then
    cat messages >>faults
    not_ok "$what" faults
  else
    ok "$what"
  fi
}

mlp=$models/mlp.onnx
loss=--loss=softmax-cross-entropy
translate() { "$actnnc" "$@" -o out/train.c; }

# ---- models
refused "a model that does not exist" '^absent.onnx: error: ' translate absent.onnx --batch=4 $loss
head -c 5000 "$models/resnet20.onnx" >cut.onnx
refused "a model cut short" '^cut.onnx: error: ' translate cut.onnx --batch=4 $loss
: >empty.onnx
refused "an empty file" '^empty.onnx: error: ' translate empty.onnx --batch=4 $loss
head -c 20000 /dev/urandom >noise.onnx
refused "noise" '^noise.onnx: error: ' translate noise.onnx --batch=4 $loss
refused "a folder" 'error: ' translate "$models" --batch=4 $loss

cat >unknown.onnxtxt <<'MODEL'
<ir_version: 8, opset_import: ["" : 17, "example.custom" : 1]>
unknown (float[N,4] x) => (float[N,4] y)
{
   a = Fantasy (x)
   b = example.custom.Dream (a)
   c = Fantasy (b)
   y = Relu (c)
}
MODEL
refused "operators that are not known: the first kind" 'Fantasy' translate unknown.onnxtxt --batch=4 --loss=mse
refused "operators that are not known: the second kind, in the same message" 'Dream' translate unknown.onnxtxt --batch=4 --loss=mse
refused "text that does not parse" '^wrong.onnxtxt:[0-9]+:[0-9]+: error: ' \
  sh -c "sed 's/=> (float/=> float/' unknown.onnxtxt >wrong.onnxtxt; '$actnnc' wrong.onnxtxt -o out/train.c"

# ---- options of the translator
refused "no batch for a symbolic dimension" 'mlp.onnx: error: .*N' translate "$mlp" $loss
refused "no length for a sequence" 'decoder.onnx: error: .*T' translate "$models/decoder.onnx" --batch=2 $loss
refused "a dimension that the model has not" "no input has a dimension called 'Q'" translate "$mlp" --batch=4 --dim Q=4 $loss
refused "no loss" 'mlp.onnx: error: .*loss' translate "$mlp" --batch=4
refused "an unknown loss" "error: unknown loss 'regret'" translate "$mlp" --batch=4 --loss=regret
refused "an unknown output for the loss" "error: .*nowhere" translate "$mlp" --batch=4 $loss:nowhere
refused "an unknown optimizer" "error: unknown optimizer 'luck'" translate "$mlp" --batch=4 $loss --optimizer=luck
refused "an unknown setting of an optimizer" "error: .*charm" translate "$mlp" --batch=4 $loss --optimizer=sgd,charm=1
refused "a setting that is no number" "error: .*quick" translate "$mlp" --batch=4 $loss --optimizer=sgd,lr=quick
refused "a pattern that freezes nothing" "no parameter is called 'absent" translate "$mlp" --batch=4 $loss --freeze='absent*'
for option in --batch=0 --batch=-1 --batch=many --batch=99999999999999999999 --bits=0 --bits=9 --bits=two --level=L9 --level=L --level=1 \
  --memory-budget=lots --memory-budget=-1 --seed=x --scheme=none --target=pascal --dim=N --dim=N=0 --batchnorm=maybe --frobnicate; do
  refused "$option" "^actnnc: error: .*$option" translate "$mlp" $loss "$option"
done
refused "two models" '^actnnc: error: ' translate "$mlp" "$models/lenet5.onnx" --batch=4 $loss
refused "no model" '^actnnc: error: ' "$actnnc" -o out/train.c
refused "no output" '^actnnc: error: .*-o' "$actnnc" "$mlp" --batch=4 $loss
refused "an unknown pass" "error: no pass is called 'moonwalk'" translate "$mlp" --batch=4 $loss --run-pass=moonwalk
refused "an unknown pass to dump after" "error: .*moonwalk" translate "$mlp" --batch=4 $loss --dump-after=moonwalk
refused "an unknown operator to explain" "error: .*Fantasy" "$actnnc" --explain=Fantasy
refused "a batch beyond all memory" 'error: ' translate "$mlp" --batch=1000000000000 $loss

# ---- operators on what they do not compute with
# operation WHAT PATTERN LINE...: a model whose constants flow into its output by way of these lines, which make `c`.
operation() {
  what=$1 pattern=$2
  shift 2
  {
    printf '%s\n' '<ir_version: 8, opset_import: ["" : 18, "actnn" : 1]>' 'net (float[2,4] x) => (float[2,4] y)' '{' \
      '  b = Constant <value: tensor = bool[4] {1,0,1,0}> ()' '  f = Constant <value_floats = [1.0, 2.0, 3.0, 4.0]> ()'
    printf '  %s\n' "$@" '  h = ReduceSum <keepdims = 0> (c)' '  y = Add (x, h)' '}'
  } >operation.onnxtxt
  refused "$what" "$pattern" "$actnnc" operation.onnxtxt --run-pass=specialize
}
operation "softmax of truths" "operand 'x' must be of a floating-point type" 's = Softmax <axis = 0> (b)' 'c = Cast <to = 1> (s)'
operation "a part beyond the whole" "no part of the asked shape" 'd = Constant <value_ints = [3]> ()' 'c = actnn.SliceBack <axis = 0> (f, d)'
operation "a repetition that does not come out even" "no repetition" 'd = Constant <value_ints = [3]> ()' 'c = actnn.TileGrad (f, d)'
operation "less than was padded" "not the asked shape padded" 'd = Constant <value_ints = [3]> ()' 'p = Constant <value_ints = [1, 1]> ()' \
  'c = actnn.PadGrad (f, d, p)'
operation "a region that is no number" "must be finite" 'r = Constant <value_floats = [nan, 1.0]> ()' 's = Constant <value_floats = [2.0]> ()' \
  'c = Resize <coordinate_transformation_mode = "tf_crop_and_resize", mode = "linear"> (f, r, s)'
operation "an axis resized beyond all memory" "not possible" 's = Constant <value_floats = [900000000000.0]> ()' 'c = Resize (f, , s)'

# ---- places to write
mkdir locked && chmod a-w locked
refused "a folder that does not exist" 'absent/train.*error: ' "$actnnc" "$mlp" --batch=4 $loss -o absent/train.c
if [ "$(id -u)" -ne 0 ]; then
  refused "a folder that may not be written" 'locked/train.*error: ' "$actnnc" "$mlp" --batch=4 $loss -o locked/train.c
else
  skip "a folder that may not be written" "root may write everywhere"
fi

# ---- the trainer
build_trainer train "$mlp" --batch=8 $loss || exit 1
mkdir data && "$oracle" inputs "$mlp" 16 1 data
image=image=data/image.npy labels=labels=data/labels.npy
run() { ./train --quiet --steps 3 --checkpoint out/w.safetensors --export out/w.onnx "$@"; }
check "the trainer itself works" sh -c "./train --quiet --steps 3 --data $image --data $labels"
refused "a missing data file" '^absent.npy: |image=absent.npy|absent.npy' run --data image=absent.npy --data $labels
refused "a missing folder of data" 'absent' run --data absent
refused "an input without data" 'image' run --data $labels
refused "data for an input that the model has not" 'picture' run --data picture=data/image.npy --data $labels
head -c 3000 data/image.npy >short.npy
refused "data cut short" 'short.npy' run --data image=short.npy --data $labels
refused "labels in place of images" 'labels.npy' run --data image=data/labels.npy --data $labels
{ head -c 128 data/labels.npy && printf '\014\0\0\0\0\0\0\0' && tail -c +137 data/labels.npy; } >wrong.npy
check "a file with a wrong label is as long as the right one" [ "$(wc -c <wrong.npy)" -eq "$(wc -c <data/labels.npy)" ]
refused "label 12 of 10 classes" 'wrong.npy.*12' run --data $image --data labels=wrong.npy
refused "missing weights" 'absent.safetensors' run --data $image --data $labels --weights absent.safetensors
refused "a missing checkpoint" 'absent.safetensors' run --data $image --data $labels --resume absent.safetensors
cp data/image.npy noise.safetensors
refused "a file that is no checkpoint" 'noise.safetensors' run --data $image --data $labels --resume noise.safetensors
for option in --steps=x --epochs=-1 --lr=fast --lr=nan --threads=99999 --channel-block=7 --schedule=wild --augment=paint --seed=-1 \
  --shuffle=perhaps --every=0 --variance=1 --frobnicate --quiet=yes; do
  refused "$option" "($(echo "${option%%=*}" | cut -c3-)|${option#*=})" run --data $image --data $labels "$option"
done
refused "steps and epochs" 'exclude' run --data $image --data $labels --epochs 2
refused "nothing to do" 'data' ./train --quiet
refused "a checkpoint in no folder" 'absent/w' ./train --quiet --steps 3 --data $image --data $labels --checkpoint absent/w.safetensors
refused "a log in no folder" 'absent/log' run --data $image --data $labels --log absent/log
refused "data that overflow" 'finite' run --data $image --data $labels --lr 1e30

# ---- a full disk
refused "a full disk under the log" '/dev/full' run --data $image --data $labels --log /dev/full
"$actnnc" "$mlp" --batch=4 $loss --run-pass=none >/dev/full 2>messages
check "a full disk under the text of a program" [ $? -eq 1 ]
check "which is said" [ -s messages ]
# A file that may not grow is like a disk that is full. 16 blocks of 512 bytes: less than any output here.
limited() { (ulimit -f 16 && "$@"); }
refused "no room for the source" 'error: ' limited "$actnnc" "$models/resnet20.onnx" --batch=4 $loss -o out/train.c
refused "no room for the report" 'error: ' limited "$actnnc" "$models/resnet20.onnx" --batch=4 $loss --report=out/report.json
refused "no room for a checkpoint" 'out/w.safetensors' limited ./train --quiet --steps 2 --data $image --data $labels \
  --checkpoint out/w.safetensors
refused "no room for the export" 'out/w.onnx' limited ./train --quiet --steps 2 --data $image --data $labels --export out/w.onnx
refused "no room for gradients" 'out/g.safetensors' limited ./train --quiet --data $image --data $labels --dump-gradients out/g.safetensors
finish
