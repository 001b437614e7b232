"""Outlast beside the floor and its peers, in one run on the same work: `python -m benchmarks.run`."""
