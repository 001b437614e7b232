"""Jobs in child processes: the pool of warm children, the fork server, and what they send each other."""
