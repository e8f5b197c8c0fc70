"""How much faster a PixelCNN draws when it keeps the features of earlier rows and pixels.

    python benchmarks/pixelcnn_sampling.py [--channels 32] [--depth 5] [--side 28] [--samples 16] [--device cpu]

The same model draws the same images twice, with the cache and by recomputing everything for every pixel; of the latter
only some pixels are timed, since each costs the same. That both agree is one of the laws in `core/testing/laws/`. The
figure is the ratio of times per pixel.
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
    for name, value in (("channels", 32), ("depth", 5), ("side", 28), ("samples", 16), ("pixels", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    space = Field(channels=1, grid=(options.side, options.side), support=Binary())
    model = PixelCNNConfig(channels=options.channels, depth=options.depth).build(space).to(options.device).eval()
    pixels, likelihood = options.side**2, model.likelihood
    index = torch.arange(options.samples, device=options.device)

    def naive(count: int) -> None:
        uniforms = KeyedNoise(0, index).uniform("uniforms", (pixels, 1))
        start = torch.zeros_like(uniforms[:, :, 0])
        step = uncached_step(lambda values: model.network(likelihood.embed(values, values), None), start)
        ancestral(step, likelihood.draw, uniforms[:, :count])

    def timed(function: Callable[[], object], per: int) -> float:
        """Seconds per pixel."""
        if options.device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if options.device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / per

    with torch.no_grad():
        naive(1)  # warms up
        uncached = timed(lambda: naive(options.pixels), options.pixels)
        model.sample(options.samples, noise=KeyedNoise(0, index))
        cached = timed(lambda: model.sample(options.samples, noise=KeyedNoise(0, index)), pixels)
    print(f"{options.samples} images of {options.side} x {options.side}, {options.device}:")
    print(f"with cache {1e3 * cached:.2f} ms per pixel, without {1e3 * uncached:.2f} ms, ratio {uncached / cached:.1f}")


if __name__ == "__main__":
    main()
