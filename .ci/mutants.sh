# Planted bugs: ./dev mutants. Sourced by ./dev.
#
# Two builds, each in a folder of its own, so that no program with planted bugs lies where people
# look for the real one: our own mutants behind the feature `mutants`; openraft's as patches of a copy
# of the pinned version, in a copy of this checkout, which is then built against it.

MUTANTS=$CACHE/mutants
MUTANTS_TARGET=$MUTANTS/target
MUTANTS_SOURCE=$MUTANTS/source
MUTANTS_OPENRAFT=$MUTANTS/openraft
# At most, per mutant.
MUTANTS_SEEDS=200

mutants() {
  mkdir -p "$MUTANTS"
  if [ $# -gt 0 ]; then one_mutant "$1"; return; fi
  must_step "build of the mutants" 400 build_mutants
  step "mutants" 900 hunt
  must_step "build of the patched openraft" 400 build_patched
  step "mutants of openraft" 120 hunt_patched
}

one_mutant() {
  if in_library "$1"; then
    must_step "build of the patched openraft" 400 build_patched
    step "mutant $1" 60 hunt_patched_one "$1"
  else
    must_step "build of the mutants" 400 build_mutants
    step "mutant $1" 60 hunt --only "$1"
  fi
}

# Names of openraft's mutants: those the patches ask for.
library_mutants() { grep -rhoE 'planted\("[^"]+"\)' "$ROOT/crates/simulator/mutants" | cut -d'"' -f2 | sort -u; }
in_library() { library_mutants | grep -qxF "$1"; }

build_mutants() {
  CARGO_TARGET_DIR=$MUTANTS_TARGET cargo build --profile mutants --quiet --locked \
    -p bessemer-simulator --features mutants --bins
}

hunt() { timeout --kill-after=30 10800 "$MUTANTS_TARGET/mutants/mutants" --seeds "$MUTANTS_SEEDS" "$@"; }

hunt_patched() {
  local name
  for name in $(library_mutants); do hunt_patched_one "$name"; done
}

hunt_patched_one() {
  OPENRAFT_PLANTED=$1 timeout --kill-after=30 3600 "$MUTANTS_TARGET/patched/mutants/mutants" \
    --library --only "$1" --seeds "$MUTANTS_SEEDS"
}

# The version that Cargo.lock pins, from where cargo keeps sources; patched.
patched_openraft() {
  local version source
  version=$(sed -n '/^name = "openraft"$/{n;s/^version = "\(.*\)"/\1/p;}' "$ROOT/Cargo.lock")
  source=$(compgen -G "${CARGO_HOME:-$HOME/.cargo}/registry/src/*/openraft-$version" | head -n 1)
  [ -n "$source" ] || { red "the source of openraft $version is not there: build once, then again"; return 1; }
  rm -rf -- "$MUTANTS_OPENRAFT"
  cp -r "$source" "$MUTANTS_OPENRAFT"
  rm -f -- "$MUTANTS_OPENRAFT/.cargo-ok"
  local patch
  for patch in "$ROOT"/crates/simulator/mutants/*.patch; do
    patch --quiet -p1 -d "$MUTANTS_OPENRAFT" <"$patch"
  done
}

# Builds in a copy: a patched dependency changes Cargo.lock.
build_patched() {
  patched_openraft
  rm -rf -- "$MUTANTS_SOURCE"
  mkdir -p "$MUTANTS_SOURCE"
  cp -r "$ROOT/Cargo.toml" "$ROOT/Cargo.lock" "$ROOT/crates" "$ROOT/.cargo" "$MUTANTS_SOURCE"
  [ ! -d "$ROOT/proto" ] || cp -r "$ROOT/proto" "$MUTANTS_SOURCE"
  (cd "$MUTANTS_SOURCE" && CARGO_TARGET_DIR=$MUTANTS_TARGET/patched cargo build --profile mutants --quiet \
    --config "patch.crates-io.openraft.path=\"$MUTANTS_OPENRAFT\"" \
    -p bessemer-simulator --features mutants --bin mutants)
}
