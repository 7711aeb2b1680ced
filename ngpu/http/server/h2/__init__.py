"""HTTP/2 (RFC 9113) for clients that ask for it by ALPN: the same requests as those of HTTP/1.1, side by side.

::

    bytes → H2Channel → h2's frames → head_of → Stream → H2Request → the resource
                                    └→ RequestBody ┘

The library h2 keeps the states and the windows, and packs the frames. What a request may be is said where HTTP/1.1
says it: a head is written out as HTTP/1.1 has it, and judged as that.
"""
