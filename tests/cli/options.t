#!/bin/sh
# options.t: options of the translator that say how values are coded, what is reported, and how much memory there is.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/block.sh"

write_block >block.onnxtxt
# Attention by its nodes has probabilities that are coded.
options="--batch=8 --loss=softmax-cross-entropy --attention=separate"

# translate OPTION...: actnnc on the block
translate() {
  # shellcheck disable=SC2086
  "$actnnc" block.onnxtxt -o train.c $options "$@"
}

# refused WHAT TEXT OPTION...: exit code 1, a message with TEXT, nothing written
refused() {
  what=$1 text=$2
  shift 2
  rm -f train.c
  translate "$@" >log 2>&1
  code=$?
  if [ $code -eq 1 ] && grep -q -e "$text" log && [ ! -e train.c ]; then ok "$what is refused: $(head -n 1 log)"; else not_ok "$what is refused" log; fi
}

# roundings OPTION...: which the saved values have
roundings() { translate "$@" --dump-after=quantize 2>&1 | tr -s ' \n' '\n\n' | grep -x 'dither\|stochastic' | sort -u | tr '\n' ' '; }

check "auto rounds by value" test "$(roundings --rounding=auto)" = "dither stochastic "
check "stochastic rounds all alike" test "$(roundings --rounding=stochastic)" = "stochastic "
check "dither all but what is spaced unevenly" test "$(roundings --rounding=dither)" = "dither stochastic "
refused "another rounding" "rounding" --rounding=up
refused "no bits at all" "bits" --bits=0
refused "a number of bits with something behind it" "bits" --bits=2x
refused "less than no compression" "compression" --compression=0.5
refused "a scheme that there is not" "scheme" --scheme=mesa
refused "a level that there is not" "level" --level=L9
refused "recomputation by a word that there is not" "recompute" --recompute=often
refused "attention by a word that there is not" "attention" --attention=flash
refused "an optimizer that there is not" "lion" --optimizer=lion
refused "an optimizer's option that it does not have" "beta1" --optimizer=sgd,beta1=0.9
refused "a loss that there is not" "hinge" --loss=hinge
refused "a pass that there is not" "tidy" --run-pass=tidy
refused "memory for next to nothing" "budget" --memory-budget=4KiB

refused "more compression than fixed bits give" "asks for at most" --level=L2 --bits=8 --compression=20 --recompute=never
refused "compression without codes" "asks for at most" --bits=32 --recompute=never --compression=1000
check "less than fixed bits give is no matter" translate --level=L2 --bits=3 --compression=1.5

# saved NAME OPTION...: bytes kept for backward, as planned and in FP32
saved() {
  "$actnnc" "$models/resnet20.onnx" -o train.c --batch=16 --loss=softmax-cross-entropy --report=saved.json "$@" >log 2>&1
  sed -n 's/.*"saved_bytes": *\([0-9]*\), *"saved_bytes_fp32": *\([0-9]*\).*/\1 \2/p' saved.json
}
for compression in 6.5 12 20; do
  found=$(saved --compression=$compression --recompute=never)
  check "--compression=$compression is kept to, and nothing of it left: $found" awk -v found="$found" -v asked=$compression \
    'BEGIN { split(found, bytes, " "); part = bytes[1] * asked / bytes[2]; exit !(part <= 1 && part > 0.98) }'
done
shares() { "$actnnc" "$models/resnet20.onnx" -o train.c --batch=16 --loss=softmax-cross-entropy --explain-saves "$@" 2>&1 | grep -c 'shared .* by the prior'; }
check "whole bits of ActNN's scheme are nobody's to share out" [ "$(shares --scheme=actnn --bits=2)" -eq 0 ]
check "but mixed ones are" [ "$(shares --scheme=actnn --bits=2.5)" -eq 1 ]
check "and so are whole ones of the codes beyond it" [ "$(shares --bits=2)" -eq 1 ]

translate --report=plan.json --memory-budget=64MiB >log 2>&1
check "a report is JSON, and its sums are those of its parts" perl -MJSON::PP -e '
  my $plan = decode_json(do { local (@ARGV, $/) = "plan.json"; <> });
  my ($sum, $full) = (0, 0);
  for my $save (@{$plan->{saved} || $plan->{saves} || $plan->{saved_values}}) { $sum += $save->{bytes}; $full += $save->{bytes_fp32} }
  exit !($sum && $sum <= $plan->{saved_bytes} && $full <= $plan->{saved_bytes_fp32} && $plan->{arena_bytes} <= 64 << 20)'
sed 's/\[g\] g = Mul/[g] "<script>\&" = Mul/; s/MatMul (g, down)/MatMul ("<script>\&", down)/' block.onnxtxt >names.onnxtxt
# shellcheck disable=SC2086
"$actnnc" names.onnxtxt -o train.c $options --report=plan.html >log 2>&1
check "a report is a page" grep -q -i '<!doctype html>' plan.html
check "whose names are words" sh -c 'grep -q "<td>_script__<td>" plan.html && ! grep -q "<script>" plan.html'
check "a workspace for a GPU is planned as asked for" sh -c '
  "$0" block.onnxtxt -o gpu.c --batch=8 --loss=softmax-cross-entropy --attention=separate --target=cuda --workspace=3MiB --print-memory >memory 2>&1 &&
  grep -q "workspace *3145728" memory' "$actnnc"
finish
