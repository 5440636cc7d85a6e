"""Activation: the step before release that moves an image's feature towards its target.

The fourth room on the path of an image, and the reason for the others. :func:`activate` takes
images, an extractor and the quantiser of an index, and returns the images to release.
"""

from activeindex.activation.activate import (
    AS_PNG,
    PAPER,
    activate,
)
from activeindex.activation.budget import NO_BUDGET, Budget
from activeindex.activation.folder import FolderActivation, activate_folder, read_pixels
from activeindex.activation.jnd import jnd_map
from activeindex.activation.optimisation import Step
from activeindex.activation.presets import DEEP, PRESETS, Preset
from activeindex.activation.records import (
    RECORDS_FILE,
    Recorder,
    check_released,
    read_records,
)
from activeindex.activation.release import Release, ReleasedFile, Releases, ReleaseSettings
from activeindex.activation.results import ActivatedImage, ActivationResult, Aim
from activeindex.activation.settings import (
    FEATURE_LOSSES,
    PRECISIONS,
    TARGETS,
    ActivationSettings,
    Precision,
)
from activeindex.activation.watching import LiveFigures, Watcher

__all__ = [
    "AS_PNG",
    "DEEP",
    "FEATURE_LOSSES",
    "NO_BUDGET",
    "PAPER",
    "PRECISIONS",
    "PRESETS",
    "RECORDS_FILE",
    "TARGETS",
    "ActivatedImage",
    "ActivationResult",
    "ActivationSettings",
    "Aim",
    "Budget",
    "FolderActivation",
    "LiveFigures",
    "Precision",
    "Preset",
    "Recorder",
    "Release",
    "ReleaseSettings",
    "ReleasedFile",
    "Releases",
    "Step",
    "Watcher",
    "activate",
    "activate_folder",
    "check_released",
    "jnd_map",
    "read_pixels",
    "read_records",
]
