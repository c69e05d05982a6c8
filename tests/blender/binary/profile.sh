# Sourced where Blender is: a clean profile with the extension installed in it.
#   WORK, PACKAGE and ENGINE are set.
export BLENDER_USER_RESOURCES=$WORK/profile HOME=$WORK/home XDG_RUNTIME_DIR=$WORK/run LIBGL_ALWAYS_SOFTWARE=1
export TMPDIR=$WORK/tmp  # what the engine draws for Blender is to be seen from both sides of a relay
export DDREP_TEST_FOLDER=$WORK DDREP_TEST_ENGINE=$ENGINE LANG=C.UTF-8
mkdir -p "$TMPDIR" "$BLENDER_USER_RESOURCES" "$HOME" "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
blender --command extension install-file -r user_default --enable "$WORK/$PACKAGE" >"$WORK/install.log" 2>&1
