# environment.sh: what the shell tests share; each sources it first. They print TAP.
#
# `make check` says where things are: $top_srcdir, $top_builddir (absolute) and $CC. By hand, from the build tree:
#   top_builddir=$PWD sh SOURCES/tests/training/levels.t
#
#   $work                                an empty folder of this test, the current one, removed at the end
#   $models, $actnnc, $oracle            the zoo, the translator, the double-precision oracle reference_gradients
#   build_trainer NAME MODEL [OPTION]... compiles MODEL to ./NAME.c and that to the program ./NAME; for a GPU where $device names its library
#   ok WHAT, not_ok WHAT [FILE]          one point of the test; FILE is shown as comments
#   check WHAT COMMAND...                ok when the command succeeds; what it printed is shown when it does not
#   skip WHAT REASON, skip_all REASON    one point, or the whole test, cannot run here
#   finish                               the plan; the last line of each test
: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${top_builddir:=$top_srcdir}"
: "${CC:=cc}"
models=$top_srcdir/models
actnnc=$top_builddir/actnnc
oracle=$top_builddir/tests/training/reference_gradients
library=$top_builddir/.libs
includes="-I$top_srcdir/runtime -I$top_builddir/runtime"
kernel_includes="-I$top_srcdir/cuda -I$top_srcdir/src"
# Threads that wait for each other sleep: tests share the machine.
OMP_WAIT_POLICY=passive LC_ALL=C
LD_LIBRARY_PATH=$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export OMP_WAIT_POLICY LC_ALL LD_LIBRARY_PATH

points=0
work=$(mktemp -d "${TMPDIR:-/tmp}/actnn-test.XXXXXX") || exit 1
trap 'cd /; chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

ok() {
  points=$((points + 1))
  echo "ok $points - $1"
}

not_ok() {
  points=$((points + 1))
  echo "not ok $points - $1"
  if [ -n "$2" ]; then head -n 30 "$2" | sed 's/^/# /'; fi
}

check() {
  what=$1
  shift
  if "$@" >"$work/check.output" 2>&1; then ok "$what"; else not_ok "$what" "$work/check.output"; fi
}

skip() {
  points=$((points + 1))
  echo "ok $points - $1 # SKIP $2"
}

skip_all() {
  echo "1..0 # SKIP $1"
  exit 0
}

finish() {
  echo "1..$points"
}

# compile_trainer NAME: ./NAME.c, and ./NAME.cu if it is there, to the program ./NAME. Kernels are linked by name, as the device is: by the
# stand-in's compiler, with $shim_flags and in $device_library if they are set, unless $KERNEL_COMPILER names the real one.
compile_trainer() {
  kernels=
  if [ -n "$device" ] && [ -f "$1.cu" ]; then
    kernels="./lib$1-kernels.so"
    # shellcheck disable=SC2086 # the compiler and its options are lists of words
    if [ -n "$KERNEL_COMPILER" ]; then
      $KERNEL_COMPILER -Xcompiler -fPIC $includes $kernel_includes -shared "$1.cu" -o "$kernels"
    else
      "${CXX:-c++}" -x c++ -std=c++17 -O2 -Wall -Werror -ffp-contract=off -fPIC -DACTNN_SHIM $shim_flags $includes $kernel_includes \
        -I"$top_srcdir/tests/cuda" -shared "$1.cu" -o "$kernels"
    fi || return 1
  fi
  # shellcheck disable=SC2086 # CC and the folders are lists of words
  $CC -std=c11 -Wall -Wextra -pedantic -Werror $includes "$1.c" $kernels -L"$library" ${device:+-L"${device_library:-$top_builddir/tests/cuda}" -l"$device"} \
    ${kernels:+-Wl,-rpath,"$PWD"} -lactnn -o "$1"
}

build_trainer() {
  trainer=$1
  shift
  "$actnnc" "$@" -o "$trainer.c" && compile_trainer "$trainer"
}
