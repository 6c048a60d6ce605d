#!/bin/sh
# offload_exact.t: at L4 and L5 what backward reads as it is goes through the pool, once to it and once back, where the arena becomes smaller;
# texts that name such saves wrongly are refused, and so are sources.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/passes/near.sh"

# Eight layers, whose slopes are saved beside their results; that of the first is read again by two others. Statistics, and scores that
# the loss reads at once.
{
  echo '<ir_version: 8, opset_import: ["" : 17]> deep (float[1024,128] x) => (float[1024,10] scores) <'
  for i in 1 2 3 4 5 6 7 8; do echo " float[128,128] w$i = [\"location\" : \"none\"],"; done
  echo ' float[128] one = ["location" : "none"], float[128,10] w = ["location" : "none"]> {'
  echo ' h0 = LayerNormalization <axis = -1> (x, one)'
  for i in 1 2 3 4 5 6 7 8; do
    case $i in 6 | 8) echo " s$i = Mul (h$((i - 1)), h1)" ;; *) echo " s$i = Identity (h$((i - 1)))" ;; esac
    echo " p$i = MatMul (s$i, w$i) h$i = Tanh (p$i)"
  done
  echo ' scores = MatMul (h8, w) }'
} >deep.onnxtxt
options="--loss=softmax-cross-entropy --target=cuda --level=L5"

# saves COUNT: each value once to the pool and once back, numbers from 0, nobody behind forward reads what was saved
saves() {
  [ "$(grep -c 'actnn.SaveExact<' after.onnxtxt)" = "$1" ] && [ "$(grep -c 'actnn.RestoreExact<' after.onnxtxt)" = "$1" ] || return 1
  i=0
  while [ $i -lt "$1" ]; do
    [ "$(grep -c "SaveExact<number = $i," after.onnxtxt)" = 1 ] && [ "$(grep -c "RestoreExact<number = $i," after.onnxtxt)" = 1 ] || return 1
    i=$((i + 1))
  done
  for value in $(sed -n 's/.*actnn.SaveExact<.*>(\(.*\)).*/\1/p' after.onnxtxt); do
    ! grep -E 'phase = "(backward|recompute|update)"' after.onnxtxt | grep -E "[(, ]$value[,)]" || return 1
  done
}

pass_options=$options
# shellcheck disable=SC2086
before deep.onnxtxt offload-exact $options --bits=32
cp before.onnxtxt exact.onnxtxt
changed "what is read much later" '' 'actnn.SaveExact<' 17
check "comes back once, whoever reads it" saves 17
check "also where several read it" sh -c 'grep "SaveExact.*(h1)" after.onnxtxt'
check "scores and statistics stay" sh -c '! grep -E "SaveExact.*\((scores|one)" after.onnxtxt && grep "Softmax" after.onnxtxt'
cp after.onnxtxt before.onnxtxt
changed "a second time there is nothing to do" '' 'actnn.SaveExact<' 17
check "it is the same text" sh -c 'sed "/^#/d" before.onnxtxt >a; sed "/^#/d" after.onnxtxt >b; cmp a b'
cp after.onnxtxt good.onnxtxt
cp exact.onnxtxt before.onnxtxt
pass_options="--loss=softmax-cross-entropy --target=cuda --level=L3"
changed "at L3 nothing leaves" '' 'actnn.SaveExact<' 0
pass_options=$options
sed '/^ [sp][2-8]/d; s/(h8, w)/(h1, w)/' deep.onnxtxt >shallow.onnxtxt
# shellcheck disable=SC2086
before shallow.onnxtxt offload-exact $options --bits=32
changed "nor where a window would take more than what leaves" '' 'RestoreExact' 0

# shellcheck disable=SC2086
before deep.onnxtxt offload-exact $options --bits=32 --precision=bf16
changed "values held as bfloat16 come back as such" '' 'RestoreExact<number = [0-9]*, to = 16,' 17
# shellcheck disable=SC2086
before "$models/decoder.onnx" offload-exact $options --dim=T=32 --batch=2 --attention=fused --recompute=always --bits=8
changed "what layers are computed again from comes back for that" '' 'RestoreExact<.*phase = "recompute"' 2

# ---- texts that are wrong
pass=none
refused() {
  what=$1 edit=$2
  : >messages
  perl -0777 -pe "$edit" good.onnxtxt >wrong.onnxtxt
  if ! cmp -s good.onnxtxt wrong.onnxtxt && ! "$actnnc" wrong.onnxtxt --run-pass=none >output 2>messages &&
    [ "$(grep -c 'error: ' messages)" = 1 ] && grep -q -e "${3:-rule 'saved as it is'}" messages; then ok "$what"; else not_ok "$what" messages; fi
}
refused "a number that is not there" 's/SaveExact<number = 2,/SaveExact<number = 99,/'
refused "the number of another" 's/SaveExact<number = 2,/SaveExact<number = 3,/'
refused "no number" 's/RestoreExact<number = 2, /RestoreExact</'
refused "a number below 0" 's/SaveExact<number = 0,/SaveExact<number = -9223372036854775808,/'
refused "a number far away" 's/RestoreExact<number = 0,/RestoreExact<number = 9223372036854775807,/'
refused "another size" 's/uint8\[1024,128\]/uint8[1024,127]/'
refused "another type" 's/(RestoreExact<number = 2, to = )1,/${1}16,/; s/\bfloat(\[1024,128\] v\d+)/bfloat16$1/g'
refused "a restore before its save" 's/\n( *\S+ = actnn.SaveExact<number = 2,[^\n]*)\n(.*?)\n( *\S+ = actnn.RestoreExact<number = 2,[^\n]*)\n/\n$3\n$2\n$1\n/s' \
  "error: 'v[0-9]*' is not an input, an initializer or an earlier result"
finish
