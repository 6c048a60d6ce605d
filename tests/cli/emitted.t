#!/bin/sh
# emitted.t: what actnnc writes is C11 without a warning, is the same wherever it is made, can be used as a library, and
# no name in a model can change what it means.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
strict="-std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only"
# Debian's clang-14 alone brings no program called clang.
compilers=
for names in gcc "clang clang-14 clang-19"; do
  for compiler in $names; do command -v "$compiler" >/dev/null 2>&1 && compilers="$compilers $compiler" && break; done
done
case $compilers in *clang*) ;; *) skip "clang has nothing to say either" "no clang" ;; esac

# clean FILE WHAT: no compiler has anything to say.
clean() {
  for compiler in $compilers; do
    # shellcheck disable=SC2086
    check "$2: nothing to say for $compiler" $compiler $strict $includes "$1"
  done
}

for file in "$models"/*.onnx "$models"/*.onnxtxt; do
  model=$(basename "$file")
  model=${model%.*}
  options="--batch=2 --loss=softmax-cross-entropy"
  case $model in gpt2 | decoder) options="$options --dim=T=16" ;; esac
  # shellcheck disable=SC2086
  if "$actnnc" "$file" -o emitted.c $options >log 2>&1; then clean emitted.c "$model"; else not_ok "$model: is translated" log; fi
done

# ---- the same from anywhere
mkdir -p one/deep two
cp "$models/resnet20.onnx" one/deep/model.onnx
cp "$models/resnet20.onnx" two/model.onnx
(cd one/deep && "$actnnc" model.onnx -o train.c --batch=4 --loss=softmax-cross-entropy) &&
  (cd two && LC_ALL=C.UTF-8 TZ=Asia/Tokyo "$actnnc" model.onnx -o train.c --batch=4 --loss=softmax-cross-entropy)
check "another folder, time zone and locale: the same source" cmp one/deep/train.c two/train.c
check "and the same header" cmp one/deep/train.h two/train.h
check "the source names no folder of this machine" sh -c "! grep -F '$work' two/train.c"

# ---- names that the runtime or the source has already
for name in actnn actnn-cuda onnx 3d int; do
  if "$actnnc" "$models/mlp.onnx" -o $name.c --batch=4 --loss=softmax-cross-entropy >log 2>&1; then clean $name.c "a file called $name.c"
  else not_ok "a file called $name.c" log; fi
done

# ---- as a library
"$actnnc" "$models/mlp.onnx" -o digits.c --batch=4 --loss=softmax-cross-entropy || exit 1
cat >host.c <<'HOST'
#include "digits.h"
#include <stdio.h>
int main(void)
{
  char error[200];
  double first = 0, last = 0;
  actnn *trainer = digits_create(1, 7, error, sizeof error);
  for (int step = 0; trainer && step < 20; step++)
    if (digits_step(trainer, 0.05, step ? &last : &first)) return fprintf(stderr, "%s\n", actnn_error(trainer)), 1;
  printf("%g %g\n", first, last);
  digits_destroy(trainer);
  return !(trainer && last < first);
}
HOST
# shellcheck disable=SC2086
check "a trainer without main is part of another program" \
  $CC -std=c11 -Wall -Wextra -Wpedantic -Werror -DACTNN_NO_MAIN $includes -I. digits.c host.c -L"$library" -lactnn -o host
check "which trains with it" ./host
printf '#include "digits.h"\nint main() { return digits_step == nullptr; }\n' >host.cc
if command -v g++ >/dev/null 2>&1; then
  # shellcheck disable=SC2086
  check "its header is C++ too" g++ -std=c++17 -Wall -Wextra -fsyntax-only $includes -I. host.cc
else
  skip "its header is C++ too" "no g++"
fi

# ---- hostile names: every one of them in places where names are printed. The first model has plain names.
hostile() {
  cat <<MODEL
<ir_version: 8, opset_import: ["" : 17]>
$1 (float[4,3] $2) => (float[4,2] $3)
< float[3,2] $4 = {0.5, -0.4, 0.6, -0.7, -0.8, 0.3}, float[2] $5 = {0.1, 0.2} >
{
   [$6] a = MatMul ($2, $4)
   [$6] b = Add (a, $5)
   [$6] $3 = Tanh (b)
}
MODEL
}
# code FILE: its tokens but for strings and comments.
code() { $CC -fpreprocessed -dD -E -P "$1" | sed 's/"\(\\.\|[^"\\]\)*"/STRING/g'; }
hostile plain x y weight bias node >plain.onnxtxt
"$actnnc" plain.onnxtxt -o plain.c --loss=mse && mkdir plain && mv plain.c plain/train.c || exit 1
number=0
while IFS= read -r name; do
  number=$((number + 1))
  hostile "\"$name\"" "\"x$name\"" "\"y$name\"" "\"w$name\"" "\"b$name\"" "\"n$name\"" >hostile.onnxtxt
  title="the name $(printf %s "$name" | tr -d '#\\')"
  if "$actnnc" hostile.onnxtxt -o plain.c --loss=mse >log 2>&1; then
    clean plain.c "$title"
    code plain/train.c >expected
    code plain.c >tokens
    # Sizes of the embedded model and its hash differ with the names; no identifier and no punctuation may.
    for file in expected tokens; do sed 's/[0-9][0-9a-fx]*u\{0,1\}//g' $file | tr -d ', \n' | fold -w 100 >$file.shape; done
    check "$title: changes no token" diff expected.shape tokens.shape
  else
    # To refuse a name is fine, if it is said.
    check "$title: is refused with a message" grep -q 'error: ' log
  fi
done <<'NAMES'
*/ int injected(void) { return 1; } /*
a ??/ b
back\\slash
quote\" ; int injected; \"
// comment \\
/* open
line\nbreak
tab\tbreak\r
#include </etc/passwd>
%s%n%d
??=define RUN
\x01\x7f
ünïcödé 名前
NAMES
check "all names were tried" [ $number -eq 13 ]
finish
