"""Generated request traces for caches: popularity by Zipf, alone, polluted by scans, and shifting; equal and mixed sizes.

Every trace is a list of object numbers; an object's size is `sizes[number]`. The same seed gives the same trace.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

OBJECTS = 50_000
REQUESTS = 500_000


@dataclass(frozen=True, slots=True)
class Trace:
    """Who asks for what: `numbers` index into `sizes` (bytes)."""

    name: str
    numbers: list[int]
    sizes: list[int]

    @property
    def footprint(self) -> int:
        """Bytes of all different objects that are asked for."""
        return sum(self.sizes[number] for number in set(self.numbers))


def zipf_numbers(random: np.random.Generator, skew: float, objects: int, requests: int) -> np.ndarray:
    """`requests` object numbers, object k (from 0) with a probability proportional to 1/(k+1)**skew; numbers shuffled."""
    weights = 1.0 / np.arange(1, objects + 1) ** skew
    ranks = np.searchsorted(np.cumsum(weights) / weights.sum(), random.random(requests))
    return random.permutation(objects)[ranks]


def equal_sizes(random: np.random.Generator, count: int) -> list[int]:
    """Every object 10 KB."""
    return [10_240] * count


def mixed_sizes(random: np.random.Generator, count: int) -> list[int]:
    """Log-normal like web objects: median 10 KB, a few of megabytes, none under 200 bytes or over 4 MiB."""
    return [int(size) for size in np.clip(random.lognormal(np.log(10_240), 1.5, count), 200, 4 << 20)]


def zipf(skew: float) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda random: zipf_numbers(random, skew, OBJECTS, REQUESTS)


def zipf_with_scans(random: np.random.Generator) -> np.ndarray:
    """Zipf 1.0, and every 20,000 requests a crawler that asks for 10,000 objects nobody asks for again."""
    numbers = zipf_numbers(random, 1.0, OBJECTS, REQUESTS)
    pieces, fresh = [], OBJECTS
    for start in range(0, REQUESTS, 20_000):
        pieces += [numbers[start : start + 20_000], np.arange(fresh, fresh + 10_000)]
        fresh += 10_000
    return np.concatenate(pieces)[:REQUESTS]


def zipf_with_one_hit_wonders(random: np.random.Generator) -> np.ndarray:
    """Zipf 1.0 in which three requests of ten are for an object of their own."""
    numbers = zipf_numbers(random, 1.0, OBJECTS, REQUESTS)
    alone = random.random(REQUESTS) < 0.3
    numbers[alone] = OBJECTS + np.arange(alone.sum())
    return numbers


def shifting(random: np.random.Generator) -> np.ndarray:
    """Zipf 1.0 whose popular objects are other ones every 50,000 requests."""
    return np.concatenate([zipf_numbers(random, 1.0, OBJECTS, 50_000) for _ in range(REQUESTS // 50_000)])


SHAPES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "Zipf 0.8": zipf(0.8),
    "Zipf 1.0": zipf(1.0),
    "Zipf 1.2": zipf(1.2),
    "Zipf 1.0 + scans": zipf_with_scans,
    "Zipf 1.0 + 30 % one-hit wonders": zipf_with_one_hit_wonders,
    "shifting popularity": shifting,
}
SIZES = {"equal sizes": equal_sizes, "mixed sizes": mixed_sizes}


def all_traces() -> list[Trace]:
    """Every shape with every choice of sizes."""
    traces = []
    for seed, (shape, numbers_of) in enumerate(SHAPES.items()):
        numbers = numbers_of(np.random.default_rng(seed))
        for kind, sizes_of in SIZES.items():
            sizes = sizes_of(np.random.default_rng(100 + seed), int(numbers.max()) + 1)
            traces.append(Trace(f"{shape}, {kind}", numbers.tolist(), sizes))
    return traces
