"""Tools for testing an app of Outlast: a clock that the test moves, and stores that live in memory."""
