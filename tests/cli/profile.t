#!/bin/sh
# profile.t: what --profile-generate writes, --profile-use reads: bits go where a run found that they matter, within the same
# bytes; a file that is anything else is refused.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
batch=16
options="--batch=$batch --loss=softmax-cross-entropy"

# plan FILE [OPTION]...: what --explain-saves and --print-memory say.
plan() {
  result=$1
  shift
  # shellcheck disable=SC2086
  "$actnnc" "$models/lenet5.onnx" $options --explain-saves --print-memory "$@" >"$result" 2>&1
}

pool() { awk '/coded saves/ { print $3 }' "$1"; }

mkdir data && "$oracle" inputs "$models/lenet5.onnx" $batch 3 data >log 2>&1 || exit 1
# shellcheck disable=SC2086
check "a trainer writes a profile" sh -c '
  "$0" "$1/lenet5.onnx" '"$options"' -o lenet.c && '"$CC"' '"$includes"' lenet.c -L"$2" -lactnn -o lenet &&
  ./lenet --data image=data/image.npy --data labels=data/labels.npy --steps 40 --quiet --profile-generate run.json &&
  [ "$(grep -c "\"weight\": [0-9]" run.json)" -eq 2 ]' "$actnnc" "$models" "$library"

plan even && plan used --profile-use=run.json
check "it moves bits within the bytes there were" sh -c '
  grep "2 values shared .* by what a run has measured" used && ! cmp -s even used &&
  [ "$0" -gt 0 ] && [ "$1" -le "$0" ] && [ "$1" -ge $(($0 * 9 / 10)) ]' "$(pool even)" "$(pool used)"
check "more bits are shared out by the same rule" plan more --profile-use=run.json --bits=3.3
for scheme in actnn actnnc; do
  plan fixed --scheme=$scheme --level=L2 --bits=3
  check "$scheme: levels with fixed bits give everyone the same 8 levels" sh -c \
    '[ "$(awk "/(even|masked)\/(stochastic|dither)/ && \$3 == 8" fixed | wc -l)" -ge 2 ] && ! grep shared fixed'
done
plan mixed --bits=2.5
check "without a profile a fraction is mixed from whole bits, by the prior" grep "shared .* by the prior" mixed

# ---- files that are no profile
refused() {
  plan answer --profile-use="$2"
  code=$?
  if [ $code -eq 1 ] && grep -q "error: " answer && ! grep -q Sanitizer answer; then ok "$1"; else not_ok "$1" answer; fi
}
refused "a profile that does not exist" absent.json
refused "a folder" data
: >empty.json && refused "an empty file" empty.json
head -c 100000 /dev/urandom >noise.json && refused "noise" noise.json
sed 's/"weight": [0-9.e+-]*/"weight": -1/' run.json >negative.json && refused "a negative weight" negative.json
sed 's/"weight": [0-9.e+-]*/"weight": 1e999/' run.json >infinite.json && refused "an infinite weight" infinite.json
sed 's/"weight": [0-9.e+-]*/"weight": nan/' run.json >nan.json && refused "a weight that is no number" nan.json
sed 's/actnn-profile/other/' run.json >other.json && refused "another format" other.json
sed 's/"name": "/"name": "x/' run.json >names.json && refused "a profile of another model" names.json
sed 's/"name": "/"name": "\\ud800/' run.json >half.json && refused "half a character" half.json
{ cat run.json && echo '{}'; } >twice.json && refused "something after the end" twice.json
awk 'BEGIN { printf "{\"x\": "; for (i = 0; i < 100000; i++) printf "[" }' >deep.json && refused "lists in lists in lists" deep.json
awk 'BEGIN { printf "{\""; for (i = 0; i < 100000; i++) printf "a" }' >long.json && refused "an endless name" long.json

