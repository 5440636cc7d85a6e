"""Indexing: from features to codes, and to the reconstructions that an index makes of them.

The third room on the path of an image. Indexes are those of FAISS. This room trains them, keeps
them with a manifest that is checked on reuse, and gives their codes and reconstructions without
adding anything to them (:class:`~activeindex.indexing.quantiser.Quantiser`).
"""
