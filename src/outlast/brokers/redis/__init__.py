"""The store on a Redis or Valkey server, or on a Cluster: shared by any number of machines."""
