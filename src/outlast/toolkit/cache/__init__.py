"""The cache: values by key, with one computation for all who miss, and no old value after an invalidation."""
