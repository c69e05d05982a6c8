# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels and lists. They show; they decide nothing."""
