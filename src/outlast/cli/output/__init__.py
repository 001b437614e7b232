"""Prints the output of commands: tables, JSON and formatted values."""
