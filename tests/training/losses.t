#!/bin/sh
# losses.t: every kind of loss, in training and in evaluation, against the same numbers computed here; targets of the prediction's shape,
# and class numbers that become vectors with a single 1.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/environment.sh"

# array FILE TYPE EXTENTS: an NPY file of the numbers that it reads. TYPE: <f4, |u1 or <i8.
array() {
  perl -e 'my ($file, $type, $extents) = @ARGV; local $/; my @values = split " ", <STDIN>;
    my $shape = join ", ", split /x/, $extents; $shape .= "," unless $extents =~ /x/;
    my $head = "{\x27descr\x27: \x27$type\x27, \x27fortran_order\x27: False, \x27shape\x27: ($shape), }";
    $head .= " " x (63 - (length($head) + 10) % 64) . "\n";
    open my $out, ">", $file or die; binmode $out;
    print $out "\x93NUMPY\x01\x00", pack("v", length $head), $head, pack($type eq "<f4" ? "f<*" : $type eq "|u1" ? "C*" : "q<*", @values);' "$@"
}

perl -e 'srand 3; print join(" ", map { sprintf "%.3f", rand() * 2 - 1 } 1 .. 80), "\n"' >x
perl -e 'srand 5; print join(" ", map { sprintf "%.3f", rand() } 1 .. 60), "\n"' >target
perl -e 'print join(" ", map { int($_ * 7 / 4) % 3 } 1 .. 20), "\n"' >classes
array x.npy '<f4' 20x4 <x
array target.npy '<f4' 20x3 <target
array classes.npy '|u1' 20 <classes
weights="0.5 -0.2 0.1 0.3 0.8 -0.6 -0.4 0.2 0.7 0.1 -0.3 0.9" bias="0.1 -0.1 0.2"
list() { echo "{$*}" | tr ' ' ','; }
cat >net.onnxtxt <<END
<ir_version: 8, opset_import: ["" : 17]>
net (float[N,4] x) => (float[N,3] y)
<float[4,3] w = $(list "$weights"), float[3] b = $(list "$bias")>
{ h = MatMul (x, w)
  y = Add (h, b) }
END
cat >own.onnxtxt <<END
<ir_version: 8, opset_import: ["" : 17]>
own (float[N,4] x, float[N,3] t) => (float loss)
<float[4,3] w = $(list "$weights"), float[3] b = $(list "$bias"), float half = {0.5}>
{ h = MatMul (x, w)
  y = Add (h, b)
  d = Sub (y, t)
  q = Mul (d, d)
  m = ReduceMean <keepdims = 0> (q)
  loss = Mul (m, half) }
END

# expected KIND FIRST LAST [classes]: the mean loss of these samples, and how many of the classes are found.
expected() {
  perl -e 'my ($kind, $first, $last, $classes, $weights, $bias) = @ARGV;
    sub numbers { open my $in, "<", $_[0] or die; local $/; split " ", <$in> }
    my @x = numbers("x"); my @t = numbers("target"); my @c = numbers("classes"); my @w = split " ", $weights; my @b = split " ", $bias;
    my ($sum, $count, $hits) = (0, 0, 0);
    for my $n ($first .. $last) {
      my @y = map { my $j = $_; my $s = $b[$j]; $s += $x[4 * $n + $_] * $w[3 * $_ + $j] for 0 .. 3; $s } 0 .. 2;
      my @t = $classes ? map { $_ == $c[$n] ? 1 : 0 } 0 .. 2 : @t[3 * $n .. 3 * $n + 2];
      my ($best) = sort { $y[$b] <=> $y[$a] } 0 .. 2;
      $hits += $best == $c[$n];
      if ($kind eq "softmax-cross-entropy") { my $z = 0; $z += exp $_ for @y; $sum += log($z) - $y[$c[$n]]; $count++; next }
      for (0 .. 2) {
        my $d = $y[$_] - $t[$_];
        $sum += $kind eq "mse" ? $d * $d : $kind eq "output" ? $d * $d / 2 : $kind eq "l1" ? abs $d : log(1 + exp $y[$_]) - $y[$_] * $t[$_];
        $count++;
      }
    }
    printf "%.9f %.9f\n", $sum / $count, $hits / ($last - $first + 1);' "$1" "$2" "$3" "$4" "$weights" "$bias"
}

# value KEY: its last in the log
value() { sed -n "s/.*\"$1\": *\([0-9.e+-]*\).*/\1/p" log.json | tail -n 1; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a != "" && (d < 0 ? -d : d) < 1e-6) }'; }

# losses MODEL KIND TARGET-INPUT TARGET-FILE [classes]
losses() {
  model=$1 kind=$2 loss_name="$2${5:+, of classes}"
  build_trainer loss "$model.onnxtxt" --batch=8 --loss="$kind" --level=L0 >log 2>&1 || { not_ok "$loss_name: compiles" log; return; }
  data="x=x.npy --data $3=$4.npy"
  # shellcheck disable=SC2086
  ./loss --data $data --eval x=x.npy --eval "$3=$4.npy" --epochs 1 --lr 0 --shuffle no --quiet --log log.json >log 2>&1 ||
    { not_ok "$loss_name: trains" log; return; }
  first=$(sed -n 's/.*"step":1,.*"loss":\([0-9.]*\).*/\1/p' log.json)
  # shellcheck disable=SC2046
  set -- $(expected "$kind" 0 7 "$5") $(expected "$kind" 0 19 "$5") "$5"
  check "$loss_name: a batch's loss is $1, found $first" near "$first" "$1"
  if [ "$kind" = output ]; then return; fi
  check "$loss_name: evaluated over samples that are no whole batches, $3, found $(value test_loss)" near "$(value test_loss)" "$3"
  if [ "$kind" = softmax-cross-entropy ] || [ "$5" ]; then
    check "$loss_name: and $4 of them right, found $(value test_accuracy)" near "$(value test_accuracy)" "$4"
  else
    check "$loss_name: which has no accuracy" test -z "$(value test_accuracy)"
  fi
}

losses net softmax-cross-entropy labels classes
losses net mse labels target
losses net l1 labels target
losses net bce-with-logits labels target
losses net mse labels classes classes
losses net bce-with-logits labels classes classes
losses own output t target
finish
