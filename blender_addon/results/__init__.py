# SPDX-License-Identifier: GPL-3.0-or-later
"""From a finished job into the scene. Adds datablocks; never changes one that was there before."""
