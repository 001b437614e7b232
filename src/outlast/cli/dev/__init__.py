"""`outlast dev`: the reloading parent process, its child process, and their output."""
