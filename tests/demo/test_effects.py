"""The demo worker's pictures: visible, the same each time, and different for different prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from ngpu.demo.effects import EFFECTS, paint

PHOTO = Path(__file__).parents[2] / "docs/demo/photo.png"


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(PHOTO).convert("RGB")


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


@pytest.mark.parametrize(
    "prompt", ["a sketch", "oil", "pixel art", "night", "warm light", "no word of ours", "", "\ud800"]
)
def test_each_prompt_changes_the_photo_visibly_and_always_in_the_same_way(photo: Image.Image, prompt: str) -> None:
    first = paint(photo, prompt, 0.75, 7)
    assert first.size == photo.size
    assert distance(first, photo) > 8
    assert first.tobytes() == paint(photo, prompt, 0.75, 7).tobytes()


def test_strength_0_keeps_the_photo_above_the_caption(photo: Image.Image) -> None:
    upper = (0, 0, photo.width, photo.height * 9 // 10)
    assert distance(paint(photo, "night", 0, 1).crop(upper), photo.crop(upper)) == 0


def test_prompts_without_a_known_word_get_palettes_of_their_own(photo: Image.Image) -> None:
    assert distance(paint(photo, "a cat", 1, 1), paint(photo, "a dog", 1, 1)) > 8


def test_the_seed_moves_the_stars(photo: Image.Image) -> None:
    assert paint(photo, "night", 1, 1).tobytes() != paint(photo, "night", 1, 2).tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "LA", "1", "I;16", "CMYK"])
def test_every_picture_mode_and_size_is_painted(mode: str) -> None:
    """Customers' pictures come with alpha, palettes and 16 bits, and may be a pixel wide."""
    for size in ((1, 1), (3, 200), (200, 3), (65, 64)):
        for word in {effect: word for word, effect in EFFECTS.items()}.values():
            assert paint(Image.new(mode, size), f"{word} 湖 " + "x" * 5000, 1, 1).size == size
