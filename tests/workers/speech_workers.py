"""Stand-ins of the workers that speak: an EdgeTTS wrapper, and OpenAI's ``/v1/audio/speech``."""

from __future__ import annotations

import uuid

from stand_in import Answer, Line, StandIn, missing

VOICES = {
    "英语 (美国)-Guy-男": "en-US-GuyNeural",
    "英语 (美国)-Aria-女": "en-US-AriaNeural",
    "中文 (普通话，简体)-Yunxi-男": "zh-CN-YunxiNeural",
}


class EdgeTts(StandIn):
    """``voicer`` is a display name. Its error has an integer task_id.

    :ivar fail: it answers every text with code 202.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fail = False

    def answer(self, line: Line) -> Answer:
        if (line.method, line.path) == ("GET", "/ttsVoices"):
            return Answer({"voices": list(VOICES), "result_code": 100, "msg": "SUCCESS"})
        if (line.method, line.path) != ("POST", "/tts"):
            return Answer({"detail": "Not Found"}, 404)
        body = line.body if isinstance(line.body, dict) else {}
        absent = [name for name in ("content", "voicer") if name not in body]
        if absent:
            return missing(*absent)
        if self.fail or body["voicer"] not in VOICES:
            return Answer({"task_id": 0, "result_code": 202, "msg": "No audio was received", "result_url": ""})
        name = f"{uuid.uuid4()}.mp3"
        if not body["content"].strip():
            return Answer({"task_id": name, "result_code": 200, "msg": "The audio is empty", "result_url": ""})
        url = self.keep(name, f"{VOICES[body['voicer']]}: {body['content']}".encode(), "audio/mpeg")
        return Answer({"task_id": name, "result_code": 100, "msg": "SUCCESS", "result_url": url})


class OpenAiSpeech(StandIn):
    """Answers with the bytes themselves."""

    def answer(self, line: Line) -> Answer:
        if (line.method, line.path) != ("POST", "/v1/audio/speech"):
            return Answer({"detail": "Not Found"}, 404)
        body = line.body
        if body["voice"] not in ("alloy", "echo", "fable", "onyx", "nova", "shimmer"):
            return Answer({"error": {"message": f"no voice {body['voice']}", "type": "invalid_request_error"}}, 400)
        return Answer(f"{body['voice']}: {body['input']}".encode(), 200, "audio/mpeg")
