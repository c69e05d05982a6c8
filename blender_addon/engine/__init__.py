# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine and its job folders. Nothing here imports bpy, but `manager` asks for what it needs through hooks."""
