# seeds.sh: what fuzzing starts from, made of what is there; sourced after environment.sh.
#   make_seeds HARNESS FOLDER    fills the folder; few seconds
node_cases=/usr/share/libonnx-testdata/data/node

# small_models BYTES: paths of binary models that are smaller, of the zoo and of ONNX's node tests.
small_models() {
  find "$models" "$top_srcdir/tests/training/models" -name '*.onnx' -size -"$1"c
  if [ -d "$node_cases" ]; then find "$node_cases" -name model.onnx -size -"$1"c | sort; fi
}

# program_texts FOLDER: models as text: every tenth node test, and a model of the zoo after each pass.
program_texts() {
  number=0
  small_models 3000 | sed -n '1~10p' | while read -r model; do
    number=$((number + 1))
    "$actnnc" "$model" --run-pass=none -o "$1/$number.onnxtxt" 2>/dev/null
  done
  cp "$models"/*.onnxtxt "$1"
  "$actnnc" "$models/mlp.onnx" --batch=4 --loss=mse --dump-passes="$1" --check >/dev/null
  "$actnnc" "$models/lenet5.onnx" --batch=2 --loss=softmax-cross-entropy --optimizer=adam --dump-passes="$1/lenet" --check >/dev/null
  for dump in "$1"/lenet/*; do mv "$dump" "$1/lenet-${dump##*/}"; done
  rmdir "$1/lenet"
}

# after_prefix PREFIX FROM TO: a seed that begins with bytes given as printf has them.
after_prefix() {
  # shellcheck disable=SC2059
  { printf "$1" && cat "$2"; } >"$3"
}

# Each model under a command line, the three usual losses in turn.
command_lines() {
  number=0
  { small_models 12000 && find "$1.texts" -name '*.onnxtxt'; } | while read -r model; do
    number=$((number + 1))
    loss=$((number % 5)) optimizer=$((number / 5 % 8)) level=$((number % 4))
    after_prefix "\\004\\00$loss\\00$optimizer\\00$level\\000\\000\\104\\001" "$model" "$1/$number"
  done
}

# safetensors HEADER BYTES
safetensors() {
  printf "\\$(printf %03o ${#1})\\0\\0\\0\\0\\0\\0\\0" && printf %s "$1" && head -c "$2" /dev/zero
}

checkpoints() {
  header='{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},'
  header=$header'"b":{"dtype":"F32","shape":[3],"data_offsets":[24,36]}}'
  safetensors "$header" 36 >"$1/weights"
  header='{"x":{"dtype":"I64","shape":[0],"data_offsets":[0,0]}}'
  safetensors "$header" 0 >"$1/empty"
  WRITE_SEED=$1/checkpoint "$top_builddir/tests/fuzz/libfuzzer/fuzz_checkpoint"
}

data_files() {
  head -c 3073 /dev/zero >"$1.record"
  after_prefix '\002\000' "$1.record" "$1/cifar"
  printf '\000\000\010\003\000\000\000\004\000\000\000\004\000\000\000\004%064d' 0 >"$1.idx"
  after_prefix '\000\001' "$1.idx" "$1/idx"
  gzip -c "$1.idx" >"$1.idx.gz"
  after_prefix '\000\001' "$1.idx.gz" "$1/idx.gz"
  header="{'descr': '<f4', 'fortran_order': False, 'shape': (4, 6), }"
  { printf '\223NUMPY\001\000' && printf "\\$(printf %03o ${#header})\\000" && printf %s "$header" && head -c 96 /dev/zero; } >"$1.npy"
  after_prefix '\001\002' "$1.npy" "$1/npy"
  for method in 0 8; do
    perl -MIO::Compress::Zip=:all -e 'zip $ARGV[0] => $ARGV[1], Name => "x.npy", Method => $ARGV[2] or die' "$1.npy" "$1.zip" $method
    after_prefix '\000\002' "$1.zip" "$1/npz.$method"
  done
  printf 'to be or not to be that is the question' >"$1.txt"
  after_prefix '\000\003' "$1.txt" "$1/txt"
  rm "$1".*
}

make_seeds() {
  mkdir -p "$2"
  case $1 in
  import) small_models 12000 | { number=0 && while read -r model; do number=$((number + 1)) && cp "$model" "$2/$number"; done; } ;;
  text) program_texts "$2" ;;
  compile) mkdir -p "$2.texts" && program_texts "$2.texts" && command_lines "$2" && rm -r "$2.texts" ;;
  checkpoint) checkpoints "$2" ;;
  data) data_files "$2" ;;
  esac
}
