#!/bin/sh
# trainers.t: emitted trainers on a GPU, or on its stand-in: their FP32 gradients against the double-precision oracle; with codes, against
# the same trainer on the processor, which makes the same codes; checkpoints that go from one to the other.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
small=$top_srcdir/tests/training/models
[ -f "$top_builddir/tests/cuda/libactnn-cuda.so" ] || skip_all "no C++ compiler made the stand-in for a GPU"
# The stand-in leaves the device's memory open between kernels here; test_kernels and others see that nobody reaches into it.
SHIM_TRUSTS=1
export SHIM_TRUSTS

# both NAME MODEL OPTION...: the trainer for the processor, ./NAME-c, and that for a GPU, ./NAME-cuda.
both() {
  name=$1 model=$2
  shift 2
  device='' && build_trainer "$name-c" "$model" "$@" && device=actnn-cuda && build_trainer "$name-cuda" "$model" --target=cuda "$@"
}

# given DIRECTORY: arguments that feed each input.
given() {
  for file in "$1"/*.npy; do
    input=${file##*/}
    printf ' --data %s=%s' "${input%.npy}" "$file"
  done
}

# exact NAME MODEL BATCH [DIM=N]...: gradients in FP32 from weights that one step has moved.
exact() {
  name=$1 model=$2 batch=$3
  shift 3
  options=
  for dimension in "$@"; do options="$options --dim $dimension"; done
  for seed in 1 2 3; do
    rm -rf data && mkdir data && "$oracle" inputs "$model" "$batch" "$seed" data "$@" || return 1
    # shellcheck disable=SC2046,SC2086 # lists of words
    device=actnn-cuda && build_trainer "$name" "$model" --target=cuda --batch="$batch" $options --loss=softmax-cross-entropy --level=L0 &&
      ./"$name" $(given data) --steps 1 --lr 0.02 --seed "$seed" --checkpoint weights.safetensors --quiet --threads 1 &&
      ./"$name" $(given data) --seed "$seed" --weights weights.safetensors --dump-gradients gradients.safetensors --quiet --threads 1 &&
      "$oracle" compare "$model" "$batch" data weights.safetensors gradients.safetensors 1e-4 "$@" && return 0
  done
  return 1
}

# coded NAME MODEL BATCH STEPS LIMIT [OPTION]...: gradients from codes, on both, of weights that so many steps have moved; several seeds,
# since a kink may fall to its other side on one of them; in the deepest some always do, which is what their larger limit is for.
coded() {
  name=$1 model=$2 batch=$3 steps=$4 limit=$5
  shift 5
  both "$name" "$model" --batch="$batch" --loss=softmax-cross-entropy "$@" || return 1
  dimensions=$(printf '%s\n' "$@" | sed -n 's/^--dim=//p')
  for seed in 1 2 3; do
    # shellcheck disable=SC2046,SC2086
    rm -rf data && mkdir data && "$oracle" inputs "$model" "$batch" "$seed" data $dimensions &&
      ./"$name-c" $(given data) --steps "$steps" --lr 0.02 --seed "$seed" --checkpoint weights.safetensors --quiet --threads 1 &&
      ./"$name-c" $(given data) --seed "$seed" --weights weights.safetensors --dump-gradients one.safetensors --quiet --threads 1 &&
      ./"$name-cuda" $(given data) --seed "$seed" --weights weights.safetensors --dump-gradients other.safetensors --quiet --threads 1 &&
      "$oracle" distance one.safetensors other.safetensors "$limit" && return 0
  done
  return 1
}

# curves MODEL BATCH [DIM=N [OPTION]]: losses of five steps on one batch held as bfloat16. Gradients are no measure there: maxima round to ties, values to
# the other side of a kink or of a level, and a processor's library may round weights or not. All of it runs on the GPU.
curves() {
  rm -rf data && mkdir data && "$oracle" inputs "$1" "$2" 5 data $3 &&
    both curve "$1" --batch="$2" ${3:+--dim "$3"} $4 --loss=softmax-cross-entropy --precision=bf16 || return 1
  ./curve-cuda --memory 2>&1 >/dev/null | grep 'run on the processor' && return 1
  # shellcheck disable=SC2046
  for way in c cuda; do
    ./curve-$way $(given data) --eval none --steps 5 --lr 0.01 --seed 4 --quiet --threads 1 --log $way.log || return 1
  done
  paste c.log cuda.log | perl -ne '
    my @loss = /"loss":([^,}]+)/g or next;
    print "@loss\n";
    die "the losses differ\n" if @loss != 2 || abs($loss[0] - $loss[1]) > 2e-2 * abs $loss[0];
    $first //= $loss[1];
    $last = $loss[1];
    $steps++;
    END { die "after $steps steps the loss has not fallen\n" if $steps != 5 || $last >= $first }'
}

