"""Whether a service works: what its workers show, what follows from it, and the ways to ask. Imports nothing itself."""
