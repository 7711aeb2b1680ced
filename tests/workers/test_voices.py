"""EdgeTTS voices by their display names, in whatever shape a wrapper lists them."""

from __future__ import annotations

from typing import Any

import pytest
from speech_workers import VOICES

from ngpu.dialects.speech import display_name

SHAPES: dict[str, Any] = {
    "names alone": list(VOICES),
    "under a key": {"voices": list(VOICES), "result_code": 100},
    "name to voice": VOICES,
    "voice to name": {voice: name for name, voice in VOICES.items()},
    "objects": {"data": [{"name": name, "ShortName": voice, "Gender": "Male"} for name, voice in VOICES.items()]},
}


@pytest.mark.parametrize("listed", SHAPES.values(), ids=SHAPES)
def test_each_voice_is_found(listed: Any) -> None:
    for name, voice in VOICES.items():
        assert display_name(listed, voice) == name


def test_the_language_decides_between_namesakes() -> None:
    listed = ["德语 (德国)-Ava-女", "英语 (美国)-Ava-女"]
    assert display_name(listed, "en-US-AvaNeural") == listed[1]
    assert display_name(listed, "de-DE-AvaNeural") == listed[0]


@pytest.mark.parametrize("listed", [None, [], {}, 7, ["x"], {"a": None}, [[["-Guy"]]], "英语 (美国)-Aria-女"])
def test_what_is_not_listed_is_not_found(listed: Any) -> None:
    assert display_name(listed, "en-US-NobodyNeural") is None
