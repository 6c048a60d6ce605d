# faults.sh: what the tests of faults share, behind ../environment.sh. A small network of two layers with first weights in a file
# of their own, compiled and trained in a folder $place, with its messages outside it.
#
#   FAULTS=all    every fault at every call and allocation; otherwise those that differ most
#   compiler      the translator itself, without the build's wrapper
#   outcome       0 when the last run, of exit code $code, ended as a run may: either 0 with nothing said, or 1 with one message
# Nobody looks for leaks in a process that is traced, or that is killed.
[ -z "$SANITIZERS" ] || { ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0; export ASAN_OPTIONS; }
strike=$top_builddir/tests/faults/strike
compiler=$top_builddir/.libs/actnnc
[ -x "$compiler" ] || compiler=$actnnc
place=$work/place
mkdir "$place" "$place/data" && "$oracle" inputs "$models/mlp.onnxtxt" 24 5 "$place/data" && cp "$models/mlp.onnxtxt" "$place" || exit 1
options="--batch=8 --loss=softmax-cross-entropy --optimizer=adam"
# shellcheck disable=SC2086
(cd "$place" && "$compiler" mlp.onnxtxt $options -o small.c) && cp "$place"/small.* . && compile_trainer small && cp small "$place" || exit 1

compile() { "$@" "$compiler" mlp.onnxtxt $options -o small.c; }
train() { "$@" ./small --data x=data/x.npy --data labels=data/labels.npy --seed 3 --threads 1 --quiet $more; }

# Whether tracing can be had here.
can_strike() { "$strike" "--folder=$place" -- true 2>/dev/null; }

# In $place, with its messages in $work/messages.
here() { (cd "$place" && "$@") >"$work/output" 2>"$work/messages"; }

outcome() {
  if [ "$code" -eq 0 ]; then [ ! -s "$work/messages" ]; return; fi
  [ "$code" -eq 1 ] && [ -s "$work/messages" ] && [ "$(grep -vc '^  help:' "$work/messages")" -eq 1 ]
}
