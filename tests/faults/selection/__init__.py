"""Limits and fairness under fire: what must never run together, rates over several processes, a flood beside a few."""
