"""`python -m outlast`, the same as `outlast`."""

from __future__ import annotations

import sys

from outlast.cli import main

if __name__ == "__main__":
    sys.exit(main())
