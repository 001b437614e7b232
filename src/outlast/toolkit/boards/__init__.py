"""Leaderboards and exact unique counts, per calendar period, kept in the store of the toolkit."""
