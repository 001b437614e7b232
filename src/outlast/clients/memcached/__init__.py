"""The client of Memcached: addresses, connections, and the choice of a key's server."""
