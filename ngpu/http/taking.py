"""Takes in the body of a submission: a small one in memory, a large one in a file, as it comes."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from traceback import clear_frames
from typing import Any, NamedTuple, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from ngpu.http.server.body import RequestBody
from ngpu.model import CHUNK, Body, BytesBody, DataForm
from ngpu.scratch import LARGE, Scratch, ScratchBody, TextBody
from ngpu.wire.envelope import Envelope, normal_address, parse_envelope, parse_flat
from ngpu.wire.large import find_envelope, find_flat

T = TypeVar("T")


class InThread(Protocol):
    """Runs what takes a while beside the reactor."""

    def __call__(self, work: Callable[[], T], /) -> Coroutine[Deferred[Any], Any, T]:
        """Do it."""


class Taken(NamedTuple):
    """What came: the address to check ("" for none), the bytes for the worker, and whether they are UTF-8."""

    btc_address: str
    form: DataForm
    body: Body
    text: bool = True


class Taking:
    """Reads bodies to their end, strictly."""

    def __init__(self, in_thread: InThread, clock: IReactorTime) -> None:
        self._in_thread = in_thread
        self._clock = clock
        self._looking = DeferredLock()

    def at_once(self, body: RequestBody, limit: int, raw_address: str | None, flat: bool) -> Taken | None:
        """The same as `take`, of a small body that is there already; ``None`` of another one."""
        length = body.length
        came = body.whole() if length is not None and length <= min(limit, CHUNK) else None
        return None if came is None else _taken(came, raw_address, parse_flat if flat else parse_envelope)

    async def take(self, body: RequestBody, limit: int, raw_address: str | None, flat: bool) -> Taken:
        """The body, as an envelope; as it is for an address that came beside it.

        :param raw_address: the one in the header, for a body that is not looked into.
        :param flat: the body is the request itself, with ``btc_address`` among its members.
        :raises PayloadTooLarge, RequestTimeout, ConnectionLost: see `RequestBody.read`.
        :raises BadRequest: see `ngpu.wire.envelope.parse_envelope`.
        :raises Unavailable: there is no room for a large one.
        """
        small = body.length is not None and body.length <= LARGE
        came = await (body.read(limit) if small else self._gather(body, limit))
        if isinstance(came, Scratch):
            return await self._look_into(came, raw_address, flat)
        read = partial(_taken, came, raw_address, parse_flat if flat else parse_envelope)
        return read() if len(came) <= CHUNK or raw_address is not None else await self._in_thread(read)

    def forget(self, error: CancelledError) -> None:
        """Let go of what the frames of a request hold whose client has left, once they have ended.

        The error would keep them, and so a large body's file, until the garbage collector comes. Others than this one
        may have come by way of frames that go on.
        """
        self._clock.callLater(0, clear_frames, error.__traceback__)

    async def _gather(self, body: RequestBody, limit: int) -> bytes | Scratch:
        """The body; in a file, at the pace of client and disk, once it is seen to be large."""
        scratch: Scratch | None = None
        gathered = bytearray()
        try:
            async for piece in body.within(limit):
                gathered += piece
                if len(gathered) > (CHUNK if scratch is not None else LARGE):
                    scratch = await self._in_thread(Scratch) if scratch is None else scratch
                    await self._in_thread(partial(scratch.append, gathered))
                    gathered = bytearray()
            if scratch is None:
                return bytes(gathered)
            await self._in_thread(partial(scratch.append, gathered))
        except BaseException:
            if scratch is not None:
                self._drop(scratch)
            raise
        return scratch

    def _drop(self, scratch: Scratch) -> None:
        """Close a file of a request that failed: the failure would keep it until the garbage collector comes."""
        Deferred.fromCoroutine(self._in_thread(scratch.close))

    async def _look_into(self, scratch: Scratch, raw_address: str | None, flat: bool) -> Taken:
        try:
            return await self._find(scratch, raw_address, flat)
        except BaseException:
            self._drop(scratch)
            raise

    async def _find(self, scratch: Scratch, raw_address: str | None, flat: bool) -> Taken:
        if raw_address is not None:
            async with self._looking:
                text = await self._in_thread(partial(_is_text_in, scratch))
            whole = ScratchBody(scratch, self._in_thread, 0, scratch.length)
            return Taken(normal_address(raw_address), DataForm.RAW, whole, text)
        async with self._looking:  # one at a time, since threads at work share the interpreter with the reactor
            span = await self._in_thread(partial(find_flat if flat else find_envelope, scratch.read))
        written = ScratchBody(scratch, self._in_thread, span.offset, span.length)
        body: Body = TextBody(written, span.size) if span.escaped else written
        if body.length <= CHUNK:  # the rest of the file is not needed while a worker has it
            body = BytesBody(b"".join([piece async for piece in body.chunks()]))
        return Taken(span.btc_address, span.form, body)


def _taken(came: bytes, raw_address: str | None, parse: Callable[[bytes], Envelope]) -> Taken:
    if raw_address is not None:
        return Taken(normal_address(raw_address), DataForm.RAW, BytesBody(came), _is_text(came))
    envelope = parse(came)
    return Taken(envelope.btc_address, envelope.form, BytesBody(envelope.data))


def _is_text(data: bytes) -> bool:
    """Whether it is UTF-8; looked at in pieces, since the whole of it as text would be held beside it."""
    return _are_text(data[start : start + CHUNK] for start in range(0, len(data), CHUNK))


def _is_text_in(scratch: Scratch) -> bool:
    return _are_text(scratch.read(start, CHUNK) for start in range(0, scratch.length, CHUNK))


def _are_text(pieces: Iterable[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in pieces:
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
