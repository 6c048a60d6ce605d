#!/bin/sh
# reproducible.t: the emitted source, its header and its weights are the same bytes from another folder, in another locale (one
# with a decimal comma too, where it can be made), time zone and under another umask; and training by our own kernels is the
# same to the bit for any number of threads.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/faults/faults.sh"

# The options are part of the source's first lines, so that the command must be the same, not the folder.
mkdir elsewhere locales
cp "$models/mlp.onnxtxt" elsewhere
same() {
  for file in small.c small.h small.safetensors; do cmp "$file" "elsewhere/$file" || return 1; done
  rm elsewhere/small.*
}
emit() { (cd elsewhere && umask 077 && env "$@" "$compiler" mlp.onnxtxt $options -o small.c); }
check "another folder and umask" emit A=b
check "make the same source" same
check "another time zone" emit TZ=Pacific/Chatham
check "makes the same source" same
if localedef -i de_DE -f UTF-8 locales/de_DE.UTF-8 2>/dev/null; then
  check "a locale with a decimal comma" emit LOCPATH="$work/locales" LC_ALL=de_DE.UTF-8 LANG=de_DE.UTF-8
  check "makes the same source" same
else
  skip "a locale with a decimal comma" "none can be made here"
fi
check "a locale that does not exist" emit LC_ALL=xx_YY.UTF-8
check "makes the same source" same

more=''
for threads in 1 2 3 4; do
  here ./small --data x=data/x.npy --data labels=data/labels.npy --seed 3 --quiet --threads $threads --steps 9 --checkpoint "$threads.safetensors"
  check "$threads threads: the same weights and state" cmp "$place/1.safetensors" "$place/$threads.safetensors"
done
finish
