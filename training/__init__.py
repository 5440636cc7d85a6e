"""Training of the package's own descriptor ``lite0_copy``: ``python -m training``.

``views`` makes a bank of edited views of the training images; ``augment`` varies them on the
training device; ``losses`` are those of SSCD; ``schedule`` gives progress, learning rate and
resolution; ``validation`` measures recall on held-out images; ``train`` is the loop, with ``state``
as its checkpoint; ``run`` puts it together and ``curves`` draws its log.
"""
