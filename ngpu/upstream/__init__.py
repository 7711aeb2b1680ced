"""The client side: what stands under treq's API on the way to a replica.

Bottom up: ``reader`` (bytes of a connection → one reply, no I/O), ``response``, ``upload``, ``expecting`` and
``connection`` (one socket), ``dial`` and ``pool`` (where sockets come from), ``agent`` (a ``twisted.web.iweb.IAgent``)
and ``client`` (a ``treq.client.HTTPClient``). ``headers`` says which fields cross the gateway.
"""
