"""Exchanges: their values, and the rules by which an event finds its queues."""
