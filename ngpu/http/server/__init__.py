"""The strict HTTP/1.1 server that stands under Klein, which sees nothing of it but the Request.

::

    bytes → Channel → find_head, parse_head → NgpuRequest → the resource
                   └→ ChunkedDecoder → RequestBody ┘

Stricter than twisted.web, whose HTTPChannel it takes the place of: every request on whose meaning two servers could
disagree is answered with an error, and its connection closed.
"""

from ngpu.http.server.body import RequestBody
from ngpu.http.server.limits import Limits
from ngpu.http.server.refusal import error_body, plain_error
from ngpu.http.server.request import NgpuRequest
from ngpu.http.server.site import Site

__all__ = ["Limits", "NgpuRequest", "RequestBody", "Site", "error_body", "plain_error"]
