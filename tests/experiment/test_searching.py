import numpy as np

from activeindex.experiment.searching import repeated_images


def test_originals_among_the_references_are_counted() -> None:
    features = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    references, originals = features[:40], features[37:45]
    said = repeated_images(references, originals)
    assert said is not None
    assert said.startswith("3 of the 8 originals, too; ")
    assert said.endswith("(R@1 is 0)")
    assert repeated_images(references, features[40:]) is None
