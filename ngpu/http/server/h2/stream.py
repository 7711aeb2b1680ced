"""One stream: a request on its way in, and the channel to which its reply is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.python.failure import Failure

from ngpu.http.server.body import RequestBody
from ngpu.http.server.h2.frames import READ, UNREAD
from ngpu.http.server.h2.pipe import ENOUGH, Pipe
from ngpu.http.server.h2.reply import reply_fields
from ngpu.http.server.h2.request import H2Request
from ngpu.http.server.head import Head
from ngpu.http.server.outgoing import Outgoing
from ngpu.http.server.refusal import Refused, error_body
from ngpu.http.server.target import ALLOW

if TYPE_CHECKING:
    from ngpu.http.server.h2.channel import H2Channel


class Stream:
    """See `Channel`, of which it has what a Request asks for.

    The client's window for the body opens when somebody reads, and no further than what was read.
    """

    def __init__(self, channel: H2Channel, number: int) -> None:
        self.channel = channel
        self.number = number
        self.site = self.factory = channel.site
        self.transport = channel.transport
        self.peer_ip = channel.peer_ip
        self.answered = False  # all of the reply is sent
        self._frames = channel.frames
        self._pipe = Pipe(number, lambda: channel.wake(self))
        self._out = Outgoing(self._pipe, channel.clock, channel.limits.write_timeout, lambda: None, ENOUGH)
        self._request: H2Request | None = None
        self._body: RequestBody | None = None
        self._head: tuple[Head, int] | None = None
        self._refused: Refused | None = None
        self._continue_due = False
        self._ended = False  # by the client
        self._unread = 0
        self._asked = False
        self._window = UNREAD

    # what comes

    def take_head(self, head: Head, size: int) -> None:
        """This is the request; it is served by `start`."""
        self._head = head, size
        self._continue_due = head.expects
        self._body = RequestBody(head.length, self.channel.limits, self.channel.clock, self._body_wanted)

    def refuse(self, refused: Refused) -> None:
        """It is none that is served; `start` says so."""
        self._refused = refused

    def take_body(self, data: bytes, size: int) -> bool:
        """Bytes of the body, which took ``size`` of the window; false when they are more than was said to come."""
        body = self._body
        if body is not None and body.length is not None and body.received + len(data) > body.length:
            return False
        self._unread += size
        asked, self._asked = self._asked, False
        if body is not None and data:
            body.feed(data, False)
        if asked:
            self._open_window()
        return True

    def take_end(self) -> bool:
        """The client has sent all; false when that is not what it said it would send."""
        self._ended = True
        body = self._body
        if body is not None:
            if body.length is not None and body.received != body.length:
                return False
            body.feed(b"", True)
        return True

    def start(self) -> None:
        """Have the request served."""
        if self._refused is not None:
            self._answer_refusal(self._refused)
        elif self._head is not None and self._body is not None:
            head, size = self._head
            request = self._request = H2Request(self, head, self._body, size, self.channel.clock.seconds())  # type: ignore[arg-type]
            request.process()

    def lost(self, reason: Failure) -> None:
        """It is over before its reply was: whoever works on it is told."""
        self._out.stopProducing()
        request, self._request = self._request, None
        if request is not None:
            request.connectionLost(reason)
        elif self._body is not None:
            self._body.lost(reason)

    def check(self, now: float) -> None:
        """Act on the times that have run out."""
        self._out.check(now)
        if self._body is not None:
            self._body.check(now)

    def _answer_refusal(self, refused: Refused) -> None:
        self.site.log_refused(self.peer_ip, refused.status, refused.msg)
        body = error_body(refused.status, refused.msg)
        fields = [(b"Content-Type", [b"application/json"])]
        if refused.status == 405:
            fields.append((b"Allow", [ALLOW]))
        self.send_head(reply_fields(refused.status, fields, len(body), self.site.date()), bare=False)
        self._out.write(body)
        self._out.close(half=False)

    def _body_wanted(self) -> None:
        self._asked = True
        if self._continue_due:
            self._continue_due = False
            self._frames.send_headers(self.number, [(b":status", b"100")])
            self.channel.wake(self)
        self._open_window()

    def _open_window(self) -> None:
        """Let the client send as much as was read, and more in one go than before somebody did."""
        more = self._unread + READ - self._window
        length = self._body.length if self._body is not None else 0
        small = length is not None and length <= UNREAD
        if self._ended or self.answered or small or more < READ // 8:
            return
        self._unread = 0
        self._window = READ
        self.channel.open_window(more, self.number)

    # what goes out

    def send(self) -> bool:
        """Send a frame of the reply; true while there may be more."""
        more = self._pipe.send(self._frames)
        if self._pipe.ended and not self.answered:
            self.answered = True
            if self._pipe.broken:
                self.lost(Failure(ConnectionAborted("the reply was broken off")))
        return more

    @property
    def half_open(self) -> bool:
        """Whether the client still sends, after all of the reply was sent."""
        return self.answered and not self._ended and not self._pipe.broken

    def send_head(self, fields: list[tuple[bytes, bytes]], bare: bool) -> None:
        """Send the reply's head; a bare one is all of it."""
        self._continue_due = False
        self._frames.send_headers(self.number, fields, end_stream=bare)
        if bare:
            self._pipe.bare()
        self.channel.wake(self)

    def write(self, data: bytes) -> None:
        """Send bytes of the reply's body."""
        self._out.write(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See ``Outgoing.register``."""
        self._out.register(producer, streaming)

    def unregisterProducer(self) -> None:
        """See ``Outgoing.unregister``."""
        self._out.unregister()

    def ends_with(self, request: H2Request, close: bool) -> bool:
        """No reply ends the connection."""
        return False

    def requestDone(self, request: H2Request, whole: bool) -> None:
        """The reply is written.

        :param whole: false when it is shorter than it promised to be.
        """
        self._request = None
        if not whole:
            self._pipe.break_off(ErrorCodes.INTERNAL_ERROR)
        self._out.close(half=False)
        request.body.fail(ConnectionDone("the request was answered"))

    def loseConnection(self) -> None:
        """What was written is sent, and then the stream broken off."""
        self._pipe.break_off(ErrorCodes.INTERNAL_ERROR)
        self._out.close(half=False)

    def abortConnection(self) -> None:
        """Break the stream off now."""
        self._out.stopProducing()
        self._pipe.abortConnection()

    def getPeer(self) -> Any:
        """The address of the other end."""
        return self.channel.getPeer()

    def getHost(self) -> Any:
        """The address of this end."""
        return self.channel.getHost()

    def isSecure(self) -> bool:
        """Whether the connection is TLS."""
        return self.channel.isSecure()
