"""The way of a job from a call to the store: compose, publish, and the handle that comes back."""
