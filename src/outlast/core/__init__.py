"""Values and decisions of Outlast: pure, no I/O, no clock and no random numbers of their own."""
