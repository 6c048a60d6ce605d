#!/bin/sh
# command_line.t: what the translator's options take at their limits, where outputs go, and what files hold.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
mlp=$models/mlp.onnx
loss=--loss=softmax-cross-entropy

# refused WHAT MESSAGE OPTION...: exit code 1 and one message
refused() {
  what=$1 message=$2
  shift 2
  "$actnnc" "$@" >output 2>messages
  code=$?
  if [ $code -eq 1 ] && [ "$(grep -c 'error: ' messages)" -eq 1 ] && grep -q -e "$message" messages && [ ! -s output ]; then
    ok "$what"
  else
    not_ok "$what" messages
  fi
}

# ---- values of options
for option in --batch=4x --batch=1099511627776 --memory-budget=1e15GB --memory-budget=0 --memory-budget=3XB --level=L6 --level=L12 --profile-use= \
  --seed=3x --seed=7.5 --compression=much --compression=2x --compression=2000 --workspace=wide --target=gpu --recompute=1e9PB; do
  refused "$option" "bad value: $option" "$mlp" $loss "$option" --check
done
refused "--dim without a value" "missing value after: --dim" "$mlp" $loss --dim
refused "-o without a value" "missing value after: -o" "$mlp" $loss -o
refused "--dim N=0 in two words" "bad value: N=0" "$mlp" $loss --dim N=0 --check
for level in L4 L5; do
  refused "codes in the host's memory on the processor, $level" "while a GPU computes: give --target=cuda too" "$models/lenet5.onnx" $loss --level=$level
  check "and on a GPU" "$actnnc" "$models/lenet5.onnx" --batch=4 $loss --level=$level --target=cuda --check
done
refused "a model that is called -" "^-: error: " - --batch=4 --check
many() { i=0; while [ $i -lt "$1" ]; do echo "$2$i$3"; i=$((i + 1)); done; }
# shellcheck disable=SC2046
refused "more than 64 dimensions" "bad value: --dim=D64=4" "$mlp" $loss $(many 65 --dim=D =4) --check
# shellcheck disable=SC2046
refused "more than 64 patterns" "bad value: --freeze=p64" "$mlp" $loss $(many 65 --freeze=p) --check
for option in --target=c --recompute=auto --seed=0 --rounding=auto --memory-budget=64MB; do
  check "$option is taken" "$actnnc" "$mlp" --batch=4 $loss "$option" --check
done
"$actnnc" >output 2>messages
check "without a word usage is told as a mistake" sh -c "[ $? -eq 1 ] && [ ! -s output ] && grep -q '^actnnc MODEL.onnx' messages"
"$actnnc" --help >output 2>messages
check "--help is no mistake" sh -c "[ $? -eq 0 ] && [ ! -s messages ] && grep -q '^actnnc MODEL.onnx' output"

# ---- a budget beside bits
budget() { "$actnnc" "$models/lenet5.onnx" --batch=16 $loss --print-memory "$@" | awk '/coded saves/ { print $3 }'; }
check "bits that fit a budget stay" [ "$(budget --bits=2)" -eq "$(budget --bits=2 --memory-budget=1GiB)" ]
check "without bits a budget decides" [ "$(budget --bits=2)" -lt "$(budget --memory-budget=1GiB)" ]
refused "bits that do not fit a budget" "needs at least [0-9]* bytes at these --bits; the budget is 65536" "$models/lenet5.onnx" \
  --batch=16 $loss --bits=2 --memory-budget=64KiB --check
check "and fewer are advised" grep -q 'fewer --bits' messages
refused "exact values that do not fit a budget" "at these --bits" "$models/lenet5.onnx" --batch=16 $loss --level=L0 --memory-budget=64KiB --check

# ---- dumps and reports
refused "dumps below a folder that there is not" "cannot make the folder" "$mlp" --batch=4 $loss --dump-passes=absent/dumps
"$actnnc" "$mlp" --batch=4 $loss --dump-passes >output 2>&1
check "dumps without a folder go to standard output" [ "$(grep -c '^# ---- after' output)" -eq "$("$actnnc" --list-passes | grep -c '^[a-z]')" ]
mkdir there && "$actnnc" "$mlp" --batch=4 $loss --dump-passes=there --check >log 2>&1
check "dumps into a folder that there is" test -s there/01-specialize.onnxtxt
"$actnnc" "$mlp" --batch=4 $loss --report=r --check >log 2>&1
check "a report of a short name is JSON" perl -MJSON::PP -e 'decode_json(do { local (@ARGV, $/) = "r"; <> })'
"$actnnc" "$models/mlp.onnxtxt" --run-pass=none >text.onnxtxt && "$actnnc" "$models/mlp.onnxtxt" --run-pass=none -o view.onnx &&
  "$actnnc" view.onnx --run-pass=none >back.onnxtxt
operators() { grep -o '= [A-Za-z.]*[<(]' "$1"; }
check "a program as a binary model is that program" [ "$(head -c 1 view.onnx | od -An -tx1)" = " 08" ]
check "read back" [ "$(operators text.onnxtxt)" = "$(operators back.onnxtxt)" ]
"$actnnc" "$models/mlp.onnxtxt" --run-pass=none -o m.txt
check "a program of a short name is text" cmp m.txt text.onnxtxt
cat >nothing.onnxtxt <<'END'
<ir_version: 8, opset_import: ["" : 17]>
nothing (float[N,4] x) => (float l) <float[4] w = {1, 2, 3, 4}> { y = Add (x, w) l = ReduceMean <keepdims = 0> (y) }
END
"$actnnc" nothing.onnxtxt --batch=2 --loss=output --print-memory --explain-saves --report=nothing.html >output 2>&1
check "where nothing is saved no ratio is told" sh -c \
  'grep -q "^saved for backward *0 bytes; uncompressed 0$" output && ! grep -q "values shared" output'
