# Sourced by scripts/demo and scripts/test: makes .venv at the repository's root, or brings it up to date.
#   ensure_environment EXTRAS     EXTRAS is '' or, for example, 'dev,features'
# Sets ROOT (the repository) and PYTHON (.venv's interpreter). Nothing is installed again while pyproject.toml and
# constraints.txt are what they were.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON="$ROOT/.venv/bin/python"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

find_python() {
  # torch publishes wheels for these; 3.11 first, because the tests run there.
  local candidate
  for candidate in "${DDREP_PYTHON:-}" python3.11 python3.12 python3.13 python3; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2])' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "No Python 3.11 or newer with venv was found. Install one (Debian, Ubuntu: apt-get install python3-venv)," \
    "or name one: DDREP_PYTHON=/path/to/python $0" >&2
  return 2
}

ensure_environment() {
  local extras="$1" stamp="$ROOT/.venv/.ddrep-installed" wanted
  if [ ! -x "$PYTHON" ]; then
    local base
    base="$(find_python)" || return 2
    say "Making .venv with $base"
    "$base" -m venv "$ROOT/.venv"
  fi
  wanted="$(cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" | cksum) extras=$extras"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] && [ "$(cat "$stamp" 2>/dev/null)" != "${wanted%=*}=dev,features" ]; then
    say "Installing ddrep and what it needs (once; some minutes, about 2 GB)"
    # Python compiles what it imports, when it does; pip would compile all that came.
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-compile --constraint "$ROOT/constraints.txt" \
      --editable "$ROOT${extras:+[$extras]}"
    printf '%s' "$wanted" >"$stamp"
  fi
}
