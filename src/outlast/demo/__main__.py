"""`python -m outlast.demo`."""

from __future__ import annotations

import sys

from outlast.demo.command import main

if __name__ == "__main__":
    sys.exit(main())
