"""One machine of the proof: a supervisor of worker processes, as an operator would run it."""

from __future__ import annotations

import logging
import sys

from outlast.supervisor.supervisor import Supervisor
from tests.faults.survival.names import TARGET

__all__: list[str] = []

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(Supervisor(TARGET, processes=int(sys.argv[1])).serve())
