"""The declaration of a handler: its signature, arguments, dependencies, hooks and options."""
