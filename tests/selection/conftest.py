"""Selection policies: their tests read a page of the documentation, and run what `bench` simulates."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
sys.path += [str(_ROOT / "tests" / "docs"), str(_ROOT / "bench")]