# json TEXT: the profile that one may write by hand, before its end
json() { printf '%b' "$1" >written.json; }
saves='"saves": [{"name": "a"}]'
# told WHAT MESSAGE TEXT: a profile of this text is refused with that message, of its line
told() {
  json "$3"
  plan answer --profile-use=written.json
  code=$?
  if [ $code -eq 1 ] && grep -q "error: line [0-9]*: $2" answer; then ok "$1"; else not_ok "$1" answer; fi
}
told "no object" "'{' was expected" '[]'
told "a name without a value" "':' was expected" '{"format" "actnn-profile"}'
told "no end" "',' or '}' was expected" '{"format": "actnn-profile" ]'
told "another version" "this is no profile of version 1" '{"format": "actnn-profile", "version": 2, '"$saves}"
told "no saves" "there is no list of saved values" '{"format": "actnn-profile", "version": 1}'
told "saves that are no list" "'\[' was expected" '{"saves": 3}'
told "saves twice" "there are two lists of saved values" "{$saves, $saves}"
told "a save that is no object" "'{' was expected" '{"saves": ["a"]}'
told "a save whose name has no value" "':' was expected" '{"saves": [{"name"}]}'
told "a save without an end" "',' or '}' was expected" '{"saves": [{"name": "a"]}'
told "a save without a name" "a saved value has no name" '{"saves": [{"weight": 1}]}'
told "saves without an end" "',' or '\]' was expected" '{"saves": [{"name": "a"} {"name": "b"}]}'
told "a list without an end" "',' or '\]' was expected" '{"other": [1, [], "x" 2]}'
told "a number with something behind it" "a finite number was expected" '{"version": 1-2}'
told "a number with two points" "a finite number was expected" '{"saves": [{"weight": 1.5.2}]}'
told "no number" "a finite number was expected" '{"version": true}'
told "an escape that there is not" "a string has an escape that is not understood" '{"\\x": 1}'
told "an escape cut short" "a string has an escape that is not understood" '{"\\'
told "no hexadecimal" "a string has an escape that is not understood" '{"\\u12g4": 1}'
told "hexadecimal cut short" "a string has an escape that is not understood" '{"\\u12'
told "the character zero" "a string has an escape that is not understood" '{"\\u0000": 1}'
told "half of a character beyond the first 65536" "a string has an escape that is not understood" '{"\\udfff": 1}'
told "the line of a mistake" "'{' was expected" '\n\n[]'
check "which is counted from 1" grep -q "line 3" answer
json '\t{ "format"\r:\t"\\u0061\\u0063tnn-profile",\n "other": ["\\u00e9\\u20AC\\uE000\\n\\"", [-1.5e3, []]], "version": 1, "saves": [] }\r\n'
plan answer --profile-use=written.json
check "spaces and escapes are read: what is missing then is the values' names" sh -c \
  'grep -q "error: " answer && ! grep -q "error: line" answer && grep -qi "profile" answer'
head -c 16777217 /dev/zero | tr '\0' ' ' >large.json && refused "more than 16 MiB" large.json
printf '{\0}' >zero.json && refused "a zero byte" zero.json
sed 's|"name": "/|"name": "\\u002f|' run.json >escaped.json
plan same --profile-use=escaped.json
check "names with escapes are those without" sh -c 'grep -q "u002f" escaped.json && cmp used same'
sed '1,2s/"weight": [0-9.e+-]*, //' run.json >part.json
plan part --profile-use=part.json
check "of a value without a weight the prior says how much it matters" sh -c \
  '[ "$(grep -c weight part.json)" -eq 1 ] && grep -q "by what a run has measured" part && ! cmp -s part used'
# shellcheck disable=SC2086
check "where nothing is saved through a code nothing is asked of a profile" \
  "$actnnc" "$models/mlp.onnx" $options --bits=32 --profile-use=part.json --check

size=$(wc -c <run.json) wrong=0 length=0
while [ $length -lt $((size - 2)) ]; do
  head -c $length run.json >cut.json
  plan answer --profile-use=cut.json
  [ $? -eq 1 ] || wrong=$((wrong + 1))
  length=$((length + 23))
done
if [ $wrong -eq 0 ]; then ok "a profile cut short anywhere"; else not_ok "a profile cut short: $wrong taken"; fi
plan answer --profile-use=run.json --level=L2
if [ $? -eq 1 ]; then ok "a profile at a level of fixed bits is refused"; else not_ok "a profile at a level of fixed bits" answer; fi

# More bits never make fewer bytes, of values whose noise goes on into other layers either.
before=0 falls=
for bits in 1.6 2 3 3.9 4 6 8; do
  "$actnnc" "$models/decoder.onnx" --dim T=64 --batch=4 --loss=softmax-cross-entropy --bits=$bits -o rising.c --report=rising.json 2>>answer
  bytes=$(sed -n 's/.*"saved_bytes": *\([0-9]*\),.*/\1/p' rising.json)
  [ "${bytes:-0}" -gt "$before" ] || falls="$falls $bits"
  before=${bytes:-0}
done
if [ -z "$falls" ]; then ok "bytes rise with --bits"; else not_ok "bytes do not rise at --bits$falls"; fi
finish
