"""How many images should go through an extractor together on the CPU?

Run: OMP_WAIT_POLICY=PASSIVE python benchmarks/forward_chunks.py
Prints, for each chunk size, time per image relative to the best, and the share of it that the
kernel takes (page faults of activations that were given back to the system).
"""

import resource
import time

import torch

from activeindex.extractors.named import load_extractor

CHUNKS = (1, 2, 4, 8, 16, 32)
IMAGES = 32
ROUNDS = 3


def main() -> None:
    extractor = load_extractor("sscd_disc_mixup")
    images = torch.rand(IMAGES, 3, extractor.input_size, extractor.input_size)
    best: dict[int, tuple[float, float]] = {}
    for _ in range(ROUNDS):
        for chunk in CHUNKS:
            before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            with torch.inference_mode():
                for part in images.split(chunk):
                    extractor(part)
            wall = time.perf_counter() - start
            after = resource.getrusage(resource.RUSAGE_SELF)
            user, kernel = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
            if chunk not in best or wall < best[chunk][0]:
                best[chunk] = (wall, kernel / (user + kernel))
    fastest = min(wall for wall, _ in best.values())
    print(f"{extractor.identity}, {torch.get_num_threads()} threads, best of {ROUNDS} rounds")
    for chunk, (wall, kernel) in best.items():
        print(
            f"chunk {chunk:3d}: {wall / IMAGES * 1e3:6.1f} ms per image, "
            f"{wall / fastest:5.2f} x the fastest, {kernel:4.0%} of the CPU time in the kernel"
        )


if __name__ == "__main__":
    main()
