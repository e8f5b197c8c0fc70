"""How the cost of drawing a place grows with the length of a sequence: WaveNet and the transformer with their caches.

    python benchmarks/sampling_length.py [--samples 8] [--lengths 128 256 512 1024] [--device cpu]

Constant time per place is linear in length. A transformer's attention looks at all places before, so its time per place
grows in the end, slowly; without the cache both would grow in proportion to the length.
"""

from __future__ import annotations

import argparse
import time

import torch
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.families.autoregressive.wavenet import WaveNetConfig
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Sequence

FAMILIES = {
    "wavenet": WaveNetConfig(features=64, depth=8, stacks=1),
    "transformer": TransformerConfig(width=128, depth=4, heads=4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    index = torch.arange(options.samples, device=options.device)
    for name, config in FAMILIES.items():
        for length in options.lengths:
            torch.manual_seed(0)
            model = config.build(Sequence(length=length, vocabulary=64)).to(options.device).eval()
            best = float("inf")
            for _ in range(3):
                start = time.perf_counter()
                with torch.no_grad():
                    model.sample(options.samples, noise=KeyedNoise(0, index)).cpu()
                best = min(best, time.perf_counter() - start)
            print(f"{name:12s} length {length:5d}  {1e3 * best / length:.3f} ms per place", flush=True)


if __name__ == "__main__":
    main()
