"""What a training step of a likelihood family costs in the engine: against a bare torch loop over the same loss.

    python benchmarks/likelihood_step.py [FAMILY ...] [--steps 15] [--repeats 2] [--device cpu]

Both compute the same loss of the same network with fused AdamW and clipped gradients. The bare loop draws batches by
`randint` and noise by `torch.randn`; the engine keys both, weights and sums losses, checks that losses and gradients
are finite, and writes its loss file. They alternate in one process, so that a busy machine slows both. The figure is
the ratio of the median times per step. Networks are such that a step takes 20 ms or more on two CPU cores; what the
engine adds does not grow with the network.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import pairwise

import torch
from engine_overhead import engine
from maquette.core.data import Batch, TensorSource
from maquette.core.families import FamilyConfig
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.autoregressive.pixelcnn import PixelCNNConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.families.flows.spline import SplineConfig
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.nets.encoder_decoder import MLPCoderConfig
from maquette.core.noise import KeyedNoise, Recorder, TapeNoise
from maquette.core.objective import Objective, Player
from maquette.core.spaces import Binary, Field, Sequence, Space, Vector
from maquette.core.testing.bench import draw
from torch import Tensor, nn

IMAGE = Field(channels=1, grid=(28, 28), support=Binary())
CASES: dict[str, tuple[FamilyConfig, Space, int]] = {
    "made": (MADEConfig(hidden=(1000, 1000)), IMAGE, 256),
    "pixelcnn": (PixelCNNConfig(channels=16, depth=5), IMAGE, 16),
    "transformer": (TransformerConfig(width=128, depth=4, heads=4), Sequence(length=128, vocabulary=65), 16),
    "vae": (VAEConfig(latent=40, coder=MLPCoderConfig(hidden=(1000, 1000))), IMAGE, 512),
    "spline": (SplineConfig(), Vector(dim=45), 256),
}


class LoopNoise:
    """The noise of a bare loop: every tensor that an objective reads, from torch's own generator."""

    def __init__(self, objective: Objective, batch: Batch) -> None:
        recorder = Recorder(KeyedNoise(0, batch.index))
        objective(batch, recorder)
        self.shapes = {name: tensor.shape for name, tensor in recorder.tape.items()}
        self.distributions = recorder.distributions
        self.empty = torch.empty(len(batch), device=batch.index.device)

    def __call__(self) -> TapeNoise:
        make = {"normal": torch.randn, "uniform": torch.rand}
        drawn = {
            name: make[self.distributions[name]](shape, device=self.empty.device) for name, shape in self.shapes.items()
        }
        return TapeNoise({**drawn, "": self.empty})


def bare(player: Player, data: Tensor, batch: int, steps: int) -> list[float]:
    """Seconds of each step."""
    objective, networks = player.objective, nn.ModuleList(player.networks)
    optimizer = torch.optim.AdamW(networks.parameters(), 1e-3, fused=True)
    index = torch.arange(batch, device=data.device)
    noise = LoopNoise(objective, Batch(data[:batch], None, index))
    times = [time.perf_counter()]
    for _ in range(steps):
        x = data[torch.randint(len(data), (batch,), device=data.device)]
        loss = objective(Batch(x, None, index), noise()).losses.mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
        optimizer.step()
        if data.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter())
    return [after - before for before, after in pairwise(times)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=list(CASES), metavar="FAMILY", help=", ".join(CASES))
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    for name in options.families:
        config, space, batch = CASES[name]
        data = draw(space, 4096, seed=0)
        assert isinstance(data, Tensor)
        data = (data.float() if data.is_floating_point() else data).to(options.device)
        times: dict[str, list[float]] = {"bare": [], "engine": []}
        for _ in range(options.repeats):
            for loop, seconds in times.items():
                torch.manual_seed(0)
                stages = config.build(space).to(options.device).stages()  # type: ignore[operator]
                if loop == "engine":
                    steps = engine(stages, TensorSource(data.cpu()), batch, options.steps, options.device)
                else:
                    steps = bare(stages[0].players[0], data, batch, options.steps)
                seconds += steps[3:]
        own, other = (1e3 * statistics.median(times[loop]) for loop in ("engine", "bare"))
        print(
            f"{name:12s} engine {own:7.1f} ms/step, bare loop {other:7.1f} ms/step, ratio {own / other:.3f}", flush=True
        )
    print(f"{options.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
