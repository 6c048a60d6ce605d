#!/bin/sh
# attention.t: a transformer block with dropout behind its softmax, GELU as exporters spell it, and both normalizations of rows:
# what is coded in place of what, and that the mean gradient over 400 draws is the exact one (see unbiased.t for the test's terms;
# a normalization's bias of Var / n is small beside these draws).
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/block.sh"
. "$top_srcdir/tests/training/unbiased.sh"
draws=400

write_block >block.onnxtxt
mkdir data && "$oracle" inputs block.onnxtxt 8 3 data >log 2>&1 || { not_ok "inputs" log; finish; exit 1; }
options="--batch=8 --loss=softmax-cross-entropy --attention=separate"
data="--data x=data/x.npy --data labels=data/labels.npy --seed 3 --quiet"
# shellcheck disable=SC2086
{
  build_trainer exact block.onnxtxt $options --level=L0 &&
    build_trainer coded block.onnxtxt $options --bits=2 --verify-each --dump-passes=dumps --print-memory >memory &&
    ./exact $data --steps 3 --checkpoint weights.safetensors &&
    ./exact $data --weights weights.safetensors --dump-gradients exact.safetensors &&
    ./coded $data --weights weights.safetensors --variance $draws --gradient-reference exact.safetensors >table &&
    ./coded $data --weights weights.safetensors --variance $draws --variance-by-save 60 >alone &&
    build_trainer adaptive block.onnxtxt $options --compression=12 --optimizer=adamw &&
    ./adaptive $data --steps 1 --checkpoint early.safetensors &&
    ./adaptive $data --steps 21 --checkpoint part.safetensors &&
    ./adaptive $data --resume part.safetensors --steps 48 --checkpoint part.safetensors &&
    ./adaptive $data --steps 48 --checkpoint whole.safetensors
} >log 2>&1 || { not_ok "runs" log; finish; exit 1; }

dump=$(echo dumps/*-quantize.onnxtxt)
count() { grep -c "= $1[<(]" "$dump"; }
check "GELU is one operator, and its slope is saved" test "$(count Gelu)" -ge 1 -a "$(count actnn.GeluSlope)" -eq 1
check "softmax's gradient reads the probabilities once" test "$(count actnn.SoftmaxGradAlong)" -eq 1 -a "$(count actnn.SoftmaxGrad)" -eq 0
check "dropout is replayed for the probabilities' other reader" test "$(count actnn.DropoutReplay)" -eq 2
check "normalized rows are saved, and results rebuilt from them" test "$(count actnn.NormalizedRowsGrad)" -eq 2 -a "$(count actnn.DequantizeAffine)" -ge 2
for what in "p .*square/stochastic" "g:GeluSlope .*fixed/dither" "n1:Standardize .*even/dither" "q .*even/dither"; do
  check "coded: $what" grep -q "^$what" memory
done

check "unbiased" is_unbiased table

# Codes are independent: what each does alone adds up to what all do together.
check "the noise of the values adds up" awk '$1 == "(all)" && NF > 8 { found = 1; exit $5 < 0.85 || $5 > 1.18 } END { if (!found) exit 1 }' alone

# Values whose noise goes on into other layers adapt by redraws, and an interrupted run adapts the same.
levels() { ./adaptive $data --resume "$1" --variance 2 --variance-by-save 2 | awk '$3 == "even" || $3 == "square" { print $1, $2 }'; }
check "attention's values adapt by redraws" test "$(grep -c ACTNN_ADAPTS_BY_REDRAWS adaptive.c)" -ge 6
levels early.safetensors >before
levels whole.safetensors >after
check "and their levels move" test "$(diff before after | grep -c '^>.*\(q\|k\|v\|p\|o2\) ')" -ge 1
check "the same way in a run that was interrupted" cmp part.safetensors whole.safetensors
finish
