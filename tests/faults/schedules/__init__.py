"""Proofs about schedules that take minutes: run by hand, their figures written down in README.md."""

from __future__ import annotations
