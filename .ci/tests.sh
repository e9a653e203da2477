# What ./dev test runs after the build. Sourced by ./dev.
#
# Each step ends by itself: the Rust tests by nextest's limits, the Python programs by their own
# deadlines, and `timeout` stands behind both.

# A round is three faults: the leader, a follower, all three nodes.
KILL_ROUNDS_SHORT=3
KILL_ROUNDS_LONG=50
POWER_ROUNDS_SHORT=2
POWER_ROUNDS_LONG=34

build_tests() {
  if have cargo-nextest; then
    cargo nextest run --release --workspace --locked --no-run
  else
    cargo test --release --workspace --locked --no-run
  fi
}

rust_tests() {
  if have cargo-nextest; then
    timeout --kill-after=30 1500 cargo nextest run --release --workspace --locked --no-fail-fast
  else
    timeout --kill-after=30 1500 cargo test --release --workspace --locked --no-fail-fast
  fi
}

# nextest does not run the examples in docstrings.
rust_doc_tests() { timeout --kill-after=30 600 cargo test --release --workspace --locked --doc --quiet; }

main_job() {
  timeout --kill-after=30 180 python3 "$ROOT/tests/main_job.py" \
    --binary "$BINARY" --dir "$WORK/main-job" --fresh --once </dev/null
}

readme_blocks() {
  python_run 240 "$ROOT/tests/readme.py" --binary "$BINARY" --dir "$WORK/readme"
}

iron_client() {
  python_run 300 "$ROOT/tests/clients/python_iron_mq.py" --binary "$BINARY" --dir "$WORK/iron"
}

# $1 rounds of each kind of kill, $2 the most seconds it may take.
kill_rounds() {
  timeout --kill-after=60 "$2" python3 "$ROOT/jepsen/kill.py" \
    --binary "$BINARY" --dir "$WORK/kill" --rounds "$1" --result "$WORK/kill.json"
}

can_cut_power() { [ "$(id -u)" -eq 0 ] && have mkfs.ext4 && [ -e /dev/loop-control ]; }

# As kill_rounds, with power cuts on loop devices.
power_rounds() {
  timeout --kill-after=60 "$2" python3 "$ROOT/jepsen/power.py" \
    --binary "$BINARY" --dir "$WORK/power" --rounds "$1" --result "$WORK/power.json"
}

# $1 `--small` or nothing, $2 the most seconds it may take. Many waiting, lapsing, cleared at once.
scale() {
  timeout --kill-after=60 "$2" python3 "$ROOT/jepsen/scale.py" \
    --binary "$BINARY" --dir "$WORK/scale" --result "$WORK/scale.json" $1
}

# As scale, for nodes that come back by log, by snapshot, and on a new disk.
catchup() {
  timeout --kill-after=60 "$2" python3 "$ROOT/jepsen/catchup.py" \
    --binary "$BINARY" --dir "$WORK/catchup" --result "$WORK/catchup.json" $1
}

full_disk() {
  timeout --kill-after=60 400 python3 "$ROOT/jepsen/full_disk.py" \
    --binary "$BINARY" --dir "$WORK/full-disk" --result "$WORK/full-disk.json"
}

# Seeds of every run, and of these the first few twice: the same hash.
SEEDS_SHORT=300
SEEDS_TWICE=20

# $1 and the rest go to the simulator; it runs as many processes as there are cores.
simulate() {
  timeout --kill-after=30 "$1" "$TARGET/release/sim" --jobs "$(nproc)" "${@:2}" >"$WORK/sim.out"
}

seeds_short() {
  simulate 900 --seeds "$SEEDS_SHORT" || { grep -v '^seed' "$WORK/sim.out"; return 1; }
  grep 'seeds failed' "$WORK/sim.out"
}

seeds_twice() {
  simulate 300 --seeds "$SEEDS_TWICE" --twice || { grep -v '^seed' "$WORK/sim.out"; return 1; }
  grep 'seeds failed' "$WORK/sim.out"
}

tests_fast() {
  mkdir -p "$WORK"
  step "house rules" 10 xtask tidy
  step "Rust tests" 180 rust_tests
  step "simulator: $SEEDS_SHORT seeds" 90 seeds_short
  step "simulator: $SEEDS_TWICE seeds, each twice" 12 seeds_twice
  step "checker on planted histories" 5 python_unit
  step "main job: leader killed in the middle" 40 main_job
}

tests_long() {
  step "Rust documentation tests" 120 rust_doc_tests
  step "README blocks" 60 readme_blocks
  step "iron-mq 0.9 on every node" 90 iron_client
  step "kill -9, $KILL_ROUNDS_SHORT rounds of each kind" 150 kill_rounds "$KILL_ROUNDS_SHORT" 600
  step "scale, small form" 40 scale --small 300
  step "coming back by log, by snapshot, on a new disk, small form" 60 catchup --small 300
  if can_cut_power; then
    step "power cuts, $POWER_ROUNDS_SHORT rounds of each kind" 120 power_rounds "$POWER_ROUNDS_SHORT" 600
    step "full disks and lost majorities" 140 full_disk
  else
    not_checked "power cuts, full disks" "they need root, mkfs.ext4 and loop devices"
  fi
}

say_not_run_always() {
  if [ "$1" = fast ]; then
    skipped "Rust documentation tests" "left out by --fast"
    skipped "README blocks" "left out by --fast"
    skipped "iron-mq 0.9 on every node" "left out by --fast"
    skipped "kill -9 rounds" "left out by --fast"
    skipped "scale; coming back" "left out by --fast"
    skipped "power cuts, full disks" "left out by --fast; they need root"
  fi
  skipped "kill -9, $KILL_ROUNDS_LONG rounds, and the other long forms" "too long here; ./dev nightly runs them"
}

# Ends with the times against their budget, then failures, then what was left out.
finish_tests() {
  local tests_seconds=$((SECONDS - $1)) build_seconds=$1
  say
  say "Build: $(span "$build_seconds") of 40 min (cold); tests: $(span "$tests_seconds") of 25 min."
  if [ "$build_seconds" -gt 2400 ]; then red "The build is over its budget."; fi
  if [ "$tests_seconds" -gt 1500 ]; then red "The tests are over their budget."; fi
  finish
}
