"""What a handler is: its signature, arguments, dependencies, hooks and options, read when it is declared."""
