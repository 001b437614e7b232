"""Sessions: typed fields by a secret id of which only a digest is stored, with rotation, timeouts and revocation."""
