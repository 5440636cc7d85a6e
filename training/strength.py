"""Strength of the augmentation of views."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Strength:
    """Strength of the augmentation.

    Attributes:
        area: Smallest share of the image that a crop keeps.
        aspect: Largest ratio of a crop's sides.
        flipped: Share of images that are mirrored.
        turned: Share that are rotated, by up to ``degrees``.
        degrees: Largest rotation.
        quartered: Share that are turned by one, two or three right angles.
        tilt: Largest perspective distortion, 0 for none.
        jitter: Largest change of brightness, contrast and saturation: a factor of up to
            ``1 + jitter`` either way.
        hue: Largest turn of the hue in degrees.
        grey: Share that lose their colours.
        blurred: Share that are blurred.
        noisy: Share that get noise.
        pasted: Share that are pasted into another image of the batch.
        overlaid: Share onto which another image of the batch is pasted.
    """

    area: float
    aspect: float
    flipped: float
    turned: float
    degrees: float
    quartered: float
    tilt: float
    jitter: float
    hue: float
    grey: float
    blurred: float
    noisy: float
    pasted: float
    overlaid: float


WEAK = Strength(
    area=0.6,
    aspect=1.2,
    flipped=0.0,
    turned=0.0,
    degrees=0.0,
    quartered=0.0,
    tilt=0.0,
    jitter=0.1,
    hue=0.0,
    grey=0.0,
    blurred=0.1,
    noisy=0.0,
    pasted=0.0,
    overlaid=0.0,
)
"""Views like the images of a collection: nearly unedited."""

STRONG = Strength(
    area=0.4,
    aspect=4 / 3,
    flipped=0.2,
    turned=0.2,
    degrees=30.0,
    quartered=0.1,
    tilt=0.1,
    jitter=0.8,
    hue=80.0,
    grey=0.05,
    blurred=0.15,
    noisy=0.15,
    pasted=0.1,
    overlaid=0.15,
)
"""Views like the copies of copiers, on top of the edits of the bank."""
