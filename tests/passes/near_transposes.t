#!/bin/sh
# near_transposes.t: attention reads and writes what lies with heads inside of rows, where a transpose does nothing else and for it alone.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/block.sh"
. "$top_srcdir/tests/passes/near.sh"
options="--batch=8 --loss=softmax-cross-entropy --attention=fused"

write_block >block.onnxtxt
# shellcheck disable=SC2086
before block.onnxtxt absorb-transposes $options
all='transB = 1, .*inside_q = 1, inside_k = 1, inside_v = 1, inside_o = 1>(q1, k1, v1'
others='inside_k = 1, inside_v = 1, inside_o = 1>(q, k1, v1'
changed "transposes around attention" '' "$all" 1
changed "none is left" '' Transpose 0
changed "the result is the transpose's" '' 'o1, v[0-9]* = actnn.Attention.*\n*' 1
changed "k that has a row for each key already" 's/k = Transpose<perm = \[0, 2, 3, 1\]/k = Transpose<perm = [0, 2, 1, 3]/; s/(float\[8,2,)8,16(\] k\b)/${1}16,8$2/; s/transB = 0/transB = 1/' \
  "$all" 1
changed "a transpose that somebody else reads, too" "$(declare 'float[8,2,16,8]' extra)"' s/\n  v = Transp/\n  extra = Neg(q)$&/; s/(float\[N,4\] logits|=> \(.*?logits)/$1, float[8,2,16,8] extra/' \
  "$others" 1
changed "what is no transpose" 's/q = Transpose<perm = \[0, 2, 1, 3\]>\(q1\)/q = Reshape(q1, numbers)/; s/block \(/block (int64[4] numbers, /' "$others" 1
changed "a transpose that moves samples" 's/q = Transpose<perm = \[0, 2, 1, 3\]>\(q1\)/q = Transpose<perm = [2, 0, 1, 3]>(q1)/; s/float\[8,16,2,8\] q1/float[2,16,8,8] q1/' "$others" 1
changed "a transpose that moves features" 's/v = Transpose<perm = \[0, 2, 1, 3\]>\(v1\)/v = Transpose<perm = [0, 2, 3, 1]>(v1)/; s/float\[8,16,2,8\] v1/float[8,8,2,16] v1/' \
  'inside_q = 1, inside_k = 1, inside_o = 1>(q1, k1, v,' 1
changed "a result that is read by two" "$(declare 'float[8,2,16,8]' extra)"' s/\n  o1 = Transp/\n  extra = Neg(o)$&/; s/=> \(/=> (float[8,2,16,8] extra, /' 'inside_v = 1>(q1, k1, v1' 1
changed "a result that is transposed otherwise" 's/o1 = Transpose<perm = \[0, 2, 1, 3\]>/o1 = Transpose<perm = [0, 1, 3, 2]>/; s/float\[8,16,2,8\] o1/float[8,2,8,16] o1/' 'inside_v = 1>(q1, k1, v1' 1
# What shape rules refuse.
cp after.onnxtxt before.onnxtxt
refused() {
  perl -0777 -pe "$2" before.onnxtxt >changed.onnxtxt
  if cmp -s before.onnxtxt changed.onnxtxt; then echo "nothing was changed" >log; not_ok "$1" log; return; fi
  # shellcheck disable=SC2086
  if "$actnnc" changed.onnxtxt $options --check >log 2>&1; then not_ok "$1 is refused" log
  else check "$1 is refused" grep -q "$3" log; fi
}
refused "more axes inside of rows than there are before them" 's/inside_q = 1/inside_q = 3/' 'inside_q is 3, of 2 leading axes'
refused "fewer than none" 's/inside_v = 1/inside_v = -1/' 'inside_v is -1, of 2 leading axes'
refused "another number than others have" 's/inside_k = 1/inside_k = 2/' 'inside_k is 2, where others have 1'
refused "k without a row for each key" 's/transB = 1, scale/transB = 0, scale/' 'does not have a row for each key'

# Axes as a text may have them.
# shellcheck disable=SC2086
before block.onnxtxt absorb-transposes $options
wrong() { changed "$1" 's/(k = Transpose<perm = \[).*?(\])/${1}'"$2"'$2/' 'inside_q = 1, inside_v = 1, inside_o = 1>(q1, k, v1' 1; }
wrong "an axis twice" '0, 2, 2, 1'
wrong "an axis that there is not" '0, 99, 3, 1'
wrong "more axes than there are" '0, 2, 3, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12'
finish
