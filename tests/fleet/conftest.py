"""The fleet's tests share `world`."""
