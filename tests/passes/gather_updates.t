#!/bin/sh
# gather_updates.t: on a GPU updates wait for the end of backward, all of them where that takes no memory, otherwise the small ones.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# dump PASS FILE MODEL [OPTION]...: the program after a pass
dump() {
  pass=$1 file=$2
  shift 2
  "$actnnc" "$@" --dump-after="$pass" >"$file" 2>log || not_ok "there is a program after $pass" log
}
# runs FILE: how many runs of updates a program has, one behind the other without another node between
runs() {
  sed -n '/phase = "initialize"/d; /phase = "evaluate"/d; s/.* = actnn\.\([A-Z][A-Za-z]*\)<.*phase = "update".*/update/p; t; s/^  [^ ].* = .*(.*/other/p' "$1" |
    uniq | grep -c update
}
# arena MODEL [OPTION]...: bytes planned
arena() {
  "$actnnc" "$@" --report=plan.json --check >log 2>&1
  sed -n 's/.*"arena_bytes": \([0-9]*\),.*/\1/p' plan.json
}

convolutional="$models/resnet20.onnx --batch=16 --loss=softmax-cross-entropy"
dump schedule early $convolutional --target=cuda
dump gather-updates late $convolutional --target=cuda
dump gather-updates processor $convolutional
before=$(runs early) after=$(runs late)
check "a convolutional net: $before runs of updates become $after" [ "$after" -gt 0 -a $((after * 5)) -lt "$before" ]
check "they are the same updates" sh -c 'for when in early late; do grep -o "phase = .update.>(\"[^\"]*\"" $when | sort >$when.updates; done
  [ -s early.updates ] && cmp early.updates late.updates'
check "on a processor they stay where they are" [ "$(runs processor)" -eq "$before" ]

# wide BATCH: weights of 256 KiB, and so much of what they are multiplied by
wide() {
  awk -v batch="$1" 'BEGIN {
    print "<ir_version: 8, opset_import: [\"\" : 17]> g (float[" batch ",256] x0) => (float[" batch ",256] x8) <float[256,256] w0 = [\"location\" : \"none\"]"
    for (i = 1; i < 8; i++) print ", float[256,256] w" i " = [\"location\" : \"none\"]"
    print "> {"
    for (i = 0; i < 8; i++) print "y" i " = MatMul (x" i ", w" i ") x" i + 1 " = Tanh (y" i ")"
    print "}" }' >"wide$1.onnxtxt"
}
for batch in 4 4096; do
  wide $batch
  dump gather-updates "late$batch" "wide$batch.onnxtxt" --loss=mse --optimizer=adam --bits=32 --target=cuda --workspace=1MiB
done
check "gradients that would take more than all else do not wait" [ "$(runs late4)" -eq 8 ]
check "those that find room where values were saved all wait" [ "$(runs late4096)" -eq 1 ]
gpu=$(arena wide4096.onnxtxt --loss=mse --optimizer=adam --bits=32 --target=cuda --workspace=1MiB)
processor=$(arena wide4096.onnxtxt --loss=mse --optimizer=adam --bits=32)
check "and no memory is taken for it: $gpu bytes, a MiB of them the library's; $processor on a processor" [ $((gpu - 1048576)) -le "$processor" ]
finish
