"""The fleet: which replicas there are, and whether they work."""
