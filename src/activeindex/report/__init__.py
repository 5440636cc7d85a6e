"""Reports: what a person looks at after a run.

:func:`write_report` reads the folders of runs (:mod:`runs`), draws :mod:`figures` with
:mod:`charts`, collects the :mod:`gallery` of changed images and the :mod:`failures`, and writes one
page. :func:`contact_sheet` is the quick look: a single PNG.
"""
