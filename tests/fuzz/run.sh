#!/bin/bash
# Builds every fuzz target in build/fuzz (clang-14, ASan + UBSan) and runs each for a while; fails when one finds a crash.
#
#   tests/fuzz/run.sh [SECONDS] [NAME...]      e.g. tests/fuzz/run.sh 60 pth npy; default 20 s of every target
#
# Seeds are in tests/fuzz/corpus/NAME; what a run discovers is kept in build/fuzz/corpus/NAME, crashes in build/fuzz/crashes.
# Reproduce one with build/fuzz/tests/fuzz/fuzz_NAME FILE.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-20}
shift || true
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  for source in tests/fuzz/fuzz_*.cc; do
    name=$(basename "$source" .cc)
    names+=("${name#fuzz_}")
  done
fi

build=build/fuzz
mkdir -p $build
configure() {
  cmake -S . -B $build -G Ninja -DCMAKE_C_COMPILER=clang-14 -DCMAKE_CXX_COMPILER=clang++-14 -DFOVEA_FUZZ=ON -DFOVEA_TESTS=OFF -DFOVEA_BENCH=OFF > $build/cmake.log 2>&1
}
forget() { rm -rf $build/CMakeCache.txt $build/CMakeFiles; }
# A configuration that failed (a package was missing) leaves a cache that the next one trips over.
[ -f $build/build.ninja ] || forget
configure || { forget && configure; } || { cat $build/cmake.log; exit 1; }
ninja -C $build -j"${FOVEA_JOBS:-$(nproc)}" --quiet "${names[@]/#/fuzz_}"

# Allocation failures must be exceptions, as in the library, and OpenMP's threads only slow tiny inputs down.
export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=1
mkdir -p $build/crashes
rm -f $build/*.failed

# Runs one target; on a finding shows the end of its log and leaves NAME.failed behind.
fuzz() {
  local name=$1 seeds=()
  mkdir -p "$build/corpus/$name"
  [ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
  if "$build/tests/fuzz/fuzz_$name" "$build/corpus/$name" "${seeds[@]}" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 \
      -artifact_prefix="$build/crashes/$name-" -print_final_stats=1 > "$build/$name.log" 2>&1; then
    echo "fuzz $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log") inputs, nothing found"
  else
    tail -n 60 "$build/$name.log"
    touch "$build/$name.failed"
  fi
}
export -f fuzz
export build seconds
printf '%s\n' "${names[@]}" | xargs -P "${FOVEA_JOBS:-$(nproc)}" -I{} bash -c 'fuzz {}'
if compgen -G "$build/*.failed" > /dev/null; then
  echo "fuzz: findings in $(cd $build && ls ./*.failed); the inputs are in $build/crashes" >&2
  exit 1
fi
