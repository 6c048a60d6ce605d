#!/bin/sh
# training_info.t: models that bring their own training algorithm (TrainingInfoProto) train as they say: weights after three
# steps against those computed in NumPy (tests/training/models/make_training_info.py).
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
small=$top_srcdir/tests/training/models

# values CHECKPOINT NAME: the numbers of a float32 tensor, one a line.
values() {
  length=$(od -An -t u8 -N 8 "$1" | tr -d ' ')
  offsets=$(head -c $((8 + length)) "$1" | tail -c +9 | sed "s/.*\"$2\" *: *{[^}]*\"data_offsets\" *: *\[\([0-9]*, *[0-9]*\)\].*/\1/" | tr -d ' ')
  start=${offsets%,*} end=${offsets#*,}
  tail -c +$((9 + length + start)) "$1" | head -c $((end - start)) | od -An -v -t f4 | tr -s ' ' '\n' | sed '/^$/d'
}

# distance: the largest difference of two columns, and how many numbers there were.
distance() { awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > worst) worst = d } END { print NR, worst + 0 }'; }

for algorithm in momentum nesterov adam adagrad; do
  if ! build_trainer $algorithm "$small/$algorithm.onnx" --batch=6 --level=L0 --verify-each >log 2>&1; then
    not_ok "$algorithm: compiles" log
    continue
  fi
  if ! ./$algorithm --data "x=$small/training_info.x.npy" --data "labels=$small/training_info.labels.npy" --steps 3 --shuffle no --quiet \
    --checkpoint trained.safetensors >log 2>&1; then
    not_ok "$algorithm: trains" log
    continue
  fi
  for name in w1 b1 w2 b2; do values trained.safetensors $name; done >found
  paste found "$small/$algorithm.expected.txt" >both
  set -- $(distance <both)
  check "$algorithm: $1 weights after three steps, at most $2 from what the standard says" \
    sh -c "cat both; [ $1 -eq 39 ] && awk 'BEGIN { exit !($2 < 2e-6) }'"
done

# A loss that is no output: only Gradient wants it, by its name.
"$actnnc" "$small/momentum.onnx" --batch=6 --run-pass=specialize | sed '/^  float loss,$/d' >inner.onnxtxt
check "a loss that is no output: compiles" build_trainer inner inner.onnxtxt --level=L0 --verify-each
./inner --data "x=$small/training_info.x.npy" --data "labels=$small/training_info.labels.npy" --steps 3 --shuffle no --quiet \
  --checkpoint trained.safetensors >log 2>&1 || not_ok "a loss that is no output: trains" log
for name in w1 b1 w2 b2; do values trained.safetensors $name; done >found
paste found "$small/momentum.expected.txt" >both
check "a loss that is no output: the same weights" sh -c "cat both; [ $(wc -l <found) -eq 39 ] && awk '{ if (\$1 - \$2 > 2e-6 || \$2 - \$1 > 2e-6) exit 1 }' both"

# What the loss does not depend on has a gradient of zeros: b1 is only decayed, here not at all.
"$actnnc" "$small/adagrad.onnx" --batch=6 --run-pass=specialize | sed 's/(x, w1, b1)/(x, w1)/; s/norm_coefficient = [0-9.e-]*/norm_coefficient = 0.0/' >apart.onnxtxt
check "a parameter apart from the loss: compiles" build_trainer apart apart.onnxtxt --level=L0 --verify-each
./apart --data "x=$small/training_info.x.npy" --data "labels=$small/training_info.labels.npy" --steps 3 --shuffle no --quiet \
  --checkpoint trained.safetensors >log 2>&1 || not_ok "a parameter apart from the loss: trains" log
sed -n 's/^ *float\[4\] b1 = {\(.*\)},$/\1/p' apart.onnxtxt | tr -d ' ' | tr ',' '\n' >given
values trained.safetensors b1 >found
paste given found >both
check "a parameter apart from the loss: stays what it was" sh -c \
  "cat both; [ $(wc -l <found) -eq 4 ] && awk '{ if (\$1 - \$2 > 1e-6 || \$2 - \$1 > 1e-6) exit 1 }' both"

# A seed draws nothing here, and resuming continues the model's own counter of steps.
run() { ./adam --data "x=$small/training_info.x.npy" --data "labels=$small/training_info.labels.npy" --quiet "$@"; }
run --steps 2 --checkpoint part.safetensors && run --steps 3 --resume part.safetensors --checkpoint part.safetensors
for name in w1 b1 w2 b2; do values part.safetensors $name; done >found
paste found "$small/adam.expected.txt" >both
check "adam: resumed after two steps, the same third one" sh -c "cat both; awk '{ if (\$1 - \$2 > 2e-6 || \$2 - \$1 > 2e-6) exit 1 }' both"
finish
