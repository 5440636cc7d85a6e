"""Settings of an activation and of its released files, and presets; no PyTorch."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from activeindex.errors import InputError
from activeindex.images.formats import PNG, FileFormat
from activeindex.runtime.fields import as_json, check_fields, import_name, option

if TYPE_CHECKING:
    from activeindex.images.quality import Quality

_NEARLY_NOTHING = 1e-6
"""SSIM that every image has."""

TARGETS = ("pq_recons", "ori_ft", "ivf_cluster", "ivf_cluster_half")
FEATURE_LOSSES = ("cossim", "mse")
"""Targets and losses by name; their functions are in ``activation/objective.py``."""

MEASURES = ("ssimulacra2", "delta_e")
"""What can be measured of a released file beside PSNR, SSIM and L-infinity."""

Precision = Literal["float32", "bfloat16"]

Mask = Literal["jnd", "even"]

MASKS: tuple[Mask, ...] = get_args(Mask)

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


_MOST_PSNR = 200
"""More than the PSNR of any picture with one sample that differs by a level."""

_EXPONENT = 0.6276336467831387
"""Power of the errors that SSIMULACRA2 subtracts."""


def error_of_score(score: float) -> float:
    """Sum of errors that gives a SSIMULACRA2; 0 for a score of 100."""
    return float((max(100.0 - score, 0.0) / 10.0) ** (1.0 / _EXPONENT))


def score_of_error(error: float) -> float:
    """SSIMULACRA2 that a sum of errors gives."""
    return float(100.0 - 10.0 * max(error, 0.0) ** _EXPONENT)


DESCRIPTOR_VIEWS = 12
"""Views whose mean feature `register` stores for a picture, activated or not, where the caller does
not say. Elsewhere it is none, since whoever fills the index has to agree; `register` does both."""


@dataclass(frozen=True)
class Budget:
    """Bounds that every released image keeps, measured on its file as written.

    A bound limits the distortion and never enlarges it: an image that the settings change by less
    is released as it is.

    Attributes:
        psnr: Smallest PSNR in dB; None for any.
        ssim: Smallest SSIM, at most 1; None for any.
        linf: Largest change of a pixel value in 8-bit levels; None for any.
        ssimulacra2: Smallest SSIMULACRA2, below 100; None for any. It is measured on at most three
            candidates for a file.
        beyond_codec: Whether the bounds are on what activation adds to what a lossy file format
            loses by itself, rather than on both together.
    """

    psnr: float | None = option(None, "smallest PSNR in dB", metavar="DB")
    ssim: float | None = option(None, "smallest SSIM, below 1", metavar="VALUE")
    linf: int | None = option(None, "largest change of a pixel value, of 255", metavar="LEVELS")
    ssimulacra2: float | None = option(
        None, "smallest SSIMULACRA2, below 100; 90 is visually lossless", metavar="SCORE"
    )
    beyond_codec: bool = False

    def __post_init__(self) -> None:
        """Check every bound.

        Raises:
            InputError: Naming the bound, what was found and what was expected.
        """
        check_fields(self)
        if self.psnr is not None and not 0 < self.psnr < float("inf"):
            raise InputError(f"psnr: expected a positive number of dB, found {self.psnr}")
        if self.psnr is not None and self.psnr > _MOST_PSNR:
            raise InputError(f"psnr: expected at most {_MOST_PSNR} dB, found {self.psnr:g}")
        if self.ssim is not None and not 0 < self.ssim < 1:
            raise InputError(f"ssim: expected a number between 0 and 1, found {self.ssim}")
        if self.linf is not None and not 1 <= self.linf <= 255:
            raise InputError(f"linf: expected 1 to 255 levels, found {self.linf}")
        if self.ssimulacra2 is not None and not 0 < self.ssimulacra2 < 100:
            raise InputError(
                f"ssimulacra2: expected a number between 0 and 100, found {self.ssimulacra2}"
            )

    def __bool__(self) -> bool:
        return (self.psnr, self.ssim, self.linf, self.ssimulacra2) != (None,) * 4

    def beyond(self, lost: "Quality") -> "Budget":
        """Bounds on codec and distortion together, if the codec alone loses ``lost``."""
        psnr, ssim, linf, score = self.psnr, self.ssim, self.linf, self.ssimulacra2
        if psnr is not None:
            psnr = -10.0 * math.log10(10.0 ** (-psnr / 10.0) + 10.0 ** (-lost.psnr / 10.0))
        if ssim is not None:
            ssim = max(ssim + lost.ssim - 1.0, _NEARLY_NOTHING)
        if linf is not None:
            linf = min(linf + lost.linf, 255)
        if score is not None and lost.ssimulacra2 is not None:
            errors = error_of_score(score) + error_of_score(lost.ssimulacra2)
            score = score_of_error(errors)
        return Budget(psnr, ssim, linf, score)

    def __str__(self) -> str:
        bounds = (
            ("psnr >=", self.psnr),
            ("ssim >=", self.ssim),
            ("linf <=", self.linf),
            ("ssimulacra2 >=", self.ssimulacra2),
        )
        named = ", ".join(f"{name} {bound}" for name, bound in bounds if bound is not None)
        return f"{named} beyond the codec" if named and self.beyond_codec else named

    def as_json(self) -> dict[str, Any]:
        """Return the fields for a record, without a bound that release 0.2 did not have."""
        values = dataclasses.asdict(self)
        if self.ssimulacra2 is None:
            del values["ssimulacra2"]
        return values


NO_BUDGET = Budget()


@dataclass(frozen=True)
class ReleaseSettings:
    """Settings of released files.

    Attributes:
        format: The file format.
        budget: The bounds that every file keeps.
        measure: What is measured of every file beside PSNR, SSIM and L-infinity.
    """

    format: FileFormat = PNG
    budget: Budget = NO_BUDGET
    measure: tuple[str, ...] = option(
        (),
        "measured beside PSNR, SSIM and L-infinity: ssimulacra2, delta_e (docs/visibility.md)",
        metavar="NAME",
    )

    def __post_init__(self) -> None:
        """Check the names of what is measured.

        Raises:
            InputError: If there is no such measure.
        """
        for name in self.measure:
            if name not in MEASURES:
                raise InputError(f"measure: expected some of {', '.join(MEASURES)}, found {name!r}")

    def as_json(self) -> dict[str, Any]:
        """Return the fields for a note, without those that release 0.2 did not have if unused."""
        values = {"format": dataclasses.asdict(self.format), "budget": self.budget.as_json()}
        return values | ({"measure": list(self.measure)} if self.measure else {})


@dataclass(frozen=True)
class ActivationSettings:
    """Settings of an activation; the defaults are those of Fernandez et al., ICLR 2023.

    Attributes:
        iterations: Gradient steps per image, 0 or more.
        optimizer: A torch or timm optimiser with its arguments, ``"Adam,lr=1e-0"``.
        scheduler: A torch or timm learning-rate scheduler likewise, or None.
        target: Where the feature is pushed: ``pq_recons``, what the index reconstructs for it;
            ``ori_ft``, the original feature; ``ivf_cluster``, the centroid of its inverted list;
            ``ivf_cluster_half``, the midpoint of that centroid and the feature. Or your own, as a
            callable or ``"package.module:name"``; see :mod:`activeindex.activation.objective`.
        loss_f: ``cossim``, minus the cosine between feature and target; ``mse``, their squared
            Euclidean distance. Or your own likewise.
        lambda_f: Weight of the feature loss.
        lambda_i: Weight of the image loss, the mean squared distortion in normalised space.
        use_tanh: Whether the distortion is squashed to (-1, 1) first.
        scale_channels: Whether the channels are weighted by how little the eye sees them.
        use_attenuation: Whether the distortion is scaled by ``scaling`` times the JND map.
        mask: ``jnd``, the paper's map; ``even``, the same change everywhere but less in the dark,
            which is seen less at the same gain.
        fine_blue: Whether coarse changes are taken out of the blue channel.
        scaling: Strength of the distortion, in units of the JND map.
        margin_weight: Weight of the margin loss, which keeps the feature away from the sides of its
            Voronoi cell and on its code's side of the centroid
            (:mod:`activeindex.indexing.voronoi`); 0 for none. It has no effect on an index without
            cells.
        margin_width: Margin that is enough, as a share of the original's mean margin.
        edited_views: Views of each image after a random edit that go through the extractor and
            back in each step beside the image itself; the loss is the mean over all of them.
        image_every_step: Whether the image itself is in every step, beside the views, rather than
            in the first alone, which has no views then.
        descriptor_views: Views of the original, after edits that are the same for every image,
            whose features are averaged with its own before the code is taken: the index must store
            the code of that mean (:func:`activeindex.extractors.code_features`); 0 for its own.
        full_size: Whether the free tensor has the picture's size, as the paper's, or that of the
            extractor's input, and is enlarged in the end, under the mask of the picture's size.
            Pictures that are smaller than the input are always optimised at their own size.
        precision: Number format of the passes through the extractor and back. ``bfloat16`` is
            several times faster where the device has instructions for it. The features that the
            index codes, and those that are measured, are computed in ``float32``.
    """

    iterations: int = option(10, "gradient steps per image", minimum=0)
    optimizer: str = option("Adam,lr=1e-0", "a torch or timm optimiser, or NormedMomentum")
    scheduler: str | None = option(None, "a torch or timm scheduler, or None")
    target: str | Callable[..., Any] = option(
        "pq_recons",
        "pq_recons, ori_ft, ivf_cluster, ivf_cluster_half, or your own as package.module:name",
        choices=TARGETS,
        importable=True,
    )
    loss_f: str | Callable[..., Any] = option(
        "cossim",
        "feature loss: cossim, mse, or your own as package.module:name",
        choices=FEATURE_LOSSES,
        importable=True,
    )
    lambda_f: float = option(1.0, "weight of the feature loss", minimum=0)
    lambda_i: float = option(1e-2, "weight of the image loss", minimum=0)
    use_tanh: bool = option(True, "squash the distortion")
    scale_channels: bool = option(True, "weight the channels by what the eye sees")
    use_attenuation: bool = option(True, "mask the distortion by the JND map")
    mask: Mask = option(
        "jnd", "jnd, the paper's; even, the same everywhere but less in the dark", choices=MASKS
    )
    fine_blue: bool = option(False, "leave coarse changes, which tint, out of the blue channel")
    scaling: float = option(3.0, "strength, in JND units", minimum=0)
    margin_weight: float = option(0.0, "weight of the margin loss", minimum=0)
    margin_width: float = option(0.1, "margin that is enough, as a share of the mean margin")
    edited_views: int = option(0, "views after random edits in each step", minimum=0)
    image_every_step: bool = option(
        True, "the image itself in every step, rather than in the first step alone"
    )
    descriptor_views: int = option(
        0,
        "views of the original, 16 at most, whose mean feature the code is taken of; the index "
        "must store that code (docs/presets.md)",
        minimum=0,
        maximum=16,
    )
    full_size: bool = option(True, "optimise at the picture's size, not at the extractor's")
    precision: Precision = option(
        "float32",
        "of the passes through the extractor: float32 or bfloat16",
        choices=PRECISIONS,
    )

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: Naming the field, what was found and what was expected.
        """
        for name in ("target", "loss_f"):
            if isinstance(value := getattr(self, name), str) and ":" in value:
                object.__setattr__(self, name, import_name(value, name))
        check_fields(self)
        if not 0 < self.margin_width < math.inf:
            raise InputError(f"margin_width: expected more than 0, found {self.margin_width}")

    def replace(self, **changes: object) -> Self:
        """Copy the settings with some fields changed, and check them again."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


PAPER = ActivationSettings()
AS_PNG = ReleaseSettings()


@dataclass(frozen=True)
class Preset:
    """Settings that belong together.

    Attributes:
        settings: Settings of the optimisation.
        release: Format and budget of the released files.
    """

    settings: ActivationSettings
    release: ReleaseSettings

    def released_as(self, form: FileFormat, budget: Budget = NO_BUDGET) -> ReleaseSettings:
        """Files of a format within a budget; the preset's own if that has no bound."""
        if not budget:
            # A preset's bounds are for its distortion: a codec may lose more than they allow.
            own = self.release.budget
            budget = dataclasses.replace(own, beyond_codec=bool(own) and not form.lossless)
        return ReleaseSettings(form, budget)


