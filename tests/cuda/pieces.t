#!/bin/sh
# pieces.t: convolutions once more, on a stand-in for a library that counts fewer elements, so that samples go one by one, and for one that lacks
# algorithms, so that it gets other copies: with as much padding on either side and with more on one.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
[ -f "$top_builddir/tests/cuda/libactnn-cuda.so" ] || skip_all "no C++ compiler made the stand-in for a GPU"

# passes OPERATOR: all its points
passes() {
  "$top_builddir/tests/cuda/test_kernels" "$1" >output 2>&1
  code=$? good=$(grep -c '^ok' output)
  grep -A 1 '^not ok' output
  [ $code -eq 0 ] && [ "$good" -gt 0 ]
}
for operator in Conv ConvGradInput ConvGradWeight ConvTranspose; do
  SHIM_ELEMENTS=7020 # a padded sample's of the largest
  export SHIM_ELEMENTS
  check "$operator in pieces" passes $operator
  unset SHIM_ELEMENTS
  for kind in channels-last bfloat16; do
    SHIM_LACKS=$kind
    export SHIM_LACKS
    check "$operator without algorithms for $kind" passes $operator
  done
  unset SHIM_LACKS
done
finish
