#!/bin/sh
# schema.t: the reader of models builds from another ONNX schema (--with-onnx-proto=FILE), under whatever name and with
# fields that Debian's does not have.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

schema=$(sed -n 's/^ONNX_PROTO = //p' "$top_builddir/Makefile")
sed 's/^message NodeProto {/&\n  optional string of_a_later_release = 1999;/' "$schema" >later_schema.proto
mkdir build && cd build || exit 1
# Configured as the build is, which found out about this machine already.
sed -n '/_cv_env_/d; s/^[a-z_]*_cv_[^=]*=/&/p' "$top_builddir/config.log" >config.cache
eval "set -- $("$top_builddir/config.status" --config) --srcdir='$top_srcdir' -q -C"

check "configure takes another schema" sh "$top_srcdir/configure" "$@" --with-onnx-proto="$work/later_schema.proto"
check "its reader is generated" make -s src/onnx.pb-c.c runtime/actnn_kernels.h
check "with the fields that it adds" grep -q of_a_later_release src/onnx.pb-c.h
for source in onnx.pb-c $(cd "$top_srcdir/src" && grep -l '"onnx_export\.h"\|"onnx_load\.h"' onnx_*.c); do
  check "$source compiles with it" make -s CFLAGS=-Werror "src/libtranslator_la-$(basename "$source" .c).lo"
done

sh "$top_srcdir/configure" "$@" --with-onnx-proto="$work/nowhere.proto" >refusal 2>&1
check "a schema that is not there is refused" [ $? -ne 0 ]
check "with its name" grep -q "nowhere.proto is missing" refusal
finish
