"""Stores: image records that are searched through the codes that images were activated against.

The room after activation. A store keeps, for every image, its id, name, hash, feature, code and
record of activation, by *generation*: one trained quantiser and the images that were released
under it. Old generations stay searchable; a search asks them all.

``faiss:PATH`` keeps codes in memory in any FAISS index with inverted lists or flat codes, and
records in SQLite. ``lance://PATH`` keeps everything on disk in a Lance data set whose IVF-PQ index
is made with the centroids and the codebook of the FAISS index; it needs ``activeindex[lance]``.
Both answer alike.
"""
