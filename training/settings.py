"""Settings of a run."""

from dataclasses import dataclass, field

from activeindex.errors import InputError
from training.losses import TEMPERATURE
from training.schedule import Curriculum
from training.views import BankSettings

_PAIRS = 512
"""Batch for which the learning rate is stated."""


@dataclass(frozen=True)
class Settings:
    """Settings of the training.

    Attributes:
        bank: The edited views.
        curriculum: Resolutions over the run; the last is the one that the network is meant for.
        epochs: Passes over the training images.
        batch: Images per step, each with two views.
        rate: Largest learning rate for 512 images per step; it is scaled with ``batch``.
        weight_decay: AdamW's.
        temperature: Temperature of the contrastive loss.
        entropy_weight: Weight of the entropy term.
        decay: Decay of the average of the weights.
        frozen_norms: Keep the pretrained statistics in batch norms; statistics of small views cost
            more than a short run makes up for.
        dimension: Dimension of the features.
        held_out: Number of images for validation, which are not trained on.
        minutes: Time limit of the training, without that of the bank; None for none.
        seed: Seed of the order of images and of their augmentation.
        limit: Number of images to take; None for all.
    """

    bank: BankSettings = field(default_factory=BankSettings)
    curriculum: Curriculum = field(
        default_factory=lambda: Curriculum(((128, 0.4), (160, 0.4), (224, 0.2)))
    )
    epochs: float = 100.0
    batch: int = _PAIRS
    rate: float = 5e-4
    weight_decay: float = 0.05
    temperature: float = TEMPERATURE
    entropy_weight: float = 10.0
    decay: float = 0.995
    frozen_norms: bool = True
    dimension: int = 256
    held_out: int = 250
    minutes: float | None = None
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        for name, least in (
            ("batch", 4),
            ("dimension", 1),
            ("held_out", 1),
            ("seed", 0),
            ("weight_decay", 0),
            ("entropy_weight", 0),
        ):
            if getattr(self, name) < least:
                raise InputError(f"{name}: expected {least} or more, found {getattr(self, name)}")
        for name in ("epochs", "rate", "temperature"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}: expected more than 0, found {getattr(self, name)}")
        if self.minutes is not None and not self.minutes > 0:
            raise InputError(f"minutes: expected more than 0, found {self.minutes}")
        if not 0 <= self.decay < 1:
            raise InputError(f"decay: expected 0 up to 1, found {self.decay}")

    @property
    def scaled_rate(self) -> float:
        """Largest learning rate for this batch."""
        return self.rate * self.batch / _PAIRS
