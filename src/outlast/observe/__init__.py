"""What is shown of a running system: metrics, health, logs, traces, and the files for the tools that watch it."""
