#!/bin/sh
# causal.t: under a causal mask, attention's probabilities are saved without their zeros, whichever way the mask is spelled; the mean
# gradient over 200 draws is the exact one (see unbiased.t for the test's terms).
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/block.sh"
options="--batch=8 --loss=softmax-cross-entropy --attention=separate"
data="--data x=data/x.npy --data labels=data/labels.npy --seed 3 --quiet"

for kind in where add; do
  write_block $kind >block.onnxtxt
  rm -rf data dumps
  # shellcheck disable=SC2086
  {
    mkdir data && "$oracle" inputs block.onnxtxt 8 3 data &&
      build_trainer exact block.onnxtxt $options --level=L0 &&
      build_trainer coded block.onnxtxt $options --bits=2 --verify-each --dump-passes=dumps --print-memory >memory &&
      ./exact $data --steps 3 --checkpoint weights.safetensors &&
      ./exact $data --weights weights.safetensors --dump-gradients exact.safetensors &&
      ./coded $data --weights weights.safetensors --variance 200 --gradient-reference exact.safetensors >table
  } >log 2>&1 || { not_ok "$kind: runs" log; continue; }
  dump=$(echo dumps/*-quantize.onnxtxt)
  check "$kind: probabilities are packed once, and unpacked for each product" \
    test "$(grep -c '= actnn.PackTriangle[<(]' "$dump")" -eq 1 -a "$(grep -c '= actnn.UnpackTriangle[<(]' "$dump")" -eq 2
  # 8 samples, 2 heads, 16 * 17 / 2 of 16 * 16 probabilities; a framework keeps all of them.
  check "$kind: they are coded as probabilities" grep -q "PackTriangle  *16384 .*square/stochastic" memory
  awk '$1 == "(all)" { found = 1; exit $6 > 4 * $7 || $9 > 4 || $9 < -4 } END { if (!found) exit 1 }' table >verdict
  if [ $? -eq 0 ]; then ok "$kind: unbiased"; else not_ok "$kind: unbiased" table; fi
done

# A mask that leaves something above the diagonal is none.
write_block where | sed 's/{1, 0, /{1, 1, /' >open.onnxtxt
"$actnnc" open.onnxtxt $options --bits=2 --dump-passes=open -o open.c >log 2>&1
check "an open mask packs nothing" test "$(grep -c PackTriangle "$(echo open/*-quantize.onnxtxt)")" -eq 0
finish
