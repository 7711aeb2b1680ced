"""Which of a customer's fields are looked at because a worker may fetch what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_twisted

from ngpu.discovery import discover
from ngpu.errors import BadRequest
from ngpu.interfaces import PluginContext

POLL = {"poll": {"path": "x"}}
INSIDE = "http://169.254.169.254/latest/meta-data"
OUTSIDE = "http://192.0.2.1/x.png"


class Urls:
    """Lets ``OUTSIDE`` through."""

    async def check(self, url: Any, name: str) -> None:
        if url != OUTSIDE:
            raise BadRequest(f"{name} leads inside")


async def looked_at(adapter: str, options: dict[str, Any], request: dict[str, Any]) -> None:
    made = discover([]).make("adapter", adapter, options, PluginContext(None, None, "/"))
    await made.check(json.dumps(request).encode(), Urls())


@pytest.mark.parametrize(
    ("adapter", "options", "request_", "said"),
    [
        ("queue_worker", {"urls": ["url"]}, {"url": INSIDE}, "url"),
        ("queue_worker", {"urls": ["url"], "rename": {"image_url": "url"}}, {"image_url": INSIDE}, "image_url"),
        ("queue_worker", {"urls": ["url"], "rename": {"image_url": "url"}}, {"url": INSIDE}, "url"),
        ("queue_worker", {"urls": ["image.url"]}, {"image": {"url": INSIDE}}, "image.url"),
        ("cog", {"urls": ["image.url"]}, {"input": {"image": {"url": INSIDE}}}, "image.url"),
        ("cog", {"urls": ["image"]}, {"image": INSIDE}, "image"),
        ("sad_talker", {}, {"use_ref_video": True, "ref_video": INSIDE}, "ref_video"),
        ("sad_talker", {}, {"ref_video": "file:///etc/passwd"}, "ref_video"),
        ("video_retalker", {"defaults": {"mask": ""}}, {"mask": INSIDE}, "mask"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_no_field_leads_a_worker_inside(
    adapter: str, options: dict[str, Any], request_: dict[str, Any], said: str
) -> None:
    if adapter == "queue_worker":
        options = {**options, **POLL}
    if adapter in ("sad_talker", "video_retalker"):
        options = {**options, "tts": {"workspace": "w"}}
        request_ = {"image_url": OUTSIDE, "video_url": OUTSIDE, "text": "x", "pronouncer": "y", **request_}
    with pytest.raises(BadRequest, match=rf"^{said} leads inside"):
        await looked_at(adapter, options, request_)
    outside = json.loads(json.dumps(request_).replace(INSIDE, OUTSIDE).replace("file:///etc/passwd", OUTSIDE))
    await looked_at(adapter, options, outside)


@pytest_twisted.ensureDeferred
async def test_what_is_no_url_is_the_workers_business() -> None:
    flat = {"image_url": OUTSIDE, "text": "x", "pronouncer": "y", "ref_video": "smile.mp4", "pose_style": 3}
    await looked_at("sad_talker", {"tts": {"workspace": "w"}}, flat)
    await looked_at("queue_worker", {"urls": ["image.url"], **POLL}, {"image": "none", "url": None})
