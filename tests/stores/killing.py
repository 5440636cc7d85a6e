"""A writer to be killed: ``python -m tests.stores.killing ADDRESS ACTION``.

Says what it is about to do, then adds batches of ``EACH`` images, or adds and compacts, for ever.
"""

import sys

from activeindex.stores import Store
from tests.stores.conftest import batch

EACH = 50


def main(address: str, action: str) -> None:
    with Store(address) as store:
        number = store.count() // EACH
        print("ready", flush=True)
        while True:
            store.add(batch(EACH, number, f"batch{number}"))
            if action == "compact":
                print("compacting", flush=True)
                store.compact()
            number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
