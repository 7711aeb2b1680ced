"""Container engines: what the machines run containers with."""
