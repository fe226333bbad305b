"""Where the tests run, and where real data is, if it is there."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("ASSAY_SHARED", ROOT.parent / "shared"))
