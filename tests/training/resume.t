#!/bin/sh
# resume.t: a run that was interrupted ends where an uninterrupted one ends, byte for byte; damaged and foreign checkpoints
# are noticed.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

options="--batch=8 --loss=softmax-cross-entropy --bits=2"
# shellcheck disable=SC2086
build_trainer train "$models/lenet5.onnx" $options --optimizer=adam || exit 1
mkdir data && "$oracle" inputs "$models/lenet5.onnx" 56 5 data || exit 1 # seven batches: epochs end inside a run
run() { ./train --data image=data/image.npy --data labels=data/labels.npy --seed 3 --quiet "$@"; }
# The step that a checkpoint's header says it is of.
step_of() { head -c 4000 "$1" | tr -d '\0' | sed -n 's/.*"step" *: *"\([0-9]*\)".*/\1/p' | head -n 1; }

run --steps 12 --checkpoint whole.safetensors || exit 1
run --steps 5 --checkpoint part.safetensors || exit 1
check "a checkpoint says its step" [ "$(step_of part.safetensors)" = 5 ]
check "resuming runs" run --resume part.safetensors --steps 12 --checkpoint part.safetensors
check "5 steps and 7 more end as 12 do" cmp whole.safetensors part.safetensors

# Killed in the middle: checkpoints are made at every step, so one is likely being written.
./train --data image=data/image.npy --data labels=data/labels.npy --seed 3 --quiet --steps 1000000 --every 1 \
  --checkpoint killed.safetensors & # not through run: the process to kill is the trainer, not a shell around it
trainer=$!
waited=0
while [ $waited -lt 600 ] && [ "$(step_of killed.safetensors 2>/dev/null || echo 0)0" -lt 30 ]; do
  sleep 0.1
  waited=$((waited + 1))
done
kill -9 $trainer
wait $trainer 2>/dev/null
step=$(step_of killed.safetensors)
check "a killed run leaves a checkpoint" [ "${step:-0}" -gt 0 ]
end=$((${step:-0} + 5))
check "which is resumed" run --resume killed.safetensors --steps $end --checkpoint killed.safetensors
run --steps $end --checkpoint long.safetensors
check "and ends as an uninterrupted run does" cmp long.safetensors killed.safetensors

# A damaged checkpoint: the one before it is used, and it is said.
run --steps 12 --every 6 --checkpoint damaged.safetensors
check "the checkpoint before the last is kept" [ "$(step_of damaged.safetensors.previous)" = 6 ]
size=$(wc -c <damaged.safetensors)
printf '\377\376\375\374' | dd of=damaged.safetensors bs=1 seek=$((size - 1000)) conv=notrunc 2>/dev/null
check "a damaged checkpoint does not stop resuming" run --resume damaged.safetensors --steps 12 --checkpoint mended.safetensors
run --resume damaged.safetensors --steps 12 --checkpoint mended.safetensors 2>messages
check "the damage is told" grep -q "damaged.safetensors:.*damaged" messages
check "what is used instead is told" grep -q "damaged.safetensors.previous instead, of step 6" messages
check "and leads to the same end" cmp whole.safetensors mended.safetensors
rm damaged.safetensors.previous
if run --resume damaged.safetensors --steps 12 --checkpoint none.safetensors 2>messages; then
  not_ok "without the one before, resuming is refused"
else
  check "without the one before, resuming is refused in one line" [ "$(wc -l <messages)" -eq 1 ]
fi
head -c 1000 whole.safetensors >short.safetensors
if run --resume short.safetensors --steps 12 2>messages; then not_ok "a cut checkpoint is refused"; else
  check "a cut checkpoint is refused in one line" [ "$(wc -l <messages)" -eq 1 ]
fi

# Another model, and the same one with other options.
# shellcheck disable=SC2086
build_trainer foreign "$models/mlp.onnx" $options && build_trainer changed "$models/lenet5.onnx" $options --optimizer=sgd
for program in foreign changed; do
  if ./$program --data image=data/image.npy --data labels=data/labels.npy --quiet --resume whole.safetensors --steps 13 \
    --checkpoint $program.safetensors 2>messages; then
    not_ok "$program: another model's checkpoint is refused"
  else
    check "$program: another model's checkpoint is refused, and it is said" grep -q "another model" messages
  fi
done
check "a refused run writes nothing" [ ! -e foreign.safetensors ]
finish
