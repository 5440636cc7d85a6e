"""Data sets: folders arranged the way an experiment takes them."""

from activeindex.datasets.disc import PreparedDisc, prepare_disc
from activeindex.datasets.links import LinkedFolder

__all__ = ["LinkedFolder", "PreparedDisc", "prepare_disc"]
