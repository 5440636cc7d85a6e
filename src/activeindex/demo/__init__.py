"""The demo: the whole experiment in small, on photographs that ship in packages."""

from activeindex.demo.run import DemoResult, run_demo

__all__ = ["DemoResult", "run_demo"]
