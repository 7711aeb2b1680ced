"""Twisted's own ReverseProxyResource: ``python twisted_proxy.py PORT WORKER_PORT``."""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.web.proxy import ReverseProxyResource
from twisted.web.server import Site

reactor.listenTCP(  # type: ignore[attr-defined]
    int(sys.argv[1]), Site(ReverseProxyResource("127.0.0.1", int(sys.argv[2]), b"")), interface="127.0.0.1"
)
reactor.run()  # type: ignore[attr-defined]
