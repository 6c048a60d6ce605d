#!/bin/sh
# kills.t: a trainer that writes a checkpoint every step is killed (SIGKILL) at each call to the system, also in the middle of a
# write, and at random moments. It always resumes from what lies there, and ends with the checkpoint and the losses of the run
# that nothing disturbed, to the bit.
#
#   KILLS=1000   so many kills, at each call first; otherwise some tens
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/faults/faults.sh"
can_strike || skip_all "calls of the system cannot be traced here"
: "${KILLS:=40}"

steps=6
struck() { "$strike" "--folder=$place" "--fault=$fault" "--at=$number" $late "--report=$work/report" -- "$@"; }

# The loss of each step, of one that was made twice the last one's.
losses() { sed -n 's/^{"step":\([0-9]*\),.*"loss":\([^,}]*\).*/\1 \2/p' "$1" | awk '{ loss[$1] = $2 } END { for (i = 1; i <= '$steps'; i++) print i, loss[i] }'; }

more="--steps $steps --every 1 --checkpoint run.safetensors --log small.log"
here train || exit 1
cp "$place/run.safetensors" whole.safetensors
losses "$place/small.log" >whole.losses

# Resumes until the end; whatever was there must be enough.
resume() {
  more="--steps $steps --every 1 --checkpoint run.safetensors --log small.log"
  [ ! -e "$place/run.safetensors" ] || more="$more --resume run.safetensors"
  here train "$@"
}

is_as_ever() {
  resume || return 1
  [ ! -s "$work/messages" ] && cmp -s whole.safetensors "$place/run.safetensors" && losses "$place/small.log" | cmp -s - whole.losses &&
    ! grep -qv '^{.*}$' "$place/small.log"
}

killed=0 bad=0
: >bad
judge() {
  killed=$((killed + 1))
  is_as_ever || { echo "$1: $(head -n 1 "$work/messages")" >>bad; bad=$((bad + 1)); }
}

# At each call: how many there are, and as many as are asked for, evenly spread.
late='' fault=kill number=0
rm -f "$place"/run.* "$place/small.log"
here train struck
calls=$(sed 's/counted \([0-9]*\).*/\1/' report)
for fault in kill torn; do
  stride=$((calls * 3 / KILLS + 1))
  number=1
  while [ "$number" -le "$calls" ]; do
    rm -f "$place"/run.* "$place/small.log"
    more="--steps $steps --every 1 --checkpoint run.safetensors --log small.log"
    here train struck
    [ $? -eq 137 ] || { echo "call $number was not the last" >>bad; bad=$((bad + 1)); }
    judge "$fault at call $number, $(cat report)"
    number=$((number + stride))
  done
done
if [ $bad -eq 0 ] && [ $killed -gt 10 ]; then ok "killed at $killed of $((2 * calls)) places between and within calls, it always resumes to the bit"; else
  not_ok "killed at $killed places, $bad do not resume to the bit" bad
fi

# At random moments, several to a run: the same files are killed over again.
wanted=$((KILLS - killed)) number=0 fault=kill tries=0 bad=0 killed=0
: >bad
rm -f "$place"/run.* "$place/small.log"
while [ $killed -lt $wanted ] && [ $tries -lt $((5 * wanted)) ]; do
  tries=$((tries + 1))
  late="--seconds=$(awk "BEGIN { srand($tries + 17); print 0.005 + 0.1 * rand() }")"
  resume struck
  code=$?
  if [ $code -eq 137 ]; then killed=$((killed + 1)); fi
  [ $code -eq 137 ] || [ $code -eq 0 ] || { echo "code $code: $(head -n 1 messages)" >>bad; bad=$((bad + 1)); }
  if [ $code -eq 0 ] || [ $((tries % 5)) -eq 0 ]; then
    is_as_ever || { echo "random kill: $(head -n 1 messages)" >>bad; bad=$((bad + 1)); }
    rm -f "$place"/run.* "$place/small.log"
  fi
done
if [ $bad -eq 0 ]; then ok "killed at $killed random moments, it always resumes to the bit"; else not_ok "random kills: $bad do not resume to the bit" bad; fi
finish
