#!/bin/sh
# offload.t: what waits in the host's memory (--level=L4, L5), codes and values as they are, comes back as it was: a run ends where that ends
# whose saves stay in the arena, to the last bit, whether copies are made as soon as they are asked for or as late as somebody waits for them, call by call or
# recorded as a whole.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
[ -f "$top_builddir/tests/cuda/libactnn-cuda.so" ] || skip_all "no C++ compiler made the stand-in for a GPU"
SHIM_TRUSTS=1
export SHIM_TRUSTS

# number KEY FILE: of JSON
number() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$2" | head -n 1; }

# arena LEVEL MODEL OPTION...: makes ./LEVEL; what it reserves is what was planned, and where saves wait less than before: by what has left
# the pool, and more where values as they are have left a step's buffers.
arena() {
  level=$1 model=$2
  shift 2
  device=actnn-cuda && build_trainer "$level" "$model" --target=cuda --loss=softmax-cross-entropy --level="$level" --report="$level.json" "$@" &&
    "./$level" --memory --quiet >"$level.memory" && cat "$level.memory" &&
    [ "$(number arena_bytes "$level.memory")" = "$(number arena_bytes "$level.json")" ] || return 1
  [ "$level" = L3 ] && return
  exact=$(number exact_bytes "$level.memory") before=$(number arena_bytes L3.memory) now=$(number arena_bytes "$level.memory")
  stays=$(($(number arena_bytes L3.memory) - $(number stash_bytes L3.memory) + $(number window_bytes "$level.memory")))
  [ "$now" -lt "$before" ] && { [ "$exact" -gt 0 ] || [ "$now" = "$stays" ]; } &&
    [ "$(number host_bytes "$level.memory")" = "$(($(number stash_bytes L3.memory) + exact))" ] &&
    [ "$(number host_bytes "$level.json")" = "$(($(number stash_bytes L3.memory) + exact))" ] &&
    [ "$exact" "$compared" 0 ]
}

# same COMPARED MODEL BATCH STEPS [OPTION]...: COMPARED: whether values wait as they are, -gt, or none does, -eq
same() {
  compared=$1 model=$2 batch=$3 steps=$4
  shift 4
  dimensions=$(printf '%s\n' "$@" | sed -n 's/^--dim=//p')
  # shellcheck disable=SC2086
  rm -rf data && mkdir data && "$oracle" inputs "$model" "$batch" 3 data $dimensions || return 1
  for level in L3 L4 L5; do arena $level "$model" --batch="$batch" "$@" || return 1; done
  given=$(for file in data/*.npy; do input=${file##*/}; printf ' --data %s=%s' "${input%.npy}" "$file"; done)
  end L3 stays.safetensors || return 1
  for level in L4 L5; do
    end $level early.safetensors && alike stays.safetensors early.safetensors || return 1
    SHIM_COPIES=late && export SHIM_COPIES
    end $level late.safetensors && alike stays.safetensors late.safetensors && end $level single.safetensors --profile &&
      alike stays.safetensors single.safetensors
    same=$?
    unset SHIM_COPIES
    [ $same = 0 ] || return 1
  done
}
# alike FILE FILE: checkpoints; their tensors alone where $tensors says so, for trainers that keep other values have other headers
tensors=
alike() {
  [ -n "$tensors" ] || { cmp "$1" "$2"; return; }
  for file in "$1" "$2"; do tail -c +$(($(od -An -tu8 -N8 "$file") + 9)) "$file" >"$file.tensors"; done
  [ -s "$1.tensors" ] && cmp "$1.tensors" "$2.tensors"
}
# end LEVEL FILE [OPTION]: a run's checkpoint
end() {
  level=$1 file=$2
  shift 2
  # shellcheck disable=SC2086
  "./$level" $given --eval none --steps "$steps" --seed 5 --lr 0.01 --quiet --threads 1 --checkpoint "$file" "$@" >profile
}
# poisoned MODEL BATCH STEPS [OPTION]...: the same at L5, when all that nobody has yet to read is NaN (tests/random/poison.h)
poisoned() {
  same -gt "$@" --workspace=1MiB || return 1
  # shellcheck disable=SC2086 # lists of words
  $CC -std=c11 $includes -DACTNN_NO_MAIN -Dactnn_run=poisoned_run -DMODEL=l5_model L5.c "$top_srcdir/tests/random/poison.c" \
    "$top_srcdir/tests/random/poisoned_trainer.c" ./libL5-kernels.so -L"$library" -L"$top_builddir/tests/cuda" -lactnn-cuda -lactnn \
    -Wl,-rpath,"$PWD" -o poisoned || return 1
  mv poisoned L5 && end L5 poisoned.safetensors --profile && cmp stays.safetensors poisoned.safetensors && grep 'bytes poisoned' profile
}
# values COUNT SIZE: so many numbers up to that size, none like the next
values() { awk -v count="$1" -v size="$2" 'BEGIN { for (i = 0; i < count; i++) printf "%s%.5f", i ? ", " : "", size * sin(i * 1.7 + 0.4) }'; }
# block NUMBER: names the weights of a convolution that is normalized
block() {
  printf 'float[8,8,3,3] k%s = {%s}, float[8] s%s = {1, 1, 1, 1, 1, 1, 1, 1},\n' "$1" "$(values 576 0.2)" "$1"
  printf ' float[8] t%s = {%s}, float[8] m%s = {0, 0, 0, 0, 0, 0, 0, 0}, float[8] v%s = {1, 1, 1, 1, 1, 1, 1, 1}' "$1" "$(values 8 0.1)" "$1" "$1"
}
# layer NUMBER OF TO: and applies it
layer() {
  cat <<TEXT
  c$1 = Conv <pads = [1, 1, 1, 1]> ($2, k$1)
  n$1, mean$1, variance$1 = BatchNormalization <training_mode = 1> (c$1, s$1, t$1, m$1, v$1)
  $3 = Relu (n$1)
TEXT
}
# What the first layer makes is read again by the last.
cat >skips.onnxtxt <<TEXT
<ir_version: 8, opset_import: ["" : 17]>
skips (float[N,8,12,12] image) => (float[N,10] scores)
<$(for i in 1 2 3 4 5 6; do block $i; echo ,; done) float[16,8,3,3] k7 = {$(values 1152 0.2)}, float[2304,10] w = {$(values 23040 0.05)}>
{
$(layer 1 image r1; layer 2 r1 r2; layer 3 r2 r3)
  a3 = Add (r1, r3)
$(layer 4 a3 r4; layer 5 r4 r5; layer 6 r5 r6)
  a6 = Add (r1, r6)
  c7 = Conv <pads = [1, 1, 1, 1]> (a6, k7)
  g = Tanh (c7)
  flat = Flatten (g)
  scores = MatMul (flat, w)
}
TEXT
check "convolutions, normalizations, a skip from the first layer to the last" same -eq skips.onnxtxt 4 36
check "held as bfloat16, codes of fixed bits" same -eq skips.onnxtxt 3 6 --precision=bf16 --scheme=actnn
check "nothing coded: all that is large waits as it is" poisoned skips.onnxtxt 3 4 --bits=32
check "attention, codes that adapt by steps computed twice; queries and keys as they are" same -gt "$models/decoder.onnx" 4 4 --dim=T=32 --attention=fused
check "held as bfloat16" poisoned "$models/decoder.onnx" 2 3 --dim=T=32 --attention=fused --precision=bf16
tensors=alone
check "layers that are computed again from what waits" same -gt skips.onnxtxt 8 3 --recompute=always --bits=32
finish
