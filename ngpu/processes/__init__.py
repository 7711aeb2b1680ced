"""Several processes on one host: a parent that keeps the listening sockets, and workers that serve them.

Also how one process takes the place of another without a connection being refused, which needs the same.
"""
