"""App adapter ``sad_talker``: a picture and a text become a video of the picture saying it (wire contract §6)."""

from __future__ import annotations

from ngpu.dialects.talking import OPTIONS, talking_head
from ngpu.plugin import Factory

DEFAULTS = {
    "pose_style": 0,
    "size_of_image": 512,
    "preprocess_type": "full",
    "is_still_mode": True,
    "enhancer": True,
    "use_ref_video": False,
    "ref_video": "",
    "ref_info": "all",
    "use_blink": True,
    "exp_scale": 1.0,
}
"""What SadTalker is told beside the two URLs (wire contract §5)."""

sad_talker = Factory(
    "adapter",
    "sad_talker",
    "Speech out of a text, then SadTalker: {image_url, text, pronouncer, …} in, result_url out.",
    lambda options, context: talking_head(options, "SadTalker", "/sadTalker", "image_url", DEFAULTS),
    OPTIONS,
)
