"""Reports: runs as people look at them, at the end of the path of an image.

:func:`~activeindex.report.page.write_report` reads the folders of runs (``runs.py``), draws the
``figures/`` with ``charts/``, collects a gallery of changed images and the failures, and writes one
page.
"""
