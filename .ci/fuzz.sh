# Searching for inputs that break a decoder, guided by coverage. Sourced by ./dev.
#
# libFuzzer on stable Rust: the compiler is told to count edges and compares (flags of LLVM), and
# g++ builds libFuzzer. The flags go with `--target`, so that they reach no build script; what is
# built with them lies beside, not in place of, what the other commands build.
# A target's corpus is copied, so a run changes nothing in the checkout unless it is told --keep.

FUZZ_SECS=60
FUZZ_WORK=$WORK/fuzz
FUZZ_FLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# Largest input, in bytes, and what one may take: of time, in seconds, and of memory, in MiB.
FUZZ_LIMITS=(-max_len=2048 -timeout=10 -rss_limit_mb=1024)

# This machine, as the compiler calls it.
fuzz_triple() { rustc -vV | sed -n 's/^host: //p'; }
fuzz_program() { echo "$TARGET/$(fuzz_triple)/release/$1"; }
fuzz_targets() { sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"$|\1|p' "$ROOT/fuzz/Cargo.toml"; }

# $1 seconds per target, $2 whether new inputs are kept, then the names of targets.
fuzz() {
  local secs=$1 keep=$2 name
  shift 2
  must_step "build of the fuzz targets" 240 fuzz_build "$@"
  for name in "$@"; do
    step "fuzz $name" "$secs" fuzz_one "$name" "$secs"
    if [ "$keep" = yes ]; then step "keep what $name found" 20 fuzz_keep "$name"; fi
  done
  finish
}

fuzz_build() {
  local bins=() name
  for name in "$@"; do bins+=(--bin "$name"); done
  RUSTFLAGS=$FUZZ_FLAGS cargo build --release --locked --target "$(fuzz_triple)" \
    --manifest-path "$ROOT/fuzz/Cargo.toml" "${bins[@]}"
}

# Runs target $1 for $2 seconds over a copy of its corpus. Ends by itself.
fuzz_one() {
  local name=$1 secs=$2 status=0
  local work=$FUZZ_WORK/$name log=$FUZZ_WORK/$name.log
  rm -rf -- "$work"
  mkdir -p "$work/corpus" "$work/found"
  cp -- "$ROOT/fuzz/corpus/$name"/* "$work/corpus/"
  # In a folder of its own, for its crash files.
  (cd "$work" && timeout --kill-after=10 $((secs + 60)) "$(fuzz_program "$name")" \
    "${FUZZ_LIMITS[@]}" -max_total_time="$secs" -print_final_stats=1 \
    -artifact_prefix="$work/found/" corpus) 2>&1 | fuzz_progress "$log" || status=$?
  fuzz_say_result "$name" "$log"
  if [ "$status" -ne 0 ]; then fuzz_say_crash "$name" "$work/found" "$log"; fi
  return "$status"
}

# Copies its input into the log $1; shows the last line of it on a terminal alone.
fuzz_progress() {
  if [ -t 2 ]; then
    tee "$1" | awk '/cov: [0-9]+/ { printf "\r\033[K%s", substr($0, 1, 100); fflush() } END { printf "\r\033[K" }' >&2
  else
    cat >"$1"
  fi
}

fuzz_say_result() {
  local last
  last=$(grep -o 'cov: [0-9]* ft: [0-9]*' "$2" | tail -n 1)
  say "$1: ${last:-no coverage}," \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$2") inputs," \
    "$(sed -n 's/^stat::average_exec_per_sec: *//p' "$2") a second"
}

# Shows what was said, and the one command that repeats it.
fuzz_say_crash() {
  local input
  grep -v '^#' "$3" | grep -A 6 -m 1 'panicked at\|ERROR: libFuzzer' >&2 || tail -n 5 "$3" >&2
  input=$(find "$2" -type f | head -n 1)
  if [ -z "$input" ]; then say "the whole output: $3"; return; fi
  red "input:  $input"
  red "repeat: ./dev fuzz $1 $input"
}

# Runs target $1 once, on the file $2.
fuzz_repeat() {
  must_step "build of the fuzz targets" 240 fuzz_build "$1"
  step "$1 on $2" 1 timeout --kill-after=10 60 "$(fuzz_program "$1")" "${FUZZ_LIMITS[@]}" "$2"
  finish
}

# Adds to the corpus of target $1 a few inputs that together reach what it does not.
fuzz_keep() {
  timeout --kill-after=10 300 "$(fuzz_program "$1")" "${FUZZ_LIMITS[@]}" -set_cover_merge=1 \
    "$ROOT/fuzz/corpus/$1" "$FUZZ_WORK/$1/corpus" 2>&1 | grep 'MERGE-OUTER' >&2
  say "$(find "$ROOT/fuzz/corpus" -type f | wc -l) files," \
    "$(find "$ROOT/fuzz/corpus" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')" \
    "bytes in fuzz/corpus; aim at 100 and 200000"
}
