"""App adapter ``video_retalker``: a video and a text become the video with lips that say it (wire contract §6)."""

from __future__ import annotations

from ngpu.dialects.talking import OPTIONS, talking_head
from ngpu.plugin import Factory

DEFAULTS = {"exp_img": "neutral", "up_face": "original", "fps": 25}
"""What video-retalking is told beside the two URLs (wire contract §5)."""

video_retalker = Factory(
    "adapter",
    "video_retalker",
    "Speech out of a text, then video-retalking: {video_url, text, pronouncer, …} in, result_url out.",
    lambda options, context: talking_head(options, "video-retalking", "/videoRetalking", "video_url", DEFAULTS),
    OPTIONS,
)
