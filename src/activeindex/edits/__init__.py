"""Edits that copiers make: they turn a released image into a query.

In the path of an image this room comes after activation and before evaluation: an activated image
is written as an 8-bit file and released, a copier edits that copy, and evaluation asks whether the
edited copy is still found. So edits work on what a copier has, Pillow images of mode RGB and of any
size, and know nothing of features or indexes. Nothing here imports torch: worker processes that
edit images start light.

Three layers, each usable alone:

* pure functions on one image (:mod:`photometric`, :mod:`pixels`, :mod:`blurs`, :mod:`geometric`,
  :mod:`warps`, :mod:`texts`, :mod:`overlays`), which raise :class:`EditNotApplicableError` where an
  image gives them nothing to work on;
* :func:`random_composition`, which draws one to four of them (``auto``);
* :class:`Edit`, an edit by name with its parameter, and the lists of them. It answers with an
  :class:`EditedImage`, which says what was applied and what was skipped.

Random edits draw from the generator that they are given; :func:`edit_generator` makes the one of
an image, so that a result depends on neither batches nor workers. Fonts, emoji and screenshots are
files of the package ``augly`` (extra ``edits``), which is located but never imported.
"""
