"""How far a run is, and what follows from that: learning rate and resolution."""

import math
from dataclasses import dataclass

from activeindex.errors import InputError


@dataclass(frozen=True)
class Curriculum:
    """Resolutions by share of the run, in the order of training.

    Attributes:
        parts: Side in pixels and share; the shares sum to one.
    """

    parts: tuple[tuple[int, float], ...]

    @classmethod
    def parse(cls, text: str) -> "Curriculum":
        """Reads ``128:0.4,160:0.4,224:0.2``.

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
        """The last resolution, which the network is meant for."""
        return self.parts[-1][0]

    def size(self, progress: float) -> int:
        """The resolution at ``progress`` in [0, 1]."""
        end = 0.0
        for size, share in self.parts:
            end += share
            if progress < end - 1e-9:
                return size
        return self.final


@dataclass(frozen=True)
class Schedule:
    """A run of so many steps, or as far as it gets in so many seconds.

    Everything that changes over a run follows its progress, so one that is short of time goes
    through all of it with larger steps instead of being cut off.

    Attributes:
        steps: In the whole run.
        seconds: That it may take, or None.
        rate: The largest learning rate.
        warm_up: Share of the run in which the rate rises to it.
    """

    steps: int
    seconds: float | None
    rate: float
    warm_up: float = 0.05

    def progress(self, step: int, elapsed: float) -> float:
        """In [0, 1]: the share of the steps or of the time, whichever is larger."""
        share = step / self.steps
        if self.seconds is not None:
            share = max(share, elapsed / self.seconds)
        return min(share, 1.0)

    def learning_rate(self, progress: float) -> float:
        """Rises linearly, then falls to 0 as half a cosine."""
        if progress < self.warm_up:
            return self.rate * max(progress, 1 / self.steps) / self.warm_up
        after = (progress - self.warm_up) / (1 - self.warm_up)
        return self.rate * 0.5 * (1 + math.cos(math.pi * after))
