"""The whole stack on one machine without Docker: environments, local_aws, Airflow, and the demo."""

import sys
from pathlib import Path

# The library lies beside this package, not in it: `python -m local_stack` alone does not know the way.
_LIBRARY = str(Path(__file__).resolve().parent.parent / "plugins")
if _LIBRARY not in sys.path:
    sys.path.append(_LIBRARY)
