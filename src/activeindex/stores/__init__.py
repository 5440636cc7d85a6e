"""Stores: records of images, searched through the codes that the images were activated for.

The room after activation. A store keeps the id, name, hash, feature, code and activation record of
every image, by *generation*: one trained quantiser and the images released under it. Old
generations stay searchable; a search asks all of them.

:class:`~activeindex.stores.store.Store` is the public class. Each of its generations is kept by one
of two engines behind :class:`~activeindex.stores.generation.Generation`: ``faiss:PATH`` keeps codes
in memory, in any FAISS index with inverted lists or flat codes, and records in SQLite;
``lance://PATH`` keeps everything on disk in a Lance data set, whose IVF-PQ index is made with the
centroids and the codebook of the FAISS index (``activeindex[lance]``). Both give the same answers.
"""
