#!/bin/sh
# cifar.t: a folder of CIFAR-10's binary files trains on its five parts and is evaluated on its sixth, from inside or from above; one that
# lacks a part is refused.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"
. "$top_srcdir/tests/training/block.sh"

# records FILE COUNT: images all of one brightness, by class
records() {
  perl -e 'my ($file, $count) = @ARGV; open my $out, ">", $file or die; binmode $out;
    for my $n (0 .. $count - 1) { my $class = $n % 10; print $out chr($class), chr($class * 25) x 3072 }' "$1" "$2"
}

{
  printf '<ir_version: 8, opset_import: ["" : 17]>\nnet (float[N,3,32,32] image) => (float[N,10] logits)\n<\n'
  weights up 3 10
  printf '   int64[1] axis = {1}\n>\n{\n   a = GlobalAveragePool (image)\n   f = Flatten (a)\n   logits = MatMul (f, up)\n}\n'
} >net.onnxtxt
check "compiles" build_trainer net net.onnxtxt --batch=10 --loss=softmax-cross-entropy
mkdir -p above/cifar-10-batches-bin
for part in 1 2 3 4 5; do records above/cifar-10-batches-bin/data_batch_$part.bin 20; done
records above/cifar-10-batches-bin/test_batch.bin 30
for folder in above above/cifar-10-batches-bin; do
  check "$folder: trains and is evaluated" ./net --data $folder --epochs 1 --quiet --log log.json
  check "$folder: ten steps of a hundred samples" grep -q '"steps":10,"samples":100' log.json
  check "$folder: thirty to be evaluated" grep -q '"test_samples":30' log.json
done
rm above/cifar-10-batches-bin/data_batch_4.bin
./net --data above --epochs 1 --quiet >log 2>&1
code=$?
if [ $code -eq 1 ] && grep -q 'data_batch_4.bin' log; then ok "a part that lacks is named"; else not_ok "a part that lacks is named" log; fi
finish
