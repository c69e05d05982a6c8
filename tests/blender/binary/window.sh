#!/bin/bash
# Runs where Blender is: a virtual screen, the extension installed in a clean profile, and a hand on mouse and keyboard.
#   window.sh WORK PACKAGE ENGINE
set -euo pipefail
WORK=$1 PACKAGE=$2 ENGINE=$3
source "$WORK/profile.sh"
export DISPLAY=:94

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
