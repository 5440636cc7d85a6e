"""Edits that combine the image with another picture."""

from pathlib import Path

from PIL import Image, ImageOps

from activeindex.edits.assets import DEFAULT_EMOJI, assets_folder, screenshot_template
from activeindex.edits.checks import (
    EditNotApplicableError,
    require_between,
    require_rgb,
    require_share,
)
from activeindex.edits.geometric import scaled_size
from activeindex.errors import library_errors


def overlay_onto_screenshot(
    image: Image.Image, template: str = "mobile", *, crop_to_fit: bool = False
) -> Image.Image:
    """Show the image as a post in a screenshot of a social network.

    Args:
        image: RGB, any size.
        template: ``"mobile"`` (414x736 pixels) or ``"web"`` (1200x736); the size of the result.
        crop_to_fit: Cut the image to the proportions of the place for it. Otherwise all of it is
            shown, centred, and the rest of the place is black.

    Raises:
        InputError: The image is not RGB, or there is no such template.
        MissingExtraError: ``augly`` is not installed.
    """
    require_rgb(image)
    screenshot = screenshot_template(template)
    left, upper, _, _ = screenshot.box
    width, height = screenshot.box_size
    if crop_to_fit:
        post = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    else:
        scale = min(width / image.width, height / image.height)
        size = scaled_size(image, scale)
        post = Image.new("RGB", (width, height))
        post.paste(
            image.resize(size, Image.Resampling.BILINEAR),
            ((width - size[0]) // 2, (height - size[1]) // 2),
        )
    result = screenshot.image()
    result.paste(post, (left, upper))
    return result


def overlay_emoji(
    image: Image.Image,
    emoji: Path | None = None,
    *,
    x: float = 0.4,
    y: float = 0.8,
    opacity: float = 1.0,
    height: float = 0.15,
) -> Image.Image:
    """Paste an emoji on the image; what reaches beyond the border is cut off.

    The defaults are those of AugLy 1.0.0.

    Args:
        image: RGB, any size.
        emoji: An image file, transparent where the image shall be seen; AugLy's if none is given.
        x: Left edge of the emoji as a fraction of the width, [0, 1].
        y: Upper edge of the emoji as a fraction of the height, [0, 1].
        opacity: (0, 1].
        height: Of the emoji, as a share of the image's height, (0, 1].

    Raises:
        InputError: The image is not RGB, the emoji unreadable, or another argument is outside.
        MissingExtraError: No emoji is given and ``augly`` is not installed.
        EditNotApplicableError: The emoji would be less than one pixel high.
    """
    require_rgb(image)
    require_between("emoji x", x, 0, 1)
    require_between("emoji y", y, 0, 1)
    require_share("emoji opacity", opacity)
    require_share("emoji height", height)
    path = assets_folder() / "twemojis" / DEFAULT_EMOJI if emoji is None else emoji
    with library_errors(f"{path}: expected an image of an emoji"), Image.open(path) as file:
        symbol = file.convert("RGBA")
    rows = round(height * image.height)
    if rows < 1:
        raise EditNotApplicableError("overlay_emoji", image, "is too low for an emoji")
    columns = max(1, round(symbol.width * rows / symbol.height))
    left = min(round(x * image.width), image.width - 1)
    upper = min(round(y * image.height), image.height - 1)
    # Only what will be seen is enlarged: on a long strip the whole emoji would fill gigabytes.
    seen = (min(columns, image.width - left), min(rows, image.height - upper))
    part = (0, 0, symbol.width * seen[0] / columns, symbol.height * seen[1] / rows)
    symbol = symbol.resize(seen, Image.Resampling.BILINEAR, box=part)
    mask = symbol.getchannel("A").point([round(alpha * opacity) for alpha in range(256)])
    result = image.copy()
    result.paste(symbol.convert("RGB"), (left, upper), mask)
    return result
