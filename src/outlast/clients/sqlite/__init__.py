"""SQLite files that several processes of one host share: opening, one writing thread, checkpoints, notifications."""
