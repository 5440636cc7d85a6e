"""Extractors: differentiable maps from images to features.

The second room on the path of an image. An :class:`~activeindex.extractors.base.Extractor` takes
square images in [0, 1], normalises them itself and returns features.
:func:`~activeindex.extractors.named.load_extractor` loads one by name or file,
:func:`~activeindex.extractors.adapt.as_extractor` adapts a network of the user's, and
:func:`~activeindex.extractors.features.extract_folder` streams the features of a folder to disk.
"""
