"""Reports: what a person looks at after a run."""

from activeindex.report.contact_sheet import Comparison, contact_sheet

__all__ = ["Comparison", "contact_sheet"]
