# Sourced by scripts/test_blender_gui and scripts/test_blender_command: a real Blender program, and an engine for it.
#   open_workplace     makes WORK (a folder, as seen from here) and INSIDE (the same, as Blender sees it), puts the built
#                      extension there, sets PACKAGE to its name, ENGINE to the engine's Python as Blender sees it, and
#                      BLENDER_SHELL to the command that runs a script where Blender is.
# Uses the `blender` command where it runs under Xvfb; otherwise makes a chroot with Debian's Blender (root, debootstrap
# and 2 GB; once, in .cache/blender-chroot). Where neither can be had it says so and skips. The engine is the one in .venv.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CHROOT=${DDREP_BLENDER_CHROOT:-$ROOT/.cache/blender-chroot}
SUITE=${DDREP_BLENDER_SUITE:-trixie}
ENGINE_PYTHON=${DDREP_ENGINE_PYTHON:-$ROOT/.venv/bin/python}

skip() { echo "skipped: $*" >&2; exit 0; }

make_chroot() {
  [ "$(id -u)" = 0 ] || skip "no Blender program here, and making one needs root"
  command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap; } >/dev/null 2>&1 \
    || skip "no Blender program here, and no debootstrap"
  local mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  mirror=$(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1)
  [ -n "$mirror" ] && [ -f "$keyring" ] || skip "no Blender program here, and this is no Debian"
  echo "Making a chroot with Debian's Blender (minutes, once)" >&2
  rm -rf "$CHROOT"; mkdir -p "$CHROOT"
  {
    debootstrap --variant=minbase --keyring="$keyring" "$SUITE" "$CHROOT" "$mirror" &&
    printf 'APT::Install-Recommends "false";\nAcquire::Check-Valid-Until "false";\n' >"$CHROOT/etc/apt/apt.conf.d/99local" &&
    chroot "$CHROOT" apt-get update -qq &&
    chroot "$CHROOT" apt-get install -y -qq blender python3-numpy libegl1 libgl1-mesa-dri libglx-mesa0 xvfb xdotool \
      imagemagick python3-requests python3-cattr
  } >"$CHROOT.log" 2>&1 || { tail -5 "$CHROOT.log" >&2; rm -rf "$CHROOT"; skip "the chroot could not be made ($CHROOT.log)"; }
}

open_workplace() {
  local zip
  [ -x "$ENGINE_PYTHON" ] || skip "the engine's environment .venv is not made yet (scripts/test makes it)"
  if command -v blender >/dev/null && command -v Xvfb >/dev/null && command -v xdotool >/dev/null && command -v import >/dev/null; then
    WORK=$(mktemp -d)
    INSIDE=$WORK
    ENGINE=$ENGINE_PYTHON
    BLENDER_SHELL=(bash)
    trap 'rm -rf "$WORK"' EXIT
  else
    [ -x "$CHROOT/usr/bin/blender" ] || make_chroot
    INSIDE=/ddrep
    WORK=$CHROOT$INSIDE
    rm -rf "$WORK"
    # The engine stays outside: the chroot's own Python could not run it. A relay inside hands each command to it
    # through files, which is all that the extension and the engine share anyway.
    mkdir -p "$WORK/relay"
    cp "$ROOT/tests/blender/binary/relayed_python.py" "$WORK/relayed_python"
    chmod +x "$WORK/relayed_python"
    ENGINE=$INSIDE/relayed_python
    "$ENGINE_PYTHON" "$ROOT/tests/blender/binary/relay.py" "$CHROOT" "$INSIDE" "$ENGINE_PYTHON" & RELAY=$!
    BLENDER_SHELL=(chroot "$CHROOT" /bin/bash)
    trap 'kill $RELAY 2>/dev/null || true' EXIT
  fi
  zip=$("$ROOT/scripts/build_extension" --output-dir "$WORK" | tail -1)
  PACKAGE=$(basename "$zip")
  cp "$ROOT/ddrep_core/geometry/assets/duck.obj" "$WORK/figure.obj"
}
