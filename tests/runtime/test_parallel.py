"""One function on many things, in threads."""

from concurrent.futures import ThreadPoolExecutor

import torch

from activeindex.runtime.parallel import ThreadMapper, threads_kept


def threads_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_threads_that_overlap_leave_pytorch_as_many_as_it_had() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        each = ThreadMapper(2, lambda: None)
        with threads_kept(), ThreadPoolExecutor(2) as pool:
            # One calls the other from its threads, so that they are sure to overlap.
            inner = pool.submit(each, lambda _: each(lambda x: x + 1, [1, 2]), [0, 0])
            assert inner.result() == [[2, 3], [2, 3]]
        assert threads_of_a_new_thread() == 3
    finally:
        torch.set_num_threads(before)
