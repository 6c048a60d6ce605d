#!/bin/sh
# near_images.t: which values lie in blocks of channels, and how many bits values get, in programs a little out of the ordinary.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/passes/near.sh"

# net NODES [TYPES]: c1, c2 of 16 channels are convolutions of x; the nodes make y of them
net() {
  cat <<END
<ir_version: 8, opset_import: ["" : 17, "actnn" : 1]>
net (float[N,16,8,8] x) => (float[N,16,8,8] y)
<float[16,16,1,1] w1 = ["location" : "none"], float[16,16,1,1] w2 = ["location" : "none"]$2>
{
  [conv1] c1 = Conv <kernel_shape = [1, 1]> (x, w1)
  [conv2] c2 = Conv <kernel_shape = [1, 1]> (c1, w2)
  $1
}
END
}
# blocked WHAT NAME COUNT: COUNT is 1 where the value is in blocks
blocked() { changed "$1" "$4" "\"actnn.blocked\" : \".* $2[ \"]" "$3"; }
net 'r = Relu (c2) [cat] y0 = Concat <axis = 1> (c1, r) z = Relu (y0) [out] y = Conv <kernel_shape = [1, 1]> (z, w3)' \
  ', float[16,32,1,1] w3 = ["location" : "none"]' >net.onnxtxt
before net.onnxtxt layout --batch=2 --loss=mse
blocked "channels that are joined" y0 1 ''
blocked "the axis may be counted from the end" y0 1 's/(y0 = Concat<axis = )1/$1-3/'
blocked "rows that are joined" y0 0 's/(y0 = Concat<axis = )1/${1}2/'
blocked "another axis counted from the end" y0 0 's/(y0 = Concat<axis = )1/$1-2/'
blocked "elementwise, to nothing" z 1 's/\n  r = Relu\(c2\)/\n  "" = Relu(c1)$&/'
blocked "elementwise of two dimensions" r 0 's/float\[2,16,8,8\] r,/float[32,64] r,/'
blocked "elementwise with a number in the middle" r 1 \
  's/ r = Relu\(c2\)/ r = Add(c2, one)/; s/\n>\n\{/,\n  float[1,1,1] one = ["location" : "none"]\n>\n{/'
blocked "integers that are joined" y0 0 's/float\[2,16,8,8\] r,/int64[2,16,8,8] r,/'
blocked "a value that is joined with nothing" y0 1 's/\(c1, r\)/(c1, r, )/'

net 'y = Add (, c2)' ', float[2,16,8,8] c1, float[2,16,8,8] c2' | sed 's/N,/2,/g' >absent.onnxtxt
"$actnnc" absent.onnxtxt --run-pass=layout >output 2>messages
check "a sum of nothing, which a text may hold, is told behind the pass" sh -c "[ $? -eq 1 ] && grep -q \"'a' is missing\" messages"

"$actnnc" net.onnxtxt --batch=2 --loss=mse --dump-passes=again --check >log 2>&1
"$actnnc" again/*-quantize.onnxtxt --run-pass=layout >output 2>messages
check "where there are codes already the pass is refused" sh -c "[ $? -eq 1 ] && grep -q 'is read without a restore' messages"

# ---- bits
net 'y = Relu (c2)' >net.onnxtxt
bits() { "$actnnc" net.onnxtxt --batch=8 --loss=mse --explain-saves "$@" >bits.out 2>&1; }
bits --bits=8 --profile-use=none.json
check "a profile that is not there is told" grep -q '^none.json: error: ' bits.out
printf '{"format": "actnn-profile", "version": 1, "saves": [{"name": "c1", "weight": 4}]}' >one.json
bits --profile-use=one.json
check "a profile of one value" grep -q 'by what a run has measured' bits.out
printf '{"format": "actnn-profile", "version": 1, "saves": [{"name": "zz", "weight": 4}]}' >other.json
bits --profile-use=other.json
check "a profile of another value is refused" grep -q 'no value that it names is saved' bits.out
bits --compression=4
check "a compression is kept to" awk '/values shared/ { found = 1; exit !($4 <= $6) } END { if (!found) exit 1 }' bits.out
for scheme in actnn actnnc; do
  bits --compression=4 --level=L2 --scheme=$scheme
  check "$scheme: and at a level of fixed bits" grep -q '/\(stochastic\|dither\) ' bits.out
done
finish
