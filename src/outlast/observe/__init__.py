"""What is seen from outside: exporters, health, logs, traces, and the files for other tools."""
