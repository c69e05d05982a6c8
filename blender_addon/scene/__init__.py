# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene, read and never changed: what is selected, what the cameras see, and the job that says so."""
