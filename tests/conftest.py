"""What all tests share."""

from __future__ import annotations

import os
import tempfile

# Verdicts on tiny models belong into nobody's cache; programs that tests start inherit it.
CACHE = tempfile.TemporaryDirectory(prefix="ddrep-tests-")
os.environ.setdefault("DDREP_CACHE", CACHE.name)
