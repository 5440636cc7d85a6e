"""What an activation is asked to do, checked once."""

import dataclasses
from dataclasses import dataclass
from typing import Literal, Self, get_args

from activeindex.edits.differentiable import check_fixed_views
from activeindex.errors import InputError

Target = Literal["pq_recons", "ori_ft", "ivf_cluster", "ivf_cluster_half"]
FeatureLoss = Literal["cossim", "mse"]

Precision = Literal["float32", "bfloat16"]

TARGETS: tuple[Target, ...] = get_args(Target)
FEATURE_LOSSES: tuple[FeatureLoss, ...] = get_args(FeatureLoss)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class ActivationSettings:
    """Settings of an activation; the defaults are those of Fernandez et al., ICLR 2023.

    Attributes:
        iterations: Gradient steps per image, 0 or more.
        optimizer: A torch or timm optimiser with its arguments, ``"Adam,lr=1e-0"``.
        scheduler: A torch or timm learning-rate scheduler likewise, or None.
        target: Where the feature is pushed: ``pq_recons``, what the index reconstructs for it;
            ``ori_ft``, the original feature; ``ivf_cluster``, the centroid of its inverted list;
            ``ivf_cluster_half``, the midpoint of that centroid and the feature.
        loss_f: ``cossim``, minus the cosine between feature and target; ``mse``, their squared
            Euclidean distance.
        lambda_f: Weight of the feature loss.
        lambda_i: Weight of the image loss, the mean squared distortion in normalised space.
        use_tanh: Whether the distortion is squashed to (-1, 1) first.
        scale_channels: Whether the channels are weighted by how little the eye sees them.
        use_attenuation: Whether the distortion is scaled by ``scaling`` times the JND map.
        scaling: Strength of the distortion, in units of the JND map.
        margin_weight: Weight of the margin loss: how deep the feature lies in the cell of its code,
            and how far on the code's side of the middle of its inverted list
            (:mod:`activeindex.indexing.voronoi`); 0 for none. It has no effect on an index without
            cells.
        margin_width: How deep is deep enough, as a share of the original's mean depth.
        edited_views: Views of each image after a random edit that go through the extractor and
            back in each step beside the image itself; the loss is the mean over all of them.
        code_views: Views of the original, after edits that are the same for every image, whose
            features are averaged with its own before the code is taken: the index must store the
            code of that mean (:func:`activeindex.extractors.code_features`); 0 for its own.
        precision: What the passes through the extractor and back compute in. ``bfloat16`` is
            several times faster where the device has instructions for it. The features that the
            index codes, and those that are measured, are computed in ``float32``.
    """

    iterations: int = 10
    optimizer: str = "Adam,lr=1e-0"
    scheduler: str | None = None
    target: Target = "pq_recons"
    loss_f: FeatureLoss = "cossim"
    lambda_f: float = 1.0
    lambda_i: float = 1e-2
    use_tanh: bool = True
    scale_channels: bool = True
    use_attenuation: bool = True
    scaling: float = 3.0
    margin_weight: float = 0.0
    margin_width: float = 0.1
    edited_views: int = 0
    code_views: int = 0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            InputError: Naming the field, what was found and what was expected.
        """
        check_fixed_views("code_views", self.code_views)
        for name in ("iterations", "edited_views"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        if self.target not in TARGETS:
            raise InputError(f"target: expected one of {', '.join(TARGETS)}, found {self.target!r}")
        if self.precision not in PRECISIONS:
            raise InputError(
                f"precision: expected one of {', '.join(PRECISIONS)}, found {self.precision!r}"
            )
        if self.loss_f not in FEATURE_LOSSES:
            raise InputError(
                f"loss_f: expected one of {', '.join(FEATURE_LOSSES)}, found {self.loss_f!r}"
            )
        for name in ("lambda_f", "lambda_i", "scaling", "margin_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        if not 0 < self.margin_width < float("inf"):
            raise InputError(f"margin_width: expected more than 0, found {self.margin_width}")

    def replace(self, **changes: object) -> Self:
        """The same settings with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]
