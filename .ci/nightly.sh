# The long forms. Sourced by ./dev.
#
# Resumable: a step that passed is noted with the commit it passed on and is not run again for
# that commit. `--again` forgets the notes. Figures are kept under docs/figures/ and shown in
# docs/performance.md.

NIGHTLY=$CACHE/nightly

nightly() {
  local commit
  commit=$(git -C "$ROOT" rev-parse --short HEAD 2>/dev/null || echo unknown)
  [ "$1" = no ] || rm -rf -- "$NIGHTLY"
  mkdir -p "$NIGHTLY" "$WORK" "$ROOT/docs/figures"
  say "commit $commit; notes in $NIGHTLY"
  long "$commit" "model-test" 600 model_long
  long "$commit" "simulator" 3600 simulator_long
  long "$commit" "corruptions" 900 corruptions_long
  long "$commit" "mutants" 1800 mutants_long
  long "$commit" "fuzz" 1200 fuzz_long
  long "$commit" "kill" 2400 kill_long
  if can_cut_power; then
    long "$commit" "power" 2400 power_long
  else
    not_checked "power cuts" "they need root, mkfs.ext4 and loop devices"
  fi
  long "$commit" "scale" 300 scale_long
  long "$commit" "catchup" 400 catchup_long
  long "$commit" "bench" 300 bench_long
  step "figures" 5 python3 "$ROOT/tests/figures.py" --write
}

# Runs step $2 unless it has passed on commit $1 before.
long() {
  local note="$NIGHTLY/$1-$2" before=${#FAILED[@]}
  if [ -e "$note" ]; then skipped "$2" "passed on this commit before; --again runs it again"; return; fi
  step "$2" "$3" "$4"
  if [ "${#FAILED[@]}" -eq "$before" ]; then touch "$note"; fi
}

model_long() {
  BESSEMER_MODEL_OPS=1000000 timeout --kill-after=30 3600 \
    cargo test --release --workspace --locked --test engine -- --nocapture model
}

# Goes on where it stopped: seeds that were run on this commit are left out.
simulator_long() {
  simulate 14400 --seeds 20000 --resume "$NIGHTLY/seeds-$(git -C "$ROOT" rev-parse --short HEAD)" || { grep -v '^seed' "$WORK/sim.out"; return 1; }
  simulate 3600 --seeds 1000 --twice || { grep -v '^seed' "$WORK/sim.out"; return 1; }
  grep 'seeds failed' "$WORK/sim.out"
}

# Random changes of a valid history, a thousand per check.
corruptions_long() {
  BESSEMER_TESTS=full timeout --kill-after=30 3600 \
    cargo test --release --workspace --locked --test corruptions -- --nocapture
}

mutants_long() {
  mkdir -p "$MUTANTS"
  build_mutants
  hunt
  build_patched
  hunt_patched
}

fuzz_long() {
  local name names
  mapfile -t names < <(fuzz_targets)
  fuzz_build "${names[@]}"
  for name in "${names[@]}"; do fuzz_one "$name" "$FUZZ_SECS"; done
}

kill_long() {
  kill_rounds "$KILL_ROUNDS_LONG" 7200
  cp "$WORK/kill.json" "$ROOT/docs/figures/kill.json"
}

power_long() {
  power_rounds "$POWER_ROUNDS_LONG" 7200
  cp "$WORK/power.json" "$ROOT/docs/figures/power.json"
}

scale_long() {
  scale "" 1200
  cp "$WORK/scale.json" "$ROOT/docs/figures/scale.json"
}

catchup_long() {
  catchup "" 1200
  cp "$WORK/catchup.json" "$ROOT/docs/figures/catchup.json"
}

bench_long() {
  timeout --kill-after=30 900 python3 "$ROOT/tests/bench.py" \
    --binary "$BINARY" --dir "$WORK/bench" --result "$ROOT/docs/figures/bench.json"
}
