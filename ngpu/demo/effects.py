"""What the demo worker does in place of diffusion: picture effects that words of the prompt choose. Pure."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Effect = Callable[[Image.Image, random.Random], Image.Image]


def paint(photo: Image.Image, prompt: str, strength: float, seed: int) -> Image.Image:
    """The photo as the prompt wants it, with the prompt as a caption; the same arguments give the same picture.

    :param strength: 0 leaves the photo as it is, 1 leaves nothing but the effect.
    """
    prompt = prompt.encode("utf-8", "replace").decode()  # JSON may carry half a surrogate pair
    photo = photo.convert("RGB")
    painted = photo
    for effect in chosen(prompt):
        painted = effect(painted, random.Random(f"{seed} {prompt}"))
    # img2img at its usual strength of 0.75 changes nearly everything
    return caption(Image.blend(photo, painted, min(1.0, strength * 1.25)), prompt)


def chosen(prompt: str) -> list[Effect]:
    """The effects that a prompt names, in its own order; a palette of its own for one that names none."""
    words = re.findall(r"\w+", prompt.lower())
    named = list(dict.fromkeys(EFFECTS[word] for word in words if word in EFFECTS))
    return named or [palette(prompt)]


def sketch(photo: Image.Image, rng: random.Random) -> Image.Image:
    """Pencil on paper: a dodge of the picture with its blurred negative, and a breath of its colours."""
    grey = ImageOps.autocontrast(photo.convert("L"), cutoff=1)
    negative = ImageOps.invert(grey).filter(ImageFilter.GaussianBlur(max(photo.size) / 90))
    lines = Image.new("L", photo.size, 255)
    lines.paste(ImageChops.add(grey, negative), (0, 0))
    lines = ImageChops.multiply(_gamma(lines, 2.2), _gamma(grey, 0.25))
    paper = Image.new("RGB", photo.size, (250, 244, 230))
    wash = Image.blend(paper, photo.filter(ImageFilter.GaussianBlur(max(photo.size) / 110)), 0.22)
    return ImageChops.multiply(wash, _grain(lines, rng, 14).convert("RGB"))


def oil(photo: Image.Image, _: random.Random) -> Image.Image:
    """Oil on canvas: areas flow together, colours grow strong, and the strokes catch the light."""
    area = max(3, min(9, max(photo.size) // 110)) | 1
    flat = photo.filter(ImageFilter.ModeFilter(area)).filter(ImageFilter.MedianFilter(3))
    strong = ImageEnhance.Contrast(ImageEnhance.Color(flat).enhance(1.5)).enhance(1.12)
    light = strong.convert("L").filter(ImageFilter.Kernel((3, 3), (-2, -1, 0, -1, 1, 1, 0, 1, 2), scale=1, offset=0))
    relief = ImageChops.subtract(light, strong.convert("L"), 2, 128)
    return ImageChops.overlay(strong, relief.convert("RGB"))


def pixel(photo: Image.Image, _: random.Random) -> Image.Image:
    """A game of the eighties: large pixels in 24 colours."""
    cell = max(2, max(photo.size) // 96)
    small = photo.resize((max(1, photo.width // cell), max(1, photo.height // cell)), Image.Resampling.BOX)
    few = ImageEnhance.Color(small).enhance(1.4).quantize(24, dither=Image.Dither.NONE).convert("RGB")
    return few.resize(photo.size, Image.Resampling.NEAREST)


def night(photo: Image.Image, rng: random.Random) -> Image.Image:
    """The same place by night: blue shadows, lights that glow, stars where it is calm at the top."""
    dark = ImageChops.multiply(photo, Image.new("RGB", photo.size, (70, 92, 158)))
    bright = photo.convert("L").point([max(0, level - 205) * 4 for level in range(256)])
    lamps = ImageOps.colorize(bright, (0, 0, 0), (255, 226, 150))
    glow = lamps.filter(ImageFilter.GaussianBlur(max(photo.size) / 40))
    sky = Image.new("RGB", photo.size)
    draw = ImageDraw.Draw(sky)
    edges = photo.convert("L").filter(ImageFilter.FIND_EDGES).filter(ImageFilter.BoxBlur(3))
    for _ in range(photo.width // 4):
        x, y = rng.randrange(photo.width), int(rng.random() ** 1.6 * photo.height * 0.45)
        if edges.getpixel((x, y)) < 14:  # type: ignore[operator]  # one band: a number
            level = rng.randrange(90, 256)
            size = max(photo.size) / 1600 * rng.choice((0.5, 0.5, 1, 2))
            draw.ellipse((x - size, y - size, x + size, y + size), fill=(level, level, min(255, level + 30)))
    return ImageChops.screen(ImageChops.screen(ImageChops.screen(dark, glow), lamps.point(lambda v: v // 2)), sky)


def warm(photo: Image.Image, _: random.Random) -> Image.Image:
    """Late light: golden, a little hazy, darker towards the corners."""
    golden = ImageOps.colorize(photo.convert("L"), (58, 18, 30), (255, 240, 190), mid=(226, 124, 54))
    tinted = Image.blend(photo, golden, 0.62)
    haze = ImageChops.soft_light(tinted, tinted.filter(ImageFilter.GaussianBlur(max(photo.size) / 50)))
    corners = (
        ImageOps.invert(Image.radial_gradient("L")).resize(photo.size).point([90 + v * 165 // 255 for v in range(256)])
    )
    shade = _gamma(corners, 0.5).convert("RGB")
    return ImageChops.multiply(ImageEnhance.Brightness(haze).enhance(1.12), shade)


def palette(prompt: str) -> Effect:
    """A print in four inks that are the prompt's own: its hash turns the colour wheel."""
    digest = hashlib.sha256(prompt.encode()).digest()
    hue, step = digest[0], 30 + digest[1] % 70

    def ink(turn: int, saturation: int, value: int) -> tuple[int, ...]:
        return Image.new("HSV", (1, 1), ((hue + turn * step) % 256, saturation, value)).convert("RGB").getpixel((0, 0))  # type: ignore[return-value]

    def print_in_inks(photo: Image.Image, _: random.Random) -> Image.Image:
        inks = [ink(0, 190, 52), ink(1, 170, 136), ink(2, 150, 220), ink(3, 60, 252)]
        grey = ImageOps.equalize(photo.convert("L").filter(ImageFilter.MedianFilter(5)))
        table = [inks[min(3, level // 64)][band] for band in range(3) for level in range(256)]
        flat = Image.merge("RGB", (grey, grey, grey)).point(table)
        return Image.blend(flat, photo, 0.12)

    return print_in_inks


def caption(picture: Image.Image, prompt: str) -> Image.Image:
    """The prompt's beginning in a dark strip along the lower edge; pictures too small for letters stay as they are."""
    text = " ".join(prompt.split())
    height = max(18, picture.height // 14)
    if not text or picture.height < 64 or picture.width < 64:
        return picture
    font = ImageFont.load_default(height * 0.56)
    room = picture.width - height
    if font.getlength(text[:400]) > room:
        text = text[:400]
        while text and font.getlength(text + "…") > room:
            text = text[:-1]
        text += "…"
    strip = Image.new("RGBA", (picture.width, height), (12, 14, 24, 150))
    ImageDraw.Draw(strip).text((height / 2, height / 2), text, font=font, fill=(255, 250, 240, 255), anchor="lm")
    result = picture.copy()
    result.paste(strip, (0, picture.height - height), strip)
    return result


def _gamma(grey: Image.Image, power: float) -> Image.Image:
    return grey.point([round(255 * (level / 255) ** power) for level in range(256)])


def _grain(grey: Image.Image, rng: random.Random, depth: int) -> Image.Image:
    """Paper's tooth: a tile of noise, repeated."""
    tile = Image.frombytes("L", (64, 64), bytes(255 - rng.randrange(depth) for _ in range(64 * 64)))
    tooth = Image.new("L", grey.size)
    for x in range(0, grey.width, 64):
        for y in range(0, grey.height, 64):
            tooth.paste(tile, (x, y))
    return ImageChops.multiply(grey, tooth)


EFFECTS: dict[str, Effect] = {
    **dict.fromkeys(("sketch", "pencil", "drawing"), sketch),
    **dict.fromkeys(("oil", "painting", "canvas"), oil),
    **dict.fromkeys(("pixel", "pixels", "8bit", "game"), pixel),
    **dict.fromkeys(("night", "midnight", "moonlight", "dark"), night),
    **dict.fromkeys(("warm", "sunset", "golden", "autumn"), warm),
}
"""Words that a prompt may name, in lower case, and what they do."""
