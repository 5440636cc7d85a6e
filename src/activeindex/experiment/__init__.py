"""The experiment: the whole path of an image, from a folder to the results files.

One run is one arm, passive or active. :func:`run_experiment` trains or reuses the index, adds the
references and the originals, releases the images of the set (activated in the active arm), edits
them and searches for them; :class:`RunSummary` is what it comes to.
"""
