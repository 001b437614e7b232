"""Guards as values and decisions: the policies around one dependency, without I/O, clock or random of their own."""
