"""The policies around a call to a dependency, and the decisions that they make: no I/O, no clock, no random numbers."""
