"""Indexing: features to codes, and the reconstruction that an index makes of them.

The third room on the path of an image. An index is a FAISS index; what this room adds is training
with a cache that is checked on reuse, and :class:`Quantiser`, which tells what an index would
store for a feature without adding anything to it.
"""
