"""Say what is right: do the operations exactly, in floats, and compare a result with that."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tests.service.golden import Pixels, luma, psnr, resized
from tests.unit.corpus.model import Picture
from tests.unit.corpus.subject import Operations

TOP = 255.0
LAYERS = ("colours", "colours on white", "alpha")


@dataclass(frozen=True)
class Tolerance:
    """How far a result may be from the reference."""

    difference: float = 0.0  # of a channel of 0..255, when nothing is scaled
    scaled: float = 45.0  # dB, when it is
    cut: bool = False  # alpha may be cut to all or nothing


def turned(array: Pixels, orientation: int) -> Pixels:
    """Undo an orientation of EXIF: the array lies as the file has it, the result as it is shown."""
    if orientation in (2, 7):
        array = array[:, ::-1]
    elif orientation in (4, 5):
        array = array[::-1]
    return np.rot90(array, {3: 2, 5: 3, 6: 3, 7: 3, 8: 1}.get(orientation, 0))


def changed(picture: Picture, change: object) -> Picture:
    """Apply a function to the colours and to alpha."""
    assert callable(change)
    alpha = None if picture.alpha is None else change(picture.alpha)
    return replace(picture, pixels=change(picture.pixels), alpha=alpha)


def upright(picture: Picture) -> Picture:
    """Return the picture as it is shown."""
    return replace(changed(picture, lambda array: turned(array, picture.orientation)), orientation=1)


def to_rgb(picture: Picture) -> Pixels:
    """Return the colours as RGB."""
    if picture.space == "CMYK":
        return (TOP - picture.pixels[..., :3]) * (TOP - picture.pixels[..., 3:]) / TOP
    return picture.pixels if picture.pixels.shape[2] == 3 else picture.pixels.repeat(3, axis=2)


def to_gray(picture: Picture) -> Picture:
    """Return the luma of Rec. 601."""
    if picture.space == "L":
        return picture
    found = picture.gray if picture.gray is not None else luma(to_rgb(picture))
    return replace(picture, pixels=found[..., None] if found.ndim == 2 else found, space="L")


def size_after(size: tuple[int, int], wish: Operations) -> tuple[int, int]:
    """Return the size that the operations ask for; the corpus asks for both sides."""
    if not wish.width:
        return size
    if wish.how == "fit":
        share = min(wish.width / size[0], wish.height / size[1])
        return max(1, round(size[0] * share)), max(1, round(size[1] * share))
    return wish.width, wish.height


def scaled(picture: Picture, wish: Operations) -> Picture:
    """Scale by Lanczos, colours weighted by alpha."""
    width, height = size_after(picture.size, wish)
    if (width, height) == picture.size:
        return picture
    across, down = map(float, picture.size)
    if wish.how == "cover":
        across, down = min(across, down * width / height), min(down, across * height / width)
    left, top = (picture.size[0] - across) / 2, (picture.size[1] - down) / 2
    box = (left, top, left + across, top + down)
    if picture.alpha is None:
        return replace(picture, pixels=resized(picture.pixels, width, height, box))
    alpha = resized(picture.alpha, width, height, box)
    weighted = resized(picture.pixels * picture.alpha[..., None] / TOP, width, height, box)
    plain = np.clip(weighted * TOP / np.maximum(alpha, 1e-3)[..., None], 0, TOP)
    return replace(picture, pixels=plain, alpha=alpha)


def expected(picture: Picture, wish: Operations) -> Picture:
    """Return what the operations make of a picture: upright, gray, scaled, rotated."""
    found = upright(picture)
    found = to_gray(found) if wish.grayscale else found
    found = scaled(found, wish)
    return changed(found, lambda array: np.rot90(array, wish.rotate // 90))


def layers(picture: Picture) -> list[Pixels]:
    """Return colours over black and over white, and alpha: all that can be seen."""
    if picture.alpha is None:
        return [to_rgb(picture)]
    share = picture.alpha[..., None] / TOP
    seen = to_rgb(picture) * share
    return [seen, seen + TOP - picture.alpha[..., None], picture.alpha[..., None]]


def without_full_alpha(found: Picture, right: Picture) -> tuple[Picture, Picture]:
    """Return both pictures; where only one has alpha and it is opaque everywhere, without it."""
    if right.alpha is not None and right.alpha.min() == TOP and found.alpha is None:
        right = replace(right, alpha=None)
    if found.alpha is not None and found.alpha.min() == TOP and right.alpha is None:
        found = replace(found, alpha=None)
    return found, right


def differences(found: Picture, right: Picture, tolerance: Tolerance, is_scaled: bool) -> list[str]:
    """List in which way a result is wrong; both pictures are upright."""
    if found.size != right.size:
        return [f"size is {found.size}, not {right.size}"]
    if "values" in found.space + right.space:
        same = found.space == right.space and np.array_equal(found.pixels, right.pixels)
        return [] if same else [f"numbers differ ({found.space}, {right.space})"]
    found, right = without_full_alpha(found, right)
    if tolerance.cut and right.alpha is not None and found.alpha is None:
        found = replace(found, alpha=np.full(right.alpha.shape, TOP))
    if (found.alpha is None) != (right.alpha is None):
        seen = psnr(to_rgb(found), to_rgb(right))
        return [f"alpha is {'lost' if found.alpha is None else 'new'}, colours at {seen:.0f} dB"]
    if tolerance.cut and found.alpha is not None and right.alpha is not None:
        clear = np.abs(right.alpha - 128) > 40  # what lies between may go either way
        if ((found.alpha >= 128) != (right.alpha >= 128))[clear].any():
            return ["alpha is wrong"]
        both = (found.alpha >= 128) & (right.alpha >= 128)
        seen = 10 * math.log10(TOP**2 / max(1e-6, float(np.mean(((to_rgb(found) - to_rgb(right)) ** 2)[both]))))
        return [] if seen >= tolerance.scaled else [f"colours at {seen:.0f} dB"]
    for name, one, other in zip(LAYERS[: len(layers(right))], layers(found), layers(right), strict=True):
        if is_scaled or right.psnr < math.inf:
            least = min(tolerance.scaled if is_scaled else math.inf, right.psnr)
            if psnr(one, other) < least:
                return [f"{name} at {psnr(one, other):.1f} dB, less than {least:g}"]
        elif np.abs(one - other).max() > tolerance.difference + 1e-6:
            return [f"{name} differ by up to {np.abs(one - other).max():.4g}, at {psnr(one, other):.0f} dB"]
    return []
