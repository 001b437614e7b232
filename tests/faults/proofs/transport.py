"""Kills workers and RabbitMQ under jobs that RabbitMQ carries: no job is lost, and no worker falls silent.

`python -m tests.faults.proofs.transport [--kills 200] [--malformed 1000]`
"""

from __future__ import annotations

import argparse
import os
import sys

import pytest

TESTS = ("tests/faults/rabbitmq/test_survival.py", "tests/stores/rabbitmq/test_malformed.py")
"""The suite runs them with small numbers."""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--malformed", type=int, default=1000)
    options = parser.parse_args()
    os.environ["OUTLAST_TEST_RABBIT_KILLS"] = str(options.kills)
    os.environ["OUTLAST_TEST_MALFORMED"] = str(options.malformed)
    sys.exit(pytest.main(["-q", "-s", "--timeout=1800", *TESTS]))
