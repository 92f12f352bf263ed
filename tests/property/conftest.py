"""Makes the helpers of the unit tests importable: the world of the controllers, and the API in memory."""

import sys
from pathlib import Path

UNIT = Path(__file__).parent.parent / "unit" / "core"
sys.path[:0] = [str(UNIT / "controllers"), str(UNIT / "client")]
