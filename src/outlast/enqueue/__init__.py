"""From a call to a job in the store: compose the message, publish it, return a handle."""
