"""Active image indexing: pictures that an approximate index finds again, edited copies too.

The path of an image through the package: :mod:`~activeindex.images` reads it,
:mod:`~activeindex.extractors` give its feature, :mod:`~activeindex.indexing` its code and
reconstruction, :mod:`~activeindex.activation` changes it before release,
:mod:`~activeindex.edits` are what copiers do to it, :mod:`~activeindex.evaluation` tells how often
it is found; :mod:`~activeindex.experiment` runs all of it.
"""

__version__ = "0.1.0"
