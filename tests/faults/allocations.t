#!/bin/sh
# allocations.t: the n-th allocation fails, for every n, in the translator (its verifier, a child, included) and in a trainer from
# its start through three steps with a log, a checkpoint and an exported model, in one that resumes, in one that compares gradients,
# and in the readers of data. Either it did not matter, and all is written as ever, or there is one message, exit code 1, and what was
# there before. A trainer that gives up has freed all that it allocated; the translator ends instead.
#
# Which allocations count goes by the caller's address: those of the program, libactnn, zlib and protobuf-c. oneDNN's own are left
# alone: it ends the process (std::bad_alloc) or chooses another way to compute, and libgomp ends the process, too.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/faults/faults.sh"

[ -z "$SANITIZERS" ] || skip_all "the sanitizer's own allocations would fail"
# shellcheck disable=SC2086
$CC -std=c11 -O1 -shared -fPIC "$top_srcdir/tests/faults/failing_allocations.c" -o failing.so -ldl 2>/dev/null || skip_all "no preloading here"
FAIL_REPORT=$work/report
export FAIL_REPORT

failing() { LD_PRELOAD="$work/failing.so" "$@"; }

# each NAME COMMAND FILE...: all n; FILEs are what COMMAND writes, and lie as they should be in $work/good.
each() {
  name=$1 command=$2
  shift 2
  number=0 bad=0 kept=0 : >"$work/bad"
  while [ $number -lt 3000 ]; do
    number=$((number + 1))
    for file; do cp "$work/old/$file" "$place/$file"; done
    rm -f "$place"/small.log "$place"/*.previous "$FAIL_REPORT"
    FAIL_ALLOCATION=$number
    export FAIL_ALLOCATION
    here "$command" failing
    code=$?
    grep -q 'failed [1-9]' "$FAIL_REPORT" 2>/dev/null || break
    from=old
    [ $code -ne 0 ] || from=good
    outcome && is_whole "$from" "$@" || { echo "n=$number code=$code: $(head -n 1 "$work/messages")" >>"$work/bad"; bad=$((bad + 1)); }
    [ "$command" = compile ] || grep -q 'kept 0' "$FAIL_REPORT" || { kept=$((kept + 1)); echo "n=$number $(cat "$FAIL_REPORT")" >>"$work/bad"; }
  done
  unset FAIL_ALLOCATION
  if [ $bad -eq 0 ] && [ $number -gt 20 ]; then ok "$name: each of $((number - 1)) failing allocations ends cleanly"; else
    not_ok "$name: $bad of $((number - 1)) failing allocations do not end cleanly" "$work/bad"
  fi
  if [ "$command" != compile ]; then
    if [ $kept -eq 0 ]; then ok "$name: and nothing is left allocated"; else not_ok "$name: something is left allocated" "$work/bad"; fi
  fi
}

# Every FILE as in $work/FROM, and nothing half-written beside them. After a failure of a trainer a file may be the new one already.
is_whole() {
  from=$1
  shift
  for file; do
    cmp -s "$work/$from/$file" "$place/$file" || { [ "$command" != compile ] && cmp -s "$work/good/$file" "$place/$file"; } || return 1
  done
  ! ls "$place" | grep -q 'tmp\|\.old'
}

mkdir good old
more="--steps 3 --checkpoint run.safetensors --export run.onnx --profile-generate run.json --log small.log"
here train || exit 1
cp "$place/run.safetensors" "$place/run.onnx" "$place/run.json" "$place"/small.? "$place/small.safetensors" good
for file in small.c small.h run.onnx run.json run.safetensors; do echo old >"old/$file"; done
cp good/small.safetensors old

each "translating" compile small.c small.h small.safetensors
[ "$FAULTS" != all ] || { FAIL_ONWARD=1; export FAIL_ONWARD; each "translating, all from there on" compile small.c small.h small.safetensors; unset FAIL_ONWARD; }
cp good/small.* "$place"
each "training" train run.safetensors run.onnx run.json
[ "$FAULTS" != all ] || { FAIL_ONWARD=1; export FAIL_ONWARD; each "training, all from there on" train run.safetensors run.onnx run.json; unset FAIL_ONWARD; }
cp good/run.safetensors "$place/first.safetensors"
more="--steps 5 --resume first.safetensors --checkpoint run.safetensors"
here train || exit 1
cp "$place/run.safetensors" good
each "resuming" train run.safetensors

# What is known of gradients: written, and compared over draws.
gradients() { "$@" ./small --data x=data/x.npy --data labels=data/labels.npy --seed 3 --threads 1 --quiet --dump-gradients exact.safetensors; }
compare() {
  "$@" ./small --data x=data/x.npy --data labels=data/labels.npy --seed 3 --threads 1 --quiet --gradient-reference known.safetensors \
    --variance 2 --variance-by-save 2
}
here gradients || exit 1
cp "$place/exact.safetensors" good && cp good/exact.safetensors "$place/known.safetensors"
echo old >old/exact.safetensors
each "writing gradients" gradients exact.safetensors
each "comparing gradients" compare

# Data of other formats: packed, an archive, and what fits no input of this model, which is told when it has been read.
read_data() { "$@" ./small --data "$set" --seed 3 --threads 1 --quiet --steps 1; }
(cd "$place/data" && perl -MIO::Compress::Zip=zip -e 'zip [qw(x.npy labels.npy)] => "set.npz" or exit 1') || exit 1
(cd "$place" && perl -MIO::Compress::Zip=zip -e '
  my $header = "{\x27descr\x27: \x27|u1\x27, \x27fortran_order\x27: False, \x27shape\x27: (5, 1000000), }";
  my $array = "\x93NUMPY\1\0" . pack("v A*", length $header, $header) . "\0" x 5000000;
  zip \$array => "large.npz", Name => "x.npy" or exit 1;
  print $array' >"$place/large.npy") || exit 1
gzip -c "$place/data/set.npz" >"$place/set.npz.gz"
gzip -c "$models/mlp.onnxtxt" >"$place/text.gz"
head -c 6146 /dev/zero >"$place/batch.bin"
{ printf '\0\0\010\1\0\0\0\030' && head -c 24 /dev/zero; } >"$place/train-images-idx3-ubyte"
for set in data/set.npz large.npy large.npz set.npz.gz text.gz batch.bin train-images-idx3-ubyte; do each "reading $set" read_data; done
finish
