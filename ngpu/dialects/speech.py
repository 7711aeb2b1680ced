"""Text to speech by another workspace: an EdgeTTS wrapper, or whatever speaks OpenAI's ``/v1/audio/speech``."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ngpu import options as read
from ngpu.adapter import JSON, IConversation, Peer, WorkerReply, read_json
from ngpu.dialects import settings
from ngpu.dialects.queue import url_in
from ngpu.errors import ConfigError, JobFailed

PART = "text to speech"
SAID = 300
"""Characters of the worker's own words that go into a record's reason."""

KEYS = ("workspace", "port", "kind", "voices", "model", "format", "deliver")
_SPOKEN = 100
_SHORT_NAME = re.compile(r"(?P<language>[a-z]{2,3})-(?P<rest>[A-Za-z0-9-]+-)?(?P<name>[A-Za-z0-9]+)Neural")
_OF_WORDS = ("application/json", "text/")
"""How the type of a reply begins that may be words: an error with HTTP 200, as many workers tell theirs."""

_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "flac": "audio/flac", "opus": "audio/ogg", "aac": "audio/aac"}
_LANGUAGES = {
    "zh": "中文",
    "en": "英语",
    "ja": "日语",
    "ko": "韩语",
    "fr": "法语",
    "de": "德语",
    "es": "西班牙语",
    "ru": "俄语",
    "it": "意大利语",
    "pt": "葡萄牙语",
    "ar": "阿拉伯语",
    "hi": "印地语",
    "th": "泰语",
    "vi": "越南语",
}


@dataclass(frozen=True)
class Speech:
    """Where speech is made, and how.

    :ivar voices: what a customer calls a voice → what the worker calls it, before anything is looked up.
    :ivar deliver: ``url``, for a file of the gateway, or ``data_uri``: how speech in bytes goes to the next worker.
    """

    workspace: str
    port: int | None
    kind: str
    voices: Mapping[str, str] = field(default_factory=dict)
    model: str = "tts-1"
    format: str = "mp3"
    deliver: str = "url"

    @property
    def peer(self) -> Peer:
        """Whom it calls, for the configuration's report."""
        return Peer(self.workspace, self.port, ("tts",))

    async def speak(self, work: IConversation, text: str, voice: str) -> str:
        """The URL of that text, spoken.

        :raises JobFailed: the worker would not.
        :raises NgpuError: it could not be reached, or its speech cannot be handed on.
        """
        with work.part(PART):
            known = self.voices.get(voice, voice)
            return await (self._edge if self.kind == "edge_tts" else self._openai)(work, text, known)

    async def _edge(self, work: IConversation, text: str, voice: str) -> str:
        body = {"content": text, "voicer": await self._display_name(work, voice)}
        reply = await self._call(work, "POST", "/tts", body)
        document = reply.object()
        url = url_in(document, "result_url")
        if reply.status != 200 or document.get("result_code") != 100 or url is None:
            raise JobFailed(_words(reply), reply)
        return url

    async def _display_name(self, work: IConversation, voice: str) -> str:
        """What the wrapper calls an EdgeTTS voice such as ``en-US-GuyNeural``: ``英语 (美国)-Guy-男``."""
        if not _SHORT_NAME.fullmatch(voice):
            return voice
        reply = await self._call(work, "GET", "/ttsVoices", None)
        try:
            listed = read_json(reply.body)
        except ValueError:
            listed = None
        if reply.status != 200 or listed is None:
            raise JobFailed(
                f"the worker does not tell its voices at /ttsVoices: {_words(reply, 'no list came')}", reply
            )
        found = display_name(listed, voice)
        if found is None:
            raise JobFailed(f"the worker has no voice {voice[:_SPOKEN]}")
        return found

    async def _openai(self, work: IConversation, text: str, voice: str) -> str:
        body = {"model": self.model, "input": text, "voice": voice, "response_format": self.format}
        reply = await self._call(work, "POST", "/v1/audio/speech", body)
        if reply.status != 200 or not reply.body or _is_words(reply):
            raise JobFailed(_words(reply), reply)
        if self.deliver == "url":
            return await work.publish(reply.body, _TYPES[self.format])
        return f"data:{_TYPES[self.format]};base64,{base64.b64encode(reply.body).decode()}"

    async def _call(self, work: IConversation, method: str, path: str, body: Mapping[str, Any] | None) -> WorkerReply:
        data = b"" if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        return await work.call(method, path, self.port, JSON if data else (), data, self.workspace)


def speech_of(options: Mapping[str, Any]) -> Speech:
    """The block ``tts`` of an adapter's options.

    :raises ConfigError: it is wrong, or missing.
    """
    if "tts" not in options:
        raise ConfigError("tts is missing: {workspace: …, port: …, kind: edge_tts} says who makes speech of text")
    block = read.block(options, "tts", KEYS)
    with read.within("tts"):
        voices = settings.mapping(block, "voices")
        return Speech(
            settings.text(block, "workspace"),
            settings.port(block, "port"),
            settings.one_of(block, "kind", ("edge_tts", "openai_speech"), "edge_tts"),
            {name: settings.text(voices, name) for name in voices},
            settings.text(block, "model", "tts-1"),
            settings.one_of(block, "format", tuple(_TYPES), "mp3"),
            settings.one_of(block, "deliver", ("url", "data_uri"), "url"),
        )


def display_name(listed: Any, voice: str) -> str | None:
    """The display name of an EdgeTTS voice, out of whatever the wrapper lists.

    A list that tells both names beside each other is believed. One of display names alone is searched for the voice's
    own name, ``Guy``, and among several of that name for its language.
    """
    for group in _groups(listed):
        others = [text for text in group if text != voice and "-" in text and not _SHORT_NAME.fullmatch(text)]
        if voice in group and others:
            return others[0]
    short = _SHORT_NAME.fullmatch(voice)
    texts = [text for group in _groups(listed) for text in group]
    named = [text for text in texts if short is not None and short["name"] in text.split("-")[1:]]
    language = _LANGUAGES.get(short["language"], "") if short is not None else ""
    return next((text for text in named if language and text.startswith(language)), named[0] if named else None)


def _groups(listed: Any) -> Iterator[Sequence[str]]:
    """The texts of a document that stand beside each other: the members of an object, a name and what it stands for."""
    if isinstance(listed, Mapping):
        yield [text for text in listed.values() if isinstance(text, str)]
        for name, value in listed.items():
            if isinstance(value, str):
                yield [str(name), value]
            yield from _groups(value)
    elif isinstance(listed, list):
        for value in listed:
            yield from ([[value]] if isinstance(value, str) else _groups(value))


def _is_words(reply: WorkerReply) -> bool:
    """Whether it is text, and says so; frameworks call bytes of no type ``text/html``."""
    if not reply.content_type.lower().startswith(_OF_WORDS):
        return False
    try:
        reply.body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _words(reply: WorkerReply, otherwise: str = "no speech came") -> str:
    document = reply.object()
    said = document.get("msg") or document.get("detail") or document.get("error")
    told = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False) if said else otherwise
    code = document.get("result_code")
    where = f"HTTP {reply.status}" if reply.status != 200 else f"code {code}" if code is not None else "HTTP 200"
    return f"{where}: {told}"[:SAID]
