# Steps with times, and what is said at the end. Sourced by ./dev.
#
# `step` and `must_step` are never called inside a condition: bash would then ignore errors in
# the middle of the step's own functions.

say() { printf '%s\n' "$*" >&2; }
red() { if [ -t 2 ]; then printf '\033[31m%s\033[0m\n' "$*" >&2; else printf '%s\n' "$*" >&2; fi; }

wrong_usage() { red "./dev: $1"; usage >&2; exit 2; }
no_arguments() { [ $# -eq 0 ] || wrong_usage "does not understand: $*"; }

# 75 -> "1 min 15 s"
span() {
  local seconds=$1
  if [ "$seconds" -lt 60 ]; then echo "$seconds s"; else echo "$((seconds / 60)) min $((seconds % 60)) s"; fi
}

# Runs a step, says its times, and notes a failure; the steps after it still run.
step() {
  local name=$1 expected=$2 status began=$SECONDS
  shift 2
  say "==> $name (expected: about $(span "$expected"))"
  set +e
  (set -e; "$@")
  status=$?
  set -e
  TIMES+=("$((SECONDS - began)) $name")
  if [ "$status" -eq 0 ]; then
    say "<== $name: done in $(span $((SECONDS - began)))"
  else
    red "<== $name: FAILED with status $status after $(span $((SECONDS - began)))"
    FAILED+=("$name")
  fi
}

# A step without which the rest makes no sense.
must_step() {
  local before=${#FAILED[@]}
  step "$@"
  if [ "${#FAILED[@]}" -gt "$before" ]; then finish; fi
}

skipped() { SKIPPED+=("$1: $2"); }
not_checked() { red "not checked: $1 ($2)"; skipped "$1" "$2"; }

say_times() {
  local line
  say
  say "Times:"
  for line in "${TIMES[@]}"; do say "  $(printf '%6s s  %s' "${line%% *}" "${line#* }")"; done
}

# The last block of every command: what was left out, and why.
say_skipped() {
  say
  if [ "${#SKIPPED[@]}" -eq 0 ]; then say "Not run: nothing was left out."; return; fi
  say "Not run:"
  local line
  for line in "${SKIPPED[@]}"; do say "  - $line"; done
}

say_failed() {
  local name
  say
  if [ "${#FAILED[@]}" -eq 0 ]; then say "All steps passed."; return; fi
  red "Failed:"
  for name in "${FAILED[@]}"; do red "  - $name"; done
}

finish() {
  if [ "${#TIMES[@]}" -gt 0 ]; then say_times; fi
  say_failed
  say_skipped
  if [ "${#FAILED[@]}" -gt 0 ]; then exit 1; fi
  exit 0
}