# Runs go from one to the other and on; how far the end is from that of a run that stayed may be what rounding makes of it.
checkpoints() {
  rm -rf data && mkdir data && "$oracle" inputs "$models/lenet5.onnx" 32 5 data && both lenet "$models/lenet5.onnx" --batch=8 \
    --loss=softmax-cross-entropy --optimizer=adam || return 1
  # shellcheck disable=SC2046
  for way in "c cuda" "cuda c"; do
    ./lenet-c $(given data) --steps 6 --seed 3 --quiet --threads 1 --checkpoint stayed.safetensors &&
      ./lenet-"${way% *}" $(given data) --steps 3 --seed 3 --quiet --threads 1 --checkpoint went.safetensors &&
      ./lenet-"${way#* }" $(given data) --steps 6 --resume went.safetensors --quiet --threads 1 --checkpoint went.safetensors || return 1
    "$oracle" distance stayed.safetensors went.safetensors 1e-3 || return 1
  done
}

# Epochs in different orders with an evaluation behind each, by the trainers of `checkpoints`: while a step runs, the next one's batch is sent.
epochs() {
  data=$(given data)
  # shellcheck disable=SC2086
  for way in c cuda; do
    ./lenet-$way $data $(printf '%s' "$data" | sed 's/--data/--eval/g') --epochs 3 --seed 4 --quiet --threads 1 --log $way.log || return 1
  done
  paste c.log cuda.log | perl -ne '
    next if /"seconds"/;
    my @loss = /"(?:test_)?loss":([^,}]+)/g;
    die "$_: the losses differ\n" if @loss != 2 || abs($loss[0] - $loss[1]) > 1e-3 * abs $loss[0];
    /"test_loss"/ ? $evaluations++ : $steps++;
    END { die "$steps steps, $evaluations evaluations\n" if $steps != 12 || $evaluations != 3 }'
}

# What trainers of a loss in parts say of steps and evaluations, on both: losses, and the share of right guesses.
guesses() {
  data=$(given data)
  ./parts-cuda --memory 2>&1 >/dev/null | grep 'run on the processor' && return 1
  # shellcheck disable=SC2086
  for way in c cuda; do
    ./parts-$way $data $(printf '%s' "$data" | sed 's/--data/--eval/g') --steps 3 --lr 0.05 --seed 4 --quiet --threads 1 --log $way.log || return 1
  done
  paste c.log cuda.log | perl -ne '
    my @loss = /"(?:test_)?loss":([^,}]+)/g;
    my @share = /"(?:test_)?accuracy":([^,}]+)/g or next;
    print "@loss @share\n";
    die "they differ\n" if @loss != 2 || @share != 2 || abs($loss[0] - $loss[1]) > 1e-3 * abs $loss[0] || abs($share[0] - $share[1]) > 5e-3;
    $lines++;
    $guessed += $share[1] > 0;
    END { die "$lines lines, $guessed of guesses\n" if $lines < 4 || !$guessed }'
}

# memory MODEL OPTION...: the arena on the device is as large as planned.
memory() {
  device=actnn-cuda && build_trainer sized "$@" --target=cuda --batch=8 --loss=softmax-cross-entropy &&
    ./sized --memory >sized.json || return 1
  arena=$(sed -n 's/.*"arena_bytes": \([0-9]*\), "planned_arena_bytes".*/\1/p' sized.json)
  planned=$(sed -n 's/.*"planned_arena_bytes": \([0-9]*\).*/\1/p' sized.json)
  cat sized.json && [ -n "$arena" ] && [ "$arena" = "$planned" ]
}

