"""From values to places on a chart."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A linear map of ``low`` … ``high`` to ``start`` … ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value; those beyond the range are put at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Round values in the range, about ``most`` of them or fewer."""
        step = self._step(most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def labelled(self, most: int) -> list[tuple[float, str]]:
        """The ticks with their texts, all with as many digits as they need."""
        step, digits = self._step(most), 0
        while abs(step * 10**digits - round(step * 10**digits)) > 1e-6:
            digits += 1
        # Adding 0 makes 0 of -0.
        return [(value, f"{round(value, digits) + 0.0:,.{digits}f}") for value in self.ticks(most)]

    def _step(self, most: int) -> float:
        rough = (self.high - self.low) / max(most, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        return next(power * step for step in _STEPS if power * step >= rough * (1 - 1e-9))


def range_of(*values: NDArray[np.float64], margin: float = 0.04) -> tuple[float, float]:
    """A range that holds all finite values, a little wider; never empty."""
    joined = np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in values])
    finite = joined[np.isfinite(joined)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    pad = (high - low) * margin or max(abs(high) * 0.05, 0.5)
    return low - pad, high + pad
