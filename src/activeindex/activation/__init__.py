"""Activation: the step before release that moves an image's feature towards its target.

The fourth room on the path of an image, and the reason for the others. :func:`activate` takes
images, an extractor and the quantiser of an index, and returns the images to release.
"""
