"""Large objects in a folder or an object store, and the arguments and results of jobs that go there by reference."""
