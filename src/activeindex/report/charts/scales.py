"""Linear scales from values to positions on a chart, and their ticks."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """Linear map of ``low`` … ``high`` to ``start`` … ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Position of a value, clamped to the range."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def labelled(self, most: int) -> list[tuple[float, str]]:
        """Ticks with their labels: round values in the range, about ``most`` of them or fewer."""
        rough = (self.high - self.low) / max(most, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * step for step in _STEPS if power * step >= rough * (1 - 1e-9))
        digits = 0
        while abs(step * 10**digits - round(step * 10**digits)) > 1e-6:
            digits += 1
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        values = [number * step for number in range(first, last + 1)]
        # Adding 0 makes 0 of -0.
        return [(value, f"{round(value, digits) + 0.0:,.{digits}f}") for value in values]


def range_of(*values: NDArray[np.float64], margin: float = 0.04) -> tuple[float, float]:
    """Range of all finite values with a margin on both sides; never empty."""
    joined = np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in values])
    finite = joined[np.isfinite(joined)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    pad = (high - low) * margin or max(abs(high) * 0.05, 0.5)
    return low - pad, high + pad
