"""The stores: each keeps the promise of core.protocols in its own folder."""
