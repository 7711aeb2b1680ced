"""The web UI's img2img call as the demo worker understands it: bytes in, bytes out, errors in FastAPI's shape. Pure."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import time
from collections.abc import Sequence
from typing import Annotated, Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ngpu.demo.effects import paint

MAX_PIXELS = 4096 * 4096
MAX_DELAY = 60.0

Side = Annotated[int, Field(ge=16, le=4096)]


class Rejected(Exception):
    """A call that a FastAPI worker answers with 422.

    :param detail: the list under ``detail`` in that reply.
    """

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        super().__init__(detail)
        self.detail = detail


class Job(BaseModel):
    """One call. Fields that this worker does not know are ignored, as the web UI's clients send dozens of them."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    init_images: Annotated[list[str], Field(min_length=1, max_length=8)]
    prompt: str = ""
    denoising_strength: Annotated[float, Field(ge=0, le=1)] = 0.75
    seed: int = -1
    width: Side | None = None
    height: Side | None = None
    delay: Annotated[float, Field(ge=0, le=MAX_DELAY)] | None = None
    marker: Annotated[str, Field(max_length=200)] = ""


def parse(content_type: str, body: bytes, query: dict[str, str]) -> Job:
    """Read a call; ``delay`` and ``marker`` may come in the query instead of the body.

    :raises Rejected: there is no JSON object of the right shape.
    """
    if not body:
        raise Rejected([_error("missing", ["body"], "Field required", None)])
    if not re.match(r"application/([\w.-]+\+)?json\s*(;|$)", content_type.strip(), re.IGNORECASE):
        # FastAPI hands a body of another type to its model as the bytes that it is
        message = "Input should be a valid dictionary or object to extract fields from"
        raise Rejected([_error("model_attributes_type", ["body"], message, body[:200].decode("utf-8", "replace"))])
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        place = error.pos if isinstance(error, json.JSONDecodeError) else 0
        raise Rejected([_error("json_invalid", ["body", place], "JSON decode error", {})]) from error
    extra = {name: query[name] for name in ("delay", "marker") if name in query}
    try:
        return Job.model_validate({**value, **extra} if isinstance(value, dict) else value)
    except ValidationError as error:
        raise Rejected(
            [
                {**item, "loc": ["body", *item["loc"]]}
                for item in error.errors(include_url=False, include_input=False, include_context=False)
            ]
        ) from error


def work(job: Job) -> dict[str, Any]:
    """Paint the job's pictures; takes long, so call it in a thread.

    :returns: the reply's JSON.
    :raises Rejected: an init image is no picture, or has more than MAX_PIXELS.
    """
    began = time.monotonic()
    seed = job.seed if job.seed >= 0 else 1
    pictures = []
    for index, text in enumerate(job.init_images):
        photo = _picture(text, index)
        size = (job.width or photo.width, job.height or photo.height)
        if size != photo.size:
            photo = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        pictures.append(paint(photo, job.prompt, job.denoising_strength, seed))
    parameters = {**job.model_dump(exclude={"marker", "delay"}), "init_images": None}
    info = {
        "prompt": job.prompt,
        "seed": seed,
        "width": pictures[0].width,
        "height": pictures[0].height,
        "denoising_strength": job.denoising_strength,
        "sd_model_name": "ngpu-demo",
        "seconds": round(time.monotonic() - began, 3),
    }
    return {"images": [_png(picture) for picture in pictures], "parameters": parameters, "info": json.dumps(info)}


def _picture(text: str, index: int) -> Image.Image:
    place = ("body", "init_images", index)
    try:
        data = base64.b64decode(re.sub(r"^data:[^,]{0,100},", "", text.strip(), count=1), validate=True)
        photo = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Rejected([_error("value_error", place, "Invalid encoded image", None)]) from error
    if photo.width * photo.height > MAX_PIXELS:
        # only the head was read so far: a bomb has cost nothing yet
        message = f"Image too large: {photo.width}x{photo.height}, at most {MAX_PIXELS} pixels"
        raise Rejected([_error("value_error", place, message, None)])
    try:
        photo.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise Rejected([_error("value_error", place, "Invalid encoded image", None)]) from error
    return photo


def _png(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def _error(kind: str, place: Sequence[str | int], message: str, given: Any) -> dict[str, Any]:
    return {"type": kind, "loc": list(place), "msg": message, "input": given}
