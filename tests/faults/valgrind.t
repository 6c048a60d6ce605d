#!/bin/sh
# valgrind.t: translator and trainers under valgrind's memcheck: no value is used before it is set, nothing read or written beyond its end,
# and nothing forgotten. The sanitizers see the same sources, but not what libraries are handed.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
command -v valgrind >/dev/null || skip_all "valgrind is not installed"
[ -z "$SANITIZERS" ] || skip_all "valgrind and sanitizers do not go together"

# oneDNN 2.6.3's product for AVX2 reads a vector beyond a buffer of its own; the one for SSE 4.1 does not.
DNNL_MAX_CPU_ISA=SSE41
export DNNL_MAX_CPU_ISA
clean() { valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --trace-children=yes "$@"; }
valgrind -q --error-exitcode=9 /bin/true >log 2>&1 || skip_all "valgrind does not run here: $(head -n 1 log)"
translator=$library/actnnc
[ -x "$translator" ] || translator=$actnnc

# model NAME INPUT BATCH [OPTION]...
model() {
  name=$1 input=$2 batch=$3
  shift 3
  rm -rf data && mkdir data && "$oracle" inputs "$models/$name.onnx" "$batch" 3 data "$@" >log 2>&1 || { not_ok "$name: inputs" log; return; }
  options="--batch=$batch --loss=softmax-cross-entropy"
  for dimension in "$@"; do options="$options --dim $dimension"; done
  # shellcheck disable=SC2086
  check "$name: translated" clean "$translator" "$models/$name.onnx" -o trainer.c $options --compression=12
  check "$name: compiles" compile_trainer trainer
  data="--data $input=data/$input.npy --data labels=data/labels.npy --threads 1 --quiet"
  # shellcheck disable=SC2086
  check "$name: trained" clean ./trainer $data --steps 2 --checkpoint run.safetensors
  # shellcheck disable=SC2086
  check "$name: resumed, evaluated and exported" clean ./trainer $data --eval "$input=data/$input.npy" --eval labels=data/labels.npy \
    --resume run.safetensors --steps 3 --checkpoint run.safetensors --export trained.onnx
}

model lenet5 image 8
model decoder tokens 2 T=16
finish
