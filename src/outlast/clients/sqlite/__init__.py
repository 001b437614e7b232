"""SQLite files that several processes of one host share: connections, a writer thread, checkpoints, notifications."""
