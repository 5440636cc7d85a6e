"""Earlier names of :mod:`activeindex.runtime.reporting`."""

from activeindex.runtime.reporting import Progress, counted, listed

Silent = Progress

__all__ = ["Progress", "Silent", "counted", "listed"]
