"""Calls that pass through as they are: no envelope, no copy, both bodies at the pace of whoever reads them.

``calls`` is the use case; ``body`` is what a client sends, ``recorded`` what it gets, ``idle`` cuts calls on which
nothing moves, ``websocket`` knows RFC 6455's handshake. Knows no server and no client: bodies are streams, and a reply
goes into a sink.
"""
