"""`outlast dev`: the reloading parent, its child, and what they print."""
