"""Progress of a run, and the learning rate and resolution that follow from it."""

import math
from dataclasses import dataclass

from activeindex.errors import InputError


@dataclass(frozen=True)
class Curriculum:
    """Resolutions by share of the run, in order.

    Attributes:
        parts: Side in pixels and share; the shares sum to one.
    """

    parts: tuple[tuple[int, float], ...]

    @classmethod
    def parse(cls, text: str) -> "Curriculum":
        """Read ``128:0.4,160:0.4,224:0.2``.

        Raises:
            InputError: If the text is something else.
        """
        parts = []
        for part in text.split(","):
            size, _, share = part.partition(":")
            try:
                parts.append((int(size), float(share or 1)))
            except ValueError:
                raise InputError(f"curriculum: expected SIZE:SHARE, found {part!r}") from None
        if min(size for size, _ in parts) < 32 or not all(share > 0 for _, share in parts):
            raise InputError(f"curriculum: expected 32 px or more and shares above 0, found {text}")
        total = sum(share for _, share in parts)
        if abs(total - 1) > 1e-6:
            raise InputError(f"curriculum: expected shares that sum to 1, found {total:g}")
        return cls(tuple(parts))

    @property
    def final(self) -> int:
        """Last resolution, for which the network is meant."""
        return self.parts[-1][0]

    def size(self, progress: float) -> int:
        """Return the resolution at ``progress`` in [0, 1]."""
        end = 0.0
        for size, share in self.parts:
            end += share
            if progress < end - 1e-9:
                return size
        return self.final


@dataclass(frozen=True)
class Schedule:
    """Schedule of a run that is limited by steps, or by time.

    All that changes over a run follows its progress, so a run that is short of time still goes
    through the whole schedule.

    Attributes:
        steps: Steps of the whole run.
        seconds: Time limit, or None.
        rate: The largest learning rate.
        warm_up: Share of the run in which the rate rises to it.
    """

    steps: int
    seconds: float | None
    rate: float
    warm_up: float = 0.05

    def progress(self, step: int, elapsed: float) -> float:
        """Return the share of the steps or of the time, whichever is larger."""
        share = step / self.steps
        if self.seconds is not None:
            share = max(share, elapsed / self.seconds)
        return min(share, 1.0)

    def learning_rate(self, progress: float) -> float:
        """Return the learning rate: a linear rise, then half a cosine down to 0."""
        if progress < self.warm_up:
            return self.rate * max(progress, 1 / self.steps) / self.warm_up
        after = (progress - self.warm_up) / (1 - self.warm_up)
        return self.rate * 0.5 * (1 + math.cos(math.pi * after))