# copies MODEL [OPTION]...: in bfloat16 the plan has room for copies of weights alone, as libraries want them: as much for any batch. (Of models
# whose inputs and predictions, which are floats, take less.)
copies() {
  model=$1 bytes=
  shift
  for batch in 4 12; do
    "$actnnc" "$model" -o copies.c --target=cuda --batch=$batch --loss=softmax-cross-entropy --precision=bf16 --workspace=1MiB "$@" || return 1
    bytes="$bytes $(sed -n 's/.*\.workspace_bytes = \([0-9]*\)u.*/\1/p' copies.c)"
  done
  echo "$bytes"
  set -- $bytes
  [ $# = 2 ] && [ "$1" = "$2" ]
}

# joined MODEL BATCH [DIM=N]: joined nodes run by the kernels of the .cu file, not on the processor, as those of a trainer without them do.
joined() {
  rm -rf data && mkdir data && "$oracle" inputs "$1" "$2" 5 data $3 &&
    device=actnn-cuda && build_trainer joined "$1" --target=cuda --batch="$2" ${3:+--dim "$3"} --loss=softmax-cross-entropy || return 1
  sed 's/\.pointwise = joined_pointwise/.pointwise = NULL/; s/"joined\.h"/"apart.h"/; s/joined_/apart_/g' joined.c >apart.c
  sed 's/joined_/apart_/g' joined.h >apart.h
  compile_trainer apart && cp joined.safetensors apart.safetensors 2>/dev/null
  # shellcheck disable=SC2046
  for trainer in joined apart; do
    ./$trainer $(given data) --eval none --steps 2 --lr 0.01 --seed 4 --threads 1 --checkpoint $trainer.st >$trainer.said 2>&1 || return 1
  done
  cat joined.said apart.said
  grep -q '^POINTWISE(joined_0' joined.cu && ! grep -q Pointwise joined.said && grep -q Pointwise apart.said &&
    "$oracle" distance joined.st apart.st 1e-5
}

# values COUNT SIZE: so many numbers up to that size, none like the next
values() { awk -v count="$1" -v size="$2" 'BEGIN { for (i = 0; i < count; i++) printf "%s%.5f", i ? ", " : "", size * sin(i * 1.7 + 0.4) }'; }
# padded EXTENT: convolutions of TensorFlow's, with strides and as much padding as SAME has, and what spreads images so; images of that extent
padded() {
  cat <<TEXT
<ir_version: 8, opset_import: ["" : 17]>
padded (float[N,3,$1,$1] image) => (float[N,10] scores)
<float[8,3,3,3] k1 = {$(values 216 0.3)}, float[8] b1 = {$(values 8 0.1)}, float[8] s1 = {1, 1, 1, 1, 1, 1, 1, 1},
 float[8] t1 = {$(values 8 0.1)}, float[8] m1 = {0, 0, 0, 0, 0, 0, 0, 0}, float[8] v1 = {1, 1, 1, 1, 1, 1, 1, 1},
 float[8,1,5,5] k2 = {$(values 200 0.3)}, float[6,8,1,1] k3 = {$(values 48 0.4)}, float[6,4,3,3] k4 = {$(values 216 0.3)}, float[4] b4 = {$(values 4 0.1)},
 float[4,10] w = {$(values 40 0.5)}>
{
  c1 = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (image, k1, b1)
  n1, m, v = BatchNormalization <training_mode = 1> (c1, s1, t1, m1, v1)
  r1 = Relu (n1)
  c2 = Conv <auto_pad = "SAME_UPPER", group = 8, strides = [2, 2]> (r1, k2)
  r2 = Relu (c2)
  c3 = Conv (r2, k3)
  c4 = ConvTranspose <auto_pad = "SAME_UPPER", strides = [2, 2]> (c3, k4, b4)
  r4 = Relu (c4)
  pool = GlobalAveragePool (r4)
  flat = Flatten (pool)
  scores = MatMul (flat, w)
}
TEXT
}

# masked: attention as exporters write it, its mask made of what inputs hold as integers, and positions counted by what is no padding
masked() {
  cat <<TEXT
<ir_version: 8, opset_import: ["" : 17]>
masked (int64[N,6] tokens, int64[N,6] mask) => (float[N,10] scores)
<float[12,8] words = {$(values 96 0.8)}, float[8,8] places = {$(values 64 0.6)}, float[12,8] kinds = {$(values 96 0.7)},
 float[8,8] wq = {$(values 64 0.5)}, float[8,8] wk = {$(values 64 0.4)}, float[8,8] wv = {$(values 64 0.3)}, float[8,10] w = {$(values 80 0.5)},
 int64 padding = {0}, int64 one = {1}, int64[1] front = {1}, int64[3] rows = {1, 6, 1}>
{
  is_padding = Equal (tokens, padding)
  is_word = Not (is_padding)
  counted = Cast <to = 7> (is_word)
  sums = CumSum (counted, one)
  numbers = Mul (sums, counted)
  numbered = Add (numbers, one)
  word = Gather (words, tokens)
  place = Gather (places, numbered)
  h = Add (word, place)
  shown = Unsqueeze (mask, front)
  shown_to_all = Expand (shown, rows)
  unseen = Sub (one, shown_to_all)
  is_unseen = Cast <to = 9> (unseen)
  paddings = Unsqueeze (is_padding, front)
  is_hidden = Or (is_unseen, paddings)
  q = MatMul (h, wq)
  k = MatMul (h, wk)
  v = MatMul (h, wv)
  kt = Transpose <perm = [0, 2, 1]> (k)
  products = MatMul (q, kt)
  root = Constant <value_float = 0.35355> ()
  scaled = Mul (products, root)
  never = Constant <value_float = -10000.0> ()
  visible = Where (is_hidden, never, scaled)
  reals = Cast <to = 1> (unseen)
  penalty = Mul (reals, never)
  sum = Add (visible, penalty)
  probabilities = Softmax <axis = -1> (sum)
  mixed = MatMul (probabilities, v)
  g = Tanh (mixed)
  is_rare = Greater (tokens, numbered)
  kind_number = Where (is_rare, tokens, numbered)
  kind = Gather (kinds, kind_number)
  r = Add (g, kind)
  mean = ReduceMean <axes = [1], keepdims = 0> (r)
  scores = MatMul (mean, w)
}
TEXT
}

check "lenet5: FP32 gradients" exact lenet5 "$models/lenet5.onnx" 4
check "resnet20: FP32 gradients" exact resnet20 "$models/resnet20.onnx" 2
# Images of more elements than the library counts go to it in pieces, and none to the processor.
SHIM_ELEMENTS=40000
export SHIM_ELEMENTS
check "resnet20: FP32 gradients of images in pieces" exact pieces "$models/resnet20.onnx" 6
check "on the GPU" sh -c "./pieces --memory 2>&1 >/dev/null | grep 'run on the processor'; [ \$? = 1 ]"
check "resnet20: bfloat16 in pieces, losses of a run" curves "$models/resnet20.onnx" 6
unset SHIM_ELEMENTS
# What the library has no algorithm for goes to it in another form, and not to the processor.
SHIM_LACKS=channels-last
export SHIM_LACKS
check "resnet20: FP32 gradients, images in the plain order" exact plain "$models/resnet20.onnx" 2
check "on the GPU as well" sh -c "./plain --memory 2>&1 >/dev/null | grep 'run on the processor'; [ \$? = 1 ]"
SHIM_LACKS=bfloat16
check "resnet20: bfloat16 in FP32 copies, losses of a run" curves "$models/resnet20.onnx" 6
unset SHIM_LACKS
# Padding that the library does not know goes to it within copies, and to no processor: a step is recorded as a whole.
padded 12 >padded.onnxtxt
check "SAME with strides: FP32 gradients" exact padded padded.onnxtxt 6
check "SAME with strides: on the GPU" sh -c "./padded --memory 2>&1 >/dev/null | grep 'run on the processor'; [ \$? = 1 ]"
if [ -n "$KERNEL_COMPILER" ]; then
  skip "SAME with strides: steps are launched as a whole" "a GPU does not count them"
else
  check "SAME with strides: steps are launched as a whole" sh -c "SHIM_GRAPHS=count ./padded $(given data) --eval none --steps 9 --quiet --threads 1 2>&1 | grep 'shim: [1-9] graphs'"
fi
check "SAME with strides: gradients from codes" coded paddedc padded.onnxtxt 6 1 1e-3
check "SAME with strides: bfloat16, losses of a run" curves padded.onnxtxt 6
SHIM_ELEMENTS=1100
export SHIM_ELEMENTS
check "SAME with strides: FP32 gradients of images in pieces" exact pieces padded.onnxtxt 6
check "SAME with strides: pieces on the GPU" sh -c "./pieces --memory 2>&1 >/dev/null | grep 'run on the processor'; [ \$? = 1 ]"
unset SHIM_ELEMENTS
# Masks that are made of integers are made there.
masked >masked.onnxtxt
check "masks of integers: FP32 gradients" exact masked masked.onnxtxt 4
check "masks of integers: on the GPU" sh -c "./masked --memory 2>&1 >/dev/null | grep 'run on the processor'; [ \$? = 1 ]"
if [ -n "$KERNEL_COMPILER" ]; then
  skip "masks of integers: steps are launched as a whole" "a GPU does not count them"
else
  check "masks of integers: steps are launched as a whole" sh -c "SHIM_GRAPHS=count ./masked $(given data) --eval none --steps 9 --quiet --threads 1 2>&1 | grep 'shim: [1-9] graphs'"
fi
check "masks of integers: bfloat16, losses of a run" curves masked.onnxtxt 16
check "decoder: FP32 gradients" exact decoder "$models/decoder.onnx" 2 T=16
check "vit-tiny: FP32 gradients" exact vit "$small/vit-tiny.onnx" 2
check "unet: FP32 gradients" exact unet "$small/unet.onnx" 2
check "gpt2: FP32 gradients" exact gpt2 "$small/gpt2.onnx" 2 T=16
check "resnet20: gradients from codes" coded resnet20 "$models/resnet20.onnx" 4 1 1e-3
check "resnet20: ActNN's scheme" coded resnet20a "$models/resnet20.onnx" 4 1 1e-3 --scheme=actnn
check "mobilenetv2: gradients from codes" coded mobilenetv2 "$small/mobilenetv2.onnx" 4 8 3e-2
check "densenet121: gradients from codes" coded densenet121 "$small/densenet121.onnx" 2 2 3e-2
check "decoder: gradients from codes" coded decoder "$models/decoder.onnx" 2 1 1e-3 --dim=T=32
check "decoder: gradients of a loss in parts" coded parts "$models/decoder.onnx" 16 1 1e-3 --dim=T=32 --split-loss=always
check "decoder: losses and guesses of one" guesses
check "decoder: layers computed again" coded again "$models/decoder.onnx" 2 1 1e-4 --dim=T=32 --bits=32 --recompute=always
check "resnet20: layers computed again, beside codes" coded resnet20r "$models/resnet20.onnx" 4 1 1e-3 --compression=30
check "lenet5: bfloat16, losses of a run" curves "$models/lenet5.onnx" 16
check "resnet20: bfloat16, losses of a run" curves "$models/resnet20.onnx" 8
check "decoder: bfloat16, losses of a run" curves "$models/decoder.onnx" 2 T=32
check "decoder: bfloat16, attention on tensor cores, losses of a run" curves "$models/decoder.onnx" 2 T=32 --attention=fused
check "vit-tiny: bfloat16, losses of a run" curves "$small/vit-tiny.onnx" 4
check "vit-tiny: bfloat16, attention on tensor cores, losses of a run" curves "$small/vit-tiny.onnx" 4 '' --attention=fused
check "resnet20: joined nodes have kernels of their own" joined "$models/resnet20.onnx" 4
check "vit-tiny: joined nodes have kernels of their own" joined "$small/vit-tiny.onnx" 2
check "decoder: joined nodes have kernels of their own" joined "$models/decoder.onnx" 2 T=16
check "checkpoints of one go on with the other" checkpoints
check "whole epochs end where the processor's end" epochs
# ways YES-OR-NO: convolutions of a step that took a way whose last bits vary.
ways() { SHIM_ALGORITHMS=count ./lenet-cuda $(given data) --steps 1 --seed 3 --quiet --threads 1 --deterministic "$1" 2>&1 | sed -n 's/^stand-in: \([0-9]*\) .*/\1/p'; }
if [ -n "$KERNEL_COMPILER" ]; then
  skip "convolutions give the same bits every time" "a GPU does not tell its ways"
  skip "unless they need not" "likewise"
else
  check "convolutions give the same bits every time" [ "$(ways yes)" = 0 ]
  check "unless they need not" [ "$(ways no)" -gt 0 ]
fi
check "the arena is the planned one" memory "$models/lenet5.onnx"
check "with bfloat16 as well" memory "$models/lenet5.onnx" --precision=bf16 --workspace=1MiB
check "where libraries get copies and little else" memory "$small/unet.onnx" --workspace=2KiB
check "and rounded ones" memory "$small/gpt2.onnx" --dim T=16 --precision=bf16 --workspace=2KiB
check "images with padding around them as well" memory padded.onnxtxt --workspace=2KiB
check "held as bfloat16" memory padded.onnxtxt --precision=bf16 --workspace=2KiB
padded 1200 >large.onnxtxt
check "and of large ones some samples at a time" memory large.onnxtxt --workspace=2KiB
check "lenet5: no activation is copied for a kernel" copies "$models/lenet5.onnx"
check "resnet20: no activation is copied" copies "$models/resnet20.onnx"
check "gpt2: no activation is copied" copies "$small/gpt2.onnx" --dim=T=32
check "gpt2: nor when nothing is coded" copies "$small/gpt2.onnx" --dim=T=32 --level=L0
check "decoder: no activation is copied" copies "$models/decoder.onnx" --dim=T=32
finish
