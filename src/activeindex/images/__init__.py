"""Images: from files of any kind to float tensors ``(3, H, W)`` in [0, 1], and back to files.

The first room on the path of an image. Everything after it sees RGB tensors in [0, 1]; nothing
here knows about extractors or indexes.
"""