check "and the report's table is empty" sh -c '[ "$(grep -c "<tr><td>" nothing.html)" -eq 0 ] && grep -q "Kept for backward: 0 bytes" nothing.html'

# explained OPERATOR LINE...: what --explain says of it
explained() {
  operator=$1
  shift
  "$actnnc" "--explain=$operator" >output 2>&1
  for line in "$@"; do check "--explain=$operator: $line" grep -q -e "$line" output; done
}
explained Conv '^Conv$' '^  signature ' '^  gradient    x = ' '^  linear in   x w'
explained SumTo '^actnn.SumTo$' '^  gradient    none$'
explained Sigmoid '^  expression ' '^  linear in   nothing'
explained Floor '^  gradient    zero$'
explained Shape '^Shape$'
explained LeakyRelu '^  expression '
explained Sum '^Sum$' '^  written as others: see --dump-after=specialize$'

# ---- names of outputs
# written FILE NAME FILE...: -o FILE makes a trainer of that name, and these files
written() {
  output=$1 name=$2
  shift 2
  "$actnnc" named.onnxtxt --batch=2 --loss=output -o "$output" >log 2>&1
  for file in "$@"; do [ -s "$file" ] || echo "no $file" >>log; done
  grep -q "${name}_train\|$name" "$output" || echo "no $name in it" >>log
  if [ -s log ]; then not_ok "-o $output" log; else ok "-o $output"; fi
}
awk 'BEGIN { print "<ir_version: 8, opset_import: [\"\" : 17]>\nnamed (float[N,1100] x) => (float l)"
  printf "<float[1100] \"w\\\"\\\\x\t1\" = {"; for (i = 0; i < 1100; i++) printf "%s%d", i ? ", " : "", i % 7
  print "}>\n{ y = Add (x, \"w\\\"\\\\x\t1\") l = ReduceMean <keepdims = 0> (y) }" }' >named.onnxtxt
mkdir a.b
long=$(awk 'BEGIN { for (i = 0; i < 70; i++) printf "n" }')
written train.c train train.h train.safetensors
written plain plain plain.h plain.safetensors
written a.b/plain plain a.b/plain.h a.b/plain.safetensors
written a.b/Big-Name.x.c big_name a.b/big_name.h a.b/Big-Name.x.safetensors
written 9lives.c trainer_9lives trainer_9lives.h 9lives.safetensors
written '{}.c' trainer___ trainer___.h
written "$long.c" "$(echo "$long" | cut -c1-60)" "$(echo "$long" | cut -c1-60).h"

# header FILE: the JSON in front of tensors
header() { perl -e 'open F, "<", shift; binmode F; read F, $n, 8; read F, $h, unpack "Q<", $n; print $h' "$1"; }
header train.safetensors >header.json
check "names with quotes and tabs are JSON's" perl -MJSON::PP -e \
  'my $h = decode_json(do { local (@ARGV, $/) = "header.json"; <> }); exit !($h->{"w\"\\x\t1"}{dtype} eq "F32")'
awk 'function list(n, m,   i, t) { for (i = 0; i < n; i++) t = t (i ? ", " : "") i % m; return t }
  BEGIN { print "<ir_version: 8, opset_import: [\"\" : 17]>\ntypes (float[N,2000] x) => (float l)"
  print "<float[2000] w = {" list(2000, 7) "}, bool[2000] b = {" list(2000, 2) "},"
  print "int64[2000] i = {" list(2000, 1999) "}, int32[2000] j = {" list(2000, 1999) "},"
  print "uint8[70000] u = {" list(70000, 251) "}, float[2000] same = {" list(2000, 1) "}>"
  print "{ a = Where (b, x, w) c = Gather <axis = 1> (a, i) d = Gather <axis = 1> (c, j) e = Cast <to = 1> (u) f = ReduceMean <keepdims = 0> (e)"
  print "g = Add (d, f) k = Mul (g, same) l = ReduceMean <keepdims = 0> (k) }" }' >types.onnxtxt
check "constants of all types: compiles" build_trainer types types.onnxtxt --batch=2 --loss=output
header types.safetensors >header.json
check "they are held as what kernels read" perl -MJSON::PP -e 'my $h = decode_json(do { local (@ARGV, $/) = "header.json"; <> });
  exit !($h->{b}{dtype} eq "BOOL" && $h->{i}{dtype} eq "I64" && $h->{j}{dtype} eq "I64" && $h->{u}{dtype} eq "U8" && $h->{w}{dtype} eq "F32")'
perl -e '$h = "{\x27descr\x27: \x27<f4\x27, \x27fortran_order\x27: False, \x27shape\x27: (4, 2000), }"; $h .= " " x (117 - length $h) . "\n";
  print "\x93NUMPY\x01\x00", pack("v", length $h), $h, pack("f<*", map { $_ % 5 } 1 .. 8000)' >x.npy
check "and read" sh -c './types --data x=x.npy --steps 2 --quiet'

# ---- files that cannot be put in place are taken back
mkdir -p stuck/new.c/full stuck/old.c/full
echo before >stuck/old.h
refused "a folder where the source goes" "stuck/new.c: error: cannot write it" named.onnxtxt --batch=2 --loss=output -o stuck/new.c
check "the header, which was not there, is not" [ "$(ls stuck)" = "$(printf 'new.c\nold.c\nold.h')" ]
refused "the same once more" "stuck/old.c: error: cannot write it" named.onnxtxt --batch=2 --loss=output -o stuck/old.c
check "the header, which was there, is what it was" sh -c '[ "$(cat stuck/old.h)" = before ] && [ "$(ls stuck | wc -l)" -eq 3 ]'
finish
