"""The gateway's HTTP side: the strict server under Klein, and the Klein applications on it."""
