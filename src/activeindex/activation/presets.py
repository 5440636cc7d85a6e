"""Settings that belong together, by name."""

from dataclasses import dataclass
from types import MappingProxyType

from activeindex.activation.budget import Budget
from activeindex.activation.release import ReleaseSettings
from activeindex.activation.settings import ActivationSettings


@dataclass(frozen=True)
class Preset:
    """What an activation optimises, and what its files keep to.

    Attributes:
        settings: Of the optimisation.
        release: The format and the budget of the released files.
    """

    settings: ActivationSettings
    release: ReleaseSettings


_PAPER = Preset(ActivationSettings(), ReleaseSettings())
"""Fernandez et al., ICLR 2023: the distortion is what the JND map and the image loss let pass."""

DEEP = Preset(
    ActivationSettings(
        iterations=5,
        optimizer="NormedMomentum,lr=0.4,momentum=0.9",
        lambda_i=0.0,
        margin_weight=1.0,
        margin_width=0.3,
        edited_views=1,
    ),
    ReleaseSettings(budget=Budget(psnr=42.5)),
)
"""Deep in the cell of the code, through edits too, at 42.5 dB or more: docs/presets.md."""

_THOROUGH = Preset(DEEP.settings.replace(edited_views=3), DEEP.release)
"""Three views a step: copies are found a little more often, at twice the passes of `deep`."""

_FAST = Preset(DEEP.settings.replace(edited_views=0), DEEP.release)
"""Half the passes of `deep`, which it is without edited views."""

PRESETS = MappingProxyType({"paper": _PAPER, "thorough": _THOROUGH, "deep": DEEP, "fast": _FAST})
"""Presets by name."""
