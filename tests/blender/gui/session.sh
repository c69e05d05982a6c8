#!/bin/bash
# Runs where Blender is: a virtual screen, the extension installed in a clean profile, and a hand on mouse and keyboard.
#   session.sh WORK PACKAGE
set -euo pipefail
WORK=$1
PACKAGE=$2
export BLENDER_USER_RESOURCES=$WORK/profile HOME=$WORK/home XDG_RUNTIME_DIR=$WORK/run LIBGL_ALWAYS_SOFTWARE=1
export DDREP_GUI_WORK=$WORK DISPLAY=:94 LANG=C.UTF-8
mkdir -p "$BLENDER_USER_RESOURCES" "$HOME" "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"

blender --command extension install-file -r user_default -e "$WORK/$PACKAGE" >"$WORK/install.log" 2>&1
Xvfb :94 -screen 0 1480x1240x24 +extension GLX -nolisten tcp >"$WORK/xvfb.log" 2>&1 & SCREEN=$!
trap 'kill $SCREEN 2>/dev/null || true' EXIT
sleep 1
blender --window-geometry 0 0 1480 1240 -P "$WORK/window.py" >"$WORK/blender.log" 2>&1 & BLENDER=$!

# window.py says in `hand` what a person would do next; this does it, as X events that Blender cannot tell from a person's.
while kill -0 $BLENDER 2>/dev/null; do
  if [ -f "$WORK/hand" ]; then
    while read -r what rest; do
      case $what in
        click) xdotool mousemove $rest; sleep 0.3; xdotool click 1 ;;
        move) xdotool mousemove $rest ;;
        type) xdotool type --delay 15 "$rest" ;;
        key) xdotool key $rest ;;
        picture) sleep 0.5; import -window root "$WORK/$rest.png" ;;
      esac
      sleep 0.3
    done <"$WORK/hand"
    rm -f "$WORK/hand"
  fi
  sleep 0.1
done
wait $BLENDER || { tail -40 "$WORK/blender.log"; exit 1; }
[ -f "$WORK/report.json" ] || { tail -40 "$WORK/blender.log"; exit 1; }
