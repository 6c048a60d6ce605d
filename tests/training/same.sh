# same.sh: whether two trainers do the same, bit for bit; for tests that source it.

# losses LOG: what a log says but for speeds.
losses() { sed -n 's/"samples_per_s":[^,]*,//; /"loss"/p' "$1"; }

# tensors CHECKPOINT: its data behind the header, which names the model too.
tensors() {
  length=$(od -An -t u8 -N 8 "$1" | tr -d ' ')
  tail -c +$((length + 9)) "$1"
}

# same_training RESULT RESULT
same_training() {
  losses "$1.log" >first.losses
  losses "$2.log" >second.losses
  tensors "$1.safetensors" >first.tensors
  tensors "$2.safetensors" >second.tensors
  [ "$(wc -l <first.losses)" -eq 6 ] && [ "$(wc -c <first.tensors)" -gt 1000 ] &&
    diff first.losses second.losses && cmp first.tensors second.tensors
}

# train PROGRAM RESULT [OPTION]...: six steps on what $data says.
train() {
  program=$1 result=$2
  shift 2
  # shellcheck disable=SC2086
  ./"$program" $data --steps 6 --seed 7 --quiet --log "$result.log" --checkpoint "$result.safetensors" "$@"
}

# random_data MODEL INPUT SAMPLES [DIM=N]...: sets $data.
random_data() {
  model_file=$1 input=$2 samples=$3
  shift 3
  rm -rf data && mkdir data && "$oracle" inputs "$model_file" "$samples" 5 data "$@" || exit 1
  data="--data $input=data/$input.npy --data labels=data/labels.npy"
}
