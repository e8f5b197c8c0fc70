"""How much faster a PixelCNN draws when it keeps the features of earlier rows and cells.

    python benchmarks/pixelcnn_sampling.py [--features 32] [--depth 5] [--side 28] [--samples 16] [--device cpu]

The same model draws the same images twice, with the cache and by recomputing everything for every cell; of the latter
only some cells are timed, since each costs the same. The two agree as the laws of `core/testing/laws.py` demand; the
figure is the ratio of times per cell.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from maquette.core.families.autoregressive.pixelcnn import PixelCNNConfig
from maquette.core.noise import KeyedNoise
from maquette.core.samplers.ancestral import ancestral, uncached_step
from maquette.core.spaces import Binary, Field


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("features", 32), ("depth", 5), ("side", 28), ("samples", 16), ("cells", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    space = Field(channels=1, grid=(options.side, options.side), support=Binary())
    model = PixelCNNConfig(channels=options.features, depth=options.depth).build(space).to(options.device).eval()
    cells, law = options.side**2, model.likelihood
    index = torch.arange(options.samples, device=options.device)

    def naive(count: int) -> None:
        uniforms = KeyedNoise(0, index).uniform("numbers", (cells, 1))
        start = torch.zeros_like(uniforms[:, :, 0])
        step = uncached_step(lambda values: model.network(law.spread(values, values), None), start)
        ancestral(step, law.draw, uniforms[:, :count])

    def timed(function: Callable[[], object], per: int) -> float:
        """Seconds per cell."""
        if options.device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if options.device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / per

    with torch.no_grad():
        naive(1)  # warms up
        anew = timed(lambda: naive(options.cells), options.cells)
        model.sample(options.samples, noise=KeyedNoise(0, index))
        cached = timed(lambda: model.sample(options.samples, noise=KeyedNoise(0, index)), cells)
    print(f"{options.samples} images of {options.side} x {options.side}, {options.device}:")
    print(f"with the cache {1e3 * cached:.2f} ms per cell, anew {1e3 * anew:.2f} ms, ratio {anew / cached:.1f}")


if __name__ == "__main__":
    main()
