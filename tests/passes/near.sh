# near.sh: programs that a pass has to leave as they are, because one thing is not as in those that it changes; for tests that source this.
#   before MODEL PASS [OPTION]...        MODEL as it comes to PASS, in before.onnxtxt
#   changed WHAT EDIT WORD COUNT         the program before the pass, changed by perl's EDIT, becomes one that has WORD, a pattern, COUNT times
#                                        ($pass_options: what the pass is told)
#   declare TYPE NAME                    an edit that gives a new value a type

pass_options=

before() {
  model=$1 pass=$2
  shift 2
  rm -rf dumps && "$actnnc" "$model" "$@" --dump-passes=dumps --check >log 2>&1 || { not_ok "$model up to $pass" log; return; }
  previous=
  for file in dumps/*.onnxtxt; do
    case $file in *-$pass.onnxtxt) break ;; esac
    previous=$file
  done
  cp "$previous" before.onnxtxt
}

changed() {
  what=$1 edit=$2 word=$3 count=$4
  perl -0777 -pe "$edit" before.onnxtxt >changed.onnxtxt
  {
    # shellcheck disable=SC2086
    "$actnnc" changed.onnxtxt --run-pass="$pass" $pass_options >after.onnxtxt || echo "$pass refuses it"
    found=$(grep -o -e "$word" after.onnxtxt | wc -l)
    [ "$found" -eq "$count" ] || echo "$word stands there $found times, not $count"
    if [ -n "$edit" ] && cmp -s before.onnxtxt changed.onnxtxt; then echo "nothing was changed"; fi
  } >faults 2>&1
  if [ -s faults ]; then not_ok "$pass: $what" faults; else ok "$pass: $what"; fi
}

declare() { printf '%s' "s/\\n>\\n\\{/,\\n  $1 $2\\n>\\n{/;"; }
