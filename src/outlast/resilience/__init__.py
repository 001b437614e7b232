"""Guards around calls to dependencies: deadlines, retries, bulkheads and breakers in one process."""
