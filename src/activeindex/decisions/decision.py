"""Decisions by expected false matches, and their bounds."""

from typing import Literal

Decision = Literal["match", "review", "none"]

MATCH = 1e-3
"""Expected false matches per query up to which a hit is a match."""
REVIEW = 1.0
"""Expected false matches per query up to which a hit is worth a look."""


def decide(expected: float, match: float = MATCH, review: float = REVIEW) -> Decision:
    """Decide about a hit by its expected false matches.

    Args:
        expected: Expected false matches.
        match: Largest number of a match.
        review: Largest number of a hit that is worth a look.

    Example:
        >>> [decide(expected) for expected in (1e-6, 0.2, 30.0)]
        ['match', 'review', 'none']
    """
    return "match" if expected <= match else "review" if expected <= review else "none"
