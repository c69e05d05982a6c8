# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers that the settings and the jobs made of them share."""

LARGEST_SEED = 2**31 - 1
STEPS = {"DRAFT": 12, "STANDARD": None, "FINE": 100}  # of the sampler, by quality; None: as the prior suggests
