"""``python -m ngpu.demo.free PORT…``: exit code 1, with a sentence each, when ports of 127.0.0.1 are taken."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence


def taken(ports: Sequence[int]) -> Iterator[int]:
    """Those of the ports that somebody listens on."""
    for port in ports:
        with socket.socket() as probe:
            # connections that ended a moment ago do not count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                probe.listen()
            except OSError:
                yield port


if __name__ == "__main__":
    busy = list(taken([int(port) for port in sys.argv[1:]]))
    for port in busy:
        print(f"Port {port} of 127.0.0.1 is taken. Who has it: ss -ltnp 'sport = :{port}'", file=sys.stderr)
    sys.exit(bool(busy))
