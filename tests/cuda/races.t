#!/bin/sh
# races.t: kernels for GPUs once more, on the stand-in, with each of their accesses told to what looks for races (races.cu): two threads at
# one place with no barrier between them, misaligned accesses, indices beyond arrays; and that such kernels are noticed. Every kernel is
# launched.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
tries=$top_builddir/tests/cuda/races/tries
[ -f "$tries" ] || skip_all "no C++ compiler told what looks for races of accesses"
LD_LIBRARY_PATH=$top_builddir/tests/cuda/races:$LD_LIBRARY_PATH SHIM_TRUSTS=1 SHIM_KERNELS=$work/launched ORDINARY=1
export LD_LIBRARY_PATH SHIM_TRUSTS SHIM_KERNELS ORDINARY

# noticed NAME: a kernel with that mistake ends the program with a status of its own and a report, without it it does not
noticed() {
  "$tries" "$1" wrong >told 2>&1
  [ $? = 66 ] && grep -q "^races: .*$1<false>\|^races: .* in kernel<$1" told && "$tries" "$1" right >silent 2>&1 && [ ! -s silent ]
}
for name in $("$tries"); do
  check "a mistake is noticed: $name" noticed "$name"
done

# without_races TEST [OPERAND]...: all its points pass, and nothing is told
without_races() {
  program=$top_builddir/tests/cuda/$1
  shift
  "$program" "$@" >output 2>told
  code=$?
  cat told
  grep '^not ok' output
  [ $code = 0 ] && grep -q '^ok' output && ! grep -q '^not ok' output && ! grep -q '^races:' told
}
for test in test_ahead test_attention 'test_codes 11' test_exact test_pack test_sums test_updates test_winners test_kernels; do
  # shellcheck disable=SC2086 # a program and its operand
  check "$test" without_races $test
done

# told TRAINER OPTION...: one step and, of the same numbers, an evaluation, of which nothing is told
told() {
  given=$(for file in data/*.npy; do input=${file##*/} && printf ' --data %s=%s --eval %s=%s' "${input%.npy}" "$file" "${input%.npy}" "$file"; done)
  # shellcheck disable=SC2086 # a list of words
  "$@" $given --steps 1 --lr 0.01 --seed 3 --quiet --threads 1 2>told
  code=$?
  cat told
  [ $code = 0 ] && ! grep -q '^races:' told
}
# trainer NAME MODEL BATCH DIM=N-or-nothing OPTION...: of one batch
trainer() {
  name=$1 model=$2 batch=$3 dimension=$4
  shift 4
  rm -rf data && mkdir data && "$oracle" inputs "$model" "$batch" 5 data $dimension &&
    device=actnn-cuda && device_library=$top_builddir/tests/cuda/races && shim_flags="-DSHIM_RACES $RACES_FLAGS -nodefaultlibs" &&
    build_trainer "$name" "$model" --target=cuda --batch="$batch" ${dimension:+--dim="$dimension"} --loss=softmax-cross-entropy "$@" &&
    told "./$name"
}
check "a step of resnet20" trainer resnet20 "$models/resnet20.onnx" 2 ''
SHIM_LACKS=channels-last
export SHIM_LACKS
check "where the library has images in the plain order alone" told ./resnet20
unset SHIM_LACKS
check "a step of lenet5 in bfloat16" trainer lenet "$models/lenet5.onnx" 4 '' --precision=bf16
check "a step of the decoder in bfloat16, on tensor cores, its loss in parts" trainer decoder "$models/decoder.onnx" 16 T=32 --precision=bf16 \
  --attention=fused --split-loss=always

# every_kernel: those of the sources, by file, have been launched by what went before, and told of their accesses
every_kernel() {
  for file in "$top_srcdir"/cuda/*.cu "$top_srcdir"/cuda/*.h; do
    sed -n '/^\(TILE_\)*KERNEL$/ { n; s/(.*//; p; }' "$file" | sed "s/^/${file##*/} /"
  done | sort -u >kernels
  sed 's/^\([^ ]*\) (*\([A-Za-z_0-9]*\).*/\1 \2/' launched | sort -u >launched_kernels
  comm -23 kernels launched_kernels >missed
  cat missed
  [ -s kernels ] && [ ! -s missed ]
}
check "every kernel was launched" every_kernel
finish
