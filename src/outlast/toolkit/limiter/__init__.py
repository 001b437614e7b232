"""The rate limiter: one decision over all limits of a key, kept in the store of the toolkit."""
