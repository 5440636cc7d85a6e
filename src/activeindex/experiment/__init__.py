"""The experiment: the whole path of an image, from a folder to the results files.

One run is one arm, passive or active. :func:`~activeindex.experiment.run.run_experiment` trains or
reuses the index, adds references and originals, releases the images of the set (activated in the
active arm), edits them and searches for them. :func:`~activeindex.experiment.evaluate.evaluate`
does the second half for pictures that are already released. Both leave a folder of results
(``folder.py``), of which :class:`~activeindex.experiment.folder.RunSummary` has the tables.
"""
