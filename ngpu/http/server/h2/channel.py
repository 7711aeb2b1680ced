"""One client's HTTP/2 connection: frames in, requests side by side, replies out in turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from ngpu.http.server.connection import Connection
from ngpu.http.server.h2.floods import PER_FRAME, Flood, Kind
from ngpu.http.server.h2.frames import EVERY_STREAM, Frames, goaway
from ngpu.http.server.h2.inbox import Inbox
from ngpu.http.server.h2.stream import Stream
from ngpu.http.server.phase import Phase

if TYPE_CHECKING:
    from ngpu.http.server.site import Site

_NEVER = float("inf")

_TURN = 16
"""Requests that are begun in one turn of the reactor; then other connections have theirs."""

_FRAMES = 64
"""Frames that are sent in one turn, and how many of them are one write."""
_WRITE = 4

_MOST_UNTAKEN = 1024 * 1024
"""Bytes of frames other than DATA that a client may leave untaken."""


class H2Channel(Connection):
    """The server's end. ``frames`` is h2's view of it.

    Everything that comes is read at once: bodies are bounded by the windows, all else by `Floods`. What goes out is
    gathered for a turn of the reactor.
    """

    log = Logger("ngpu.http")

    def __init__(self, site: Site) -> None:
        self.site = self.factory = site
        self.limits = site.limits
        self.clock = site.clock
        self.frames = Frames(site.limits)
        self.phase = Phase.HEAD
        self._in = Inbox(self)
        self._ready: dict[Stream, None] = {}  # in the order of their turns
        self._turn: IDelayedCall | None = None
        self._untaken = 0
        self._deadline = _NEVER
        self._retiring = False

    # what the transport calls

    def connectionMade(self) -> None:
        """Say what holds here, and wait for requests."""
        self.open(self.clock, self.limits.write_timeout)
        self._deadline = self.clock.seconds() + self.limits.head_timeout
        self.site.add(self)
        self.frames.begin()
        self._flush()

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self.phase is Phase.CLOSED:
            return
        try:
            for event in self.frames.received(data):
                self._in.take(event)
        except ProtocolError as error:  # h2 has written the GOAWAY
            self._end(str(error))
        except Flood as flood:
            self.frames.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._end(str(flood))
        except Exception:
            self._failed()
        else:
            self.woken()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over; all requests that are being served are told."""
        self._close(reason)
        self._out.stopProducing()
        self.site.remove(self)

    def drained(self) -> None:
        """The client keeps up again."""
        self._untaken = 0
        self.woken()

    # what the streams call

    def note(self) -> None:
        """A stream has come or gone: where none is left, the next one may take its time, but not for ever."""
        if self.phase is Phase.CLOSED:
            return
        if self._in.streams:
            self.phase, self._deadline = Phase.REQUEST, _NEVER
        else:
            self.phase, self._deadline = Phase.HEAD, self.clock.seconds() + self.limits.idle_timeout
            self.woken()

    def gone(self, stream: Stream) -> None:
        """A stream is over."""
        self._ready.pop(stream, None)
        self.note()

    def wake(self, stream: Stream) -> None:
        """A stream may have something to send."""
        if stream.number in self._in.streams:
            self._ready[stream] = None
            self.woken()

    def open_window(self, more: int, number: int | None) -> None:
        """Let the client send so much more: on a stream, or on all."""
        if number is None or number in self._in.streams:
            self.frames.increment_flow_control_window(more, number)
            self.woken()

    # what goes out

    def woken(self) -> None:
        """There may be something to do in the next turn."""
        if self._turn is None and self.phase is not Phase.CLOSED:
            self._turn = self.clock.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        try:
            self._begin_new()
            self._send()
        except Exception:
            self._failed()

    def _begin_new(self) -> None:
        """Have requests served, unless the client does not take what it has asked for already."""
        for _ in range(_TURN):
            if not self._in.new or not self._out.writable:
                return
            stream = self._in.new.popleft()
            if stream.number in self._in.streams:
                stream.start()
        self.woken()

    def _send(self) -> None:
        """A frame of each stream in turn, while the client takes them."""
        for count in range(_FRAMES):
            if not self._ready or not self._out.writable:
                break
            stream = next(iter(self._ready))
            del self._ready[stream]
            if stream.send():
                self._in.floods.allow(Kind.WINDOW, PER_FRAME)
                self._ready[stream] = None
            if stream.answered and self._in.streams.pop(stream.number, None) is not None:
                self.gone(stream)
                if stream.half_open:
                    self._in.linger(stream.number)
            if count % _WRITE == _WRITE - 1:
                self._flush()
        self._flush()
        if self._in.closed_to_new and not self._in.streams:
            self._finish()
        elif self._ready and self._out.writable:
            self.woken()

    def _flush(self) -> None:
        data = self.frames.data_to_send()
        if data and not self._out.writable:
            self._untaken += len(data)
            if self._untaken > _MOST_UNTAKEN:
                self.abortConnection()
        if data:
            self._out.write(data)

    # the ends

    def check(self, now: float) -> None:
        """See `Connection.check`."""
        self._out.check(now)
        for stream in tuple(self._in.streams.values()):
            stream.check(now)
        self._in.check(now)
        if now >= self._deadline:
            self.close_if_idle()

    def retire(self) -> None:
        """Ask the client to go elsewhere with its next requests; those on their way are still served."""
        if not self._retiring and self.phase is not Phase.CLOSED:
            self._retiring = True
            self._flush()
            self._out.write(goaway(EVERY_STREAM, ErrorCodes.NO_ERROR))

    def close_if_idle(self) -> None:
        """Take no more requests, and close with the last reply."""
        if not self._in.closed_to_new and self.phase is not Phase.CLOSED:
            self._retiring = self._in.closed_to_new = True
            self._flush()
            self._out.write(goaway(self.frames.highest_inbound_stream_id, ErrorCodes.NO_ERROR))
            self.woken()

    def _end(self, why: str) -> None:
        """The client has broken the protocol, and the frame that says so waits."""
        self.site.log_refused(self.peer_ip, 400, why)
        self._flush()
        self._finish()

    def _finish(self) -> None:
        if self.phase is not Phase.CLOSED:
            self._close(Failure(ConnectionAborted("the connection was ended")))
            self._out.close(half=False)

    def _failed(self) -> None:
        self.log.failure("an HTTP/2 connection failed")
        self.abortConnection()

    def _close(self, reason: Failure) -> None:
        self.phase = Phase.CLOSED
        self._deadline = _NEVER
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._ready.clear()
        self._in.drop_all(reason)

    def abortConnection(self) -> None:
        """Cut the connection off now."""
        self.phase = Phase.CLOSED
        self.transport.abortConnection()