_PAPER = Preset(PAPER, AS_PNG)
"""Fernandez et al., ICLR 2023: the distortion is what the JND map and the image loss let pass."""

DEEP = Preset(
    ActivationSettings(
        iterations=5,
        optimizer="NormedMomentum,lr=0.4,momentum=0.9",
        lambda_i=0.0,
        margin_weight=1.0,
        margin_width=0.3,
        edited_views=1,
        full_size=False,
        mask="even",
        fine_blue=True,
    ),
    ReleaseSettings(budget=Budget(psnr=42.5, ssimulacra2=87.5)),
)
"""A large margin in the cell of the code, through edits too, at 42.5 dB: docs/presets.md."""

_THOROUGH = Preset(DEEP.settings.replace(edited_views=3), DEEP.release)
"""Three views a step: copies are found a little more often, at twice the passes of `deep`."""

_FAST = Preset(DEEP.settings.replace(edited_views=0), DEEP.release)
"""`deep` without edited views: half the passes."""

_HARDEN = Preset(
    _THOROUGH.settings.replace(target="ori_ft", loss_f="mse", margin_weight=0.0), DEEP.release
)
"""For an index that is not there yet: views of the released picture keep the original's feature."""

PRESETS = MappingProxyType(
    {"paper": _PAPER, "thorough": _THOROUGH, "deep": DEEP, "fast": _FAST, "harden": _HARDEN}
)
"""Presets by name."""


BEFORE = MappingProxyType(
    {"full_size": True, "image_every_step": True, "mask": "jnd", "fine_blue": False}
)
"""Fields that release 0.2 did not have, and how it did without them."""


def noted(settings: ActivationSettings) -> dict[str, Any]:
    """Return the fields for a note, without those that release 0.2 did not have at their values."""
    values = as_json(settings)
    for name, value in BEFORE.items():
        if values[name] == value:
            del values[name]
    return values
