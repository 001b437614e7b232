"""The store's scripts: each is made of files of lua/."""

from __future__ import annotations

from functools import partial
from typing import Final

from outlast.clients.redis.scripts import load_script

__all__ = ["script"]

script: Final = partial(load_script, "outlast.brokers.redis")
"""Return the script that is made of these files of lua/, joined in this order."""
