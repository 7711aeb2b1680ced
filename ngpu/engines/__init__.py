"""Container engines behind their ports: Docker's API in threads, and what is made of its answers."""
