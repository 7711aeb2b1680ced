"""What a client of HTTP/2 that reads nothing costs: it may have a hundred replies at once."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from ngpu.http.server.h2.pipe import ENOUGH, Pipe
from ngpu.http.server.outgoing import Outgoing


class Taking:
    """A connection whose client takes one frame after the other."""

    max_outbound_frame_size = 16384

    def __init__(self) -> None:
        self.taken = bytearray()
        self.ended = False

    def local_flow_control_window(self, number: int) -> int:
        return 65535

    def send_data(self, number: int, data: bytes, end_stream: bool) -> None:
        self.taken += data
        self.ended = end_stream


def test_a_large_reply_is_copied_no_further_than_its_client_takes_it() -> None:
    pipe, frames = Pipe(1, lambda: None), Taking()
    out = Outgoing(pipe, Clock(), 60.0, lambda: None, ENOUGH)
    reply = bytes(range(256)) * (5 * ENOUGH // 256) + b"end"
    out.write(reply)
    out.close(half=False)
    sent: Any = frames
    while not frames.ended:
        assert len(pipe.dataBuffer) <= ENOUGH
        pipe.send(sent)
    assert frames.taken == reply
