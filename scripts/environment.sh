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

ensure_system_libraries() {
  # What Blender's Python module (bpy) loads; a bare container lacks it. The engine itself needs none of these.
  local missing
  missing="$("$PYTHON" - <<'PY'
import ctypes
wanted = {
    "libGL.so.1": "libgl1", "libEGL.so.1": "libegl1", "libX11.so.6": "libx11-6", "libXrender.so.1": "libxrender1",
    "libXfixes.so.3": "libxfixes3", "libXi.so.6": "libxi6", "libxkbcommon.so.0": "libxkbcommon0", "libSM.so.6": "libsm6",
    "libXxf86vm.so.1": "libxxf86vm1", "libgomp.so.1": "libgomp1",
}
missing = []
for library, package in wanted.items():
    try:
        ctypes.CDLL(library)
    except OSError:
        missing.append(package)
if "libegl1" in missing:
    missing.append("libgl1-mesa-dri")
print(" ".join(missing))
PY
)"
  [ -n "$missing" ] || return 0
  if [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "Installing system libraries: $missing"
    # shellcheck disable=SC2086
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >&2 ||
      echo "Could not install $missing; Blender's tests may fail." >&2
  else
    echo "Blender's tests need system libraries. As root: apt-get install $missing" >&2
  fi
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
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --constraint "$ROOT/constraints.txt" \
      --editable "$ROOT${extras:+[$extras]}"
    printf '%s' "$wanted" >"$stamp"
  fi
}
