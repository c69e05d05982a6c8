#!/bin/bash
# Runs where Blender is: what a render farm would type.
#   command.sh WORK PACKAGE ENGINE
set -uo pipefail
WORK=$1 PACKAGE=$2 ENGINE=$3
source "$WORK/profile.sh"
RESULTS=$WORK/results
mkdir -p "$RESULTS"
cd "$WORK" || exit 1

command_line() { # NAME FILE ARGUMENTS...: run one command, keep its status and what it said
  local name=$1 file=$2 status
  shift 2
  blender -b "$file" --command ddrep "$@" >"$RESULTS/$name.log" 2>&1
  status=$?
  echo "$name $status" >>"$RESULTS/statuses"
  echo "$name: $status" >&2
}
tell() { # FILE: what a .blend holds, as JSON
  blender -b "$1" -P "$WORK/tell_file.py" -- "${1%.blend}.json" >"$RESULTS/tell.log" 2>&1
}

blender -b -P "$WORK/make_scene.py" >"$RESULTS/make_scene.log" 2>&1
sha256sum scene.blend >"$RESULTS/scene_before"
FEW="--steps 2 --device cpu"
command_line texture scene.blend texture --object Figure --object Box --prompt "red clay" --prompt "green moss" --seed 1 \
  --resolution 128 --cameras scene $FEW --output "$RESULTS/texture.blend"
command_line seeds scene.blend texture --object Figure --object Box --together --prompt "red clay" --seed 3 --seed 4 \
  --resolution 128 --write-only --jobs "$RESULTS/jobs"
command_line generate scene.blend generate --prompt "a red ball" --size 0.5 --grid 16 --views 4 --faces 400 \
  --resolution 128 --location 0 -2 0 $FEW --output "$RESULTS/generate.blend"
command_line panorama scene.blend panorama --prompt "green hills" --width 512 $FEW --output "$RESULTS/panorama.blend"
command_line render "$RESULTS/texture.blend" render --output "$RESULTS/renders" --render-samples 4
command_line refused scene.blend texture --object Nobody --prompt "red clay"
command_line open_file scene.blend texture --object Box --prompt "red clay" --resolution 128 $FEW --output scene.blend
command_line help scene.blend --help
sha256sum scene.blend >"$RESULTS/scene_after"
for file in texture generate panorama; do
  [ -f "$RESULTS/$file.blend" ] && tell "$RESULTS/$file.blend"
done
exit 0
