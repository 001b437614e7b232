"""The peers: one file each, with the peer's own fast settings; each runs in a virtual environment of its own."""
