"""Extractors: differentiable maps from images to features.

The second room on the path of an image. An :class:`Extractor` declares its dimension and input
size, takes images in [0, 1] and normalises them itself. :func:`load_extractor` finds one by name
or file; :func:`extract_folder` streams the features of a folder to disk.
"""
