"""How the cost of drawing one step grows with the length of a sequence: WaveNet and the transformer with their caches.

    python benchmarks/sampling_length.py [--samples 8] [--lengths 128 256 512 1024] [--repeats 5] [--device cpu]

Constant time per step is linear in length. With full attention the time per step of a transformer grows slowly with
length; with local attention it does not. Without a cache every time per step would be proportional to the length.
Times are medians over repeats, which alternate between the models.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.families.autoregressive.wavenet import WaveNetConfig
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Sequence

FAMILIES = {
    "wavenet": WaveNetConfig(channels=64, depth=8, stacks=1),
    "transformer": TransformerConfig(width=128, depth=4, heads=4),
    "transformer, window of 128": TransformerConfig(width=128, depth=4, heads=4, attention="local", window=128),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    index = torch.arange(options.samples, device=options.device)
    times: dict[str, dict[int, list[float]]] = {name: {n: [] for n in options.lengths} for name in FAMILIES}
    with torch.no_grad():
        for _ in range(options.repeats):
            for name, config in FAMILIES.items():
                for length in options.lengths:
                    model = config.build(Sequence(length=length, vocabulary=64)).to(options.device).eval()
                    start = time.perf_counter()
                    model.sample(options.samples, noise=KeyedNoise(0, index)).cpu()
                    times[name][length].append((time.perf_counter() - start) / length)
    print(f"{'ms per step of':27s}" + "".join(f"{length:8d}" for length in options.lengths) + "   last / first")
    for name, of in times.items():
        medians = [1e3 * statistics.median(of[length]) for length in options.lengths]
        print(f"{name:27s}" + "".join(f"{each:8.3f}" for each in medians) + f"{medians[-1] / medians[0]:15.2f}")


if __name__ == "__main__":
    main()
