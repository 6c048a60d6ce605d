#!/bin/sh
# split_loss.t: class scores, their loss and its gradient some rows at a time. Gradients are the double-precision evaluator's; a run loses and
# guesses what it does with all scores at once; labels that are ignored, and ones that are none; the arena is as planned, and smaller.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/same.sh"

# Twelve tokens' embeddings through one layer to 700 classes with a bias, and a loss of the model's own; $1: its attributes, $2: the type of labels.
tokens() {
  cat <<END
<ir_version: 8, opset_import: ["" : 17]>
tokens (float[N,12,40] x, $2[N,12] labels) => (float loss, float[N,12,700] y)
<float[40,32] v, float[32,700] w, float[700] b, int64[2] rows = {-1, 700}, int64[1] all = {-1}, int64[1] v_shape = {1}>
{ h = MatMul (x, v)
  a = Tanh (h)
  f = Reshape (a, flat)
  s = Gemm (f, w, b)
  y = Reshape (s, three)
  r = Reshape (y, rows)
  t = Reshape (labels, all)
  loss = SoftmaxCrossEntropyLoss <$1> (r, t) }
END
}

# model NAME ATTRIBUTES [TYPE]: the same with weights drawn here.
model() {
  tokens "$2" "${3:-int64}" | perl -e 'srand 11; local $/; my $text = <STDIN>;
    my $draw = sub { my ($count, $size) = @_; "{" . join(", ", map { sprintf "%.4f", (rand() - 0.5) * $size } 1 .. $count) . "}" };
    $text =~ s/float\[40,32\] v/"float[40,32] v = " . $draw->(1280, 0.6)/e;
    $text =~ s/float\[32,700\] w/"float[32,700] w = " . $draw->(22400, 0.8)/e;
    $text =~ s/float\[700\] b/"float[700] b = " . $draw->(700, 0.5)/e;
    $text =~ s/int64\[1\] v_shape = \{1\}/int64[2] flat = {-1, 32}, int64[3] three = {-1, 12, 700}/;
    print $text' >"$1.onnxtxt"
}

# built NAME MODEL [OPTION]...: trainers NAME.whole and NAME.parts
built() {
  name=$1
  shift
  build_trainer "$name.whole" "$@" --split-loss=never >log 2>&1 && build_trainer "$name.parts" "$@" --split-loss=always --verify-each >>log 2>&1 &&
    grep -q CrossEntropyRows "$name.parts.c" && ! grep -q CrossEntropyRows "$name.whole.c"
}

# same_curves NAME [OPTION]...: losses, guesses and evaluations of six steps, alike but for rounding.
same_curves() {
  name=$1
  shift
  for how in whole parts; do
    # shellcheck disable=SC2086
    train "$name.$how" "$how" --lr 0.05 $evaluation "$@" || return 1
  done
  perl -e 'my @runs = map { my $file = $_; open my $in, "<", $file or die; [map { [/"(?:loss|accuracy|eval_loss|eval_accuracy)": *([-0-9.e+]+)/g] } <$in>] } @ARGV;
    my ($numbers, $wrong) = (0, 0);
    for my $line (0 .. $#{$runs[0]}) { for my $i (0 .. $#{$runs[0][$line]}) {
      my ($a, $b) = ($runs[0][$line][$i], $runs[1][$line][$i]); $numbers++;
      $wrong++, print "$line: $a, $b\n" unless defined $b && abs($a - $b) <= 2e-4 * (1 + abs $a) } }
    print "$numbers numbers\n"; exit !($numbers >= 12 && !$wrong)' whole.log parts.log
}

# gradients NAME MODEL BATCH [DIM=N]
gradients() {
  evaluation=$(echo "$data" | sed 's/--data/--eval/g')
  # shellcheck disable=SC2086
  ./"$1.parts" $data --steps 1 --lr 0.02 --checkpoint weights.safetensors --quiet >log 2>&1 &&
    ./"$1.parts" $data --weights weights.safetensors --dump-gradients gradients.safetensors --quiet >>log 2>&1 &&
    LOSS=$loss "$oracle" compare "$2" "$3" data weights.safetensors gradients.safetensors 1e-4 $4
}

# relabel CLASSES NUMBER: labels modulo so many classes, the first of them NUMBER.
relabel() {
  perl -e 'my ($classes, $number) = @ARGV; local $/; open my $in, "<", "data/labels.npy" or die; binmode $in; my $bytes = <$in>;
    my $at = 10 + unpack "v", substr $bytes, 8, 2; my @label = map { $_ % $classes } unpack "q*", substr $bytes, $at;
    $label[0] = $number; open my $out, ">", "data/labels.npy" or die; binmode $out; print $out substr($bytes, 0, $at), pack "q*", @label' "$@"
}

refuses_label() {
  # shellcheck disable=SC2086
  ! ./tokens.parts $data --steps 1 --quiet >answer 2>&1 && grep -q "1 of 128 labels are not in 0..699" answer
}

# smaller: with enough rows the scores are split by themselves; the arena is what was planned, and smaller by the most of all scores.
smaller() {
  build_trainer all tokens.onnxtxt --batch=512 --level=L0 --split-loss=never && build_trainer some tokens.onnxtxt --batch=512 --level=L0 || return 1
  for trainer in all some; do
    "./$trainer" --memory | sed -n 's/.*"arena_bytes": *\([0-9]*\).*"planned_arena_bytes": *\([0-9]*\).*/\1 \2/p' | head -n 1
  done | tee planned
  tr '\n' ' ' <planned | awk '{ exit !(NF == 4 && $1 == $2 && $3 == $4 && $3 + 30e6 < $1) }'
}

loss=output options="--batch=32 --level=L0"
for case in int64:'reduction = "mean"' int64:'reduction = "sum"' int64:'ignore_index = 3' int32:'ignore_index = 3'; do
  attributes=${case#*:}
  model tokens "$attributes" "${case%%:*}"
  # shellcheck disable=SC2086
  check "$case: compiles" built tokens tokens.onnxtxt $options
  random_data tokens.onnxtxt x 32
  relabel 8 3
  check "$case: gradients" gradients tokens tokens.onnxtxt 32
  check "$case: a run" same_curves tokens
done
relabel 700 700
check "a label that is no class is refused" refuses_label
check "many rows are split by themselves" smaller
# Of no rows there are no parts (found by a fuzzer).
sed 's/float\[N,12,40\]/float[0,12,40]/; s/\[N,12\] labels/[0,12] labels/; s/float\[N,12,700\]/float[0,12,700]/' tokens.onnxtxt >none.onnxtxt
check "a batch of nothing" sh -c "'$actnnc' none.onnxtxt --split-loss=always --no-verify -o none.c && ! grep -q CrossEntropyRows none.c"
loss=softmax-cross-entropy
random_data "$models/decoder.onnx" tokens 16 T=32
check "decoder: compiles" built decoder "$models/decoder.onnx" --batch=16 --dim T=32 --loss=softmax-cross-entropy --level=L0
check "decoder: gradients" gradients decoder "$models/decoder.onnx" 16 T=32
check "decoder: a run, its last batch not full" same_curves decoder
finish
