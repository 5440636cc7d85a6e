"""The recipe of the package's own descriptor, ``lite0_copy``: ``python -m training --help``.

``views`` makes a bank of edited views of the training images; ``augment`` varies them further on
the training device; ``losses`` are those of SSCD; ``schedule`` says how far a run is and what
follows from that; ``validation`` asks whether held-out images are found again; ``train`` is the
loop, with ``state`` to resume from; ``run`` puts it together and ``curves`` draws its log.
"""
