"""Speed: the engine against one matrix product, keyed noise against torch's own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from tempfile import TemporaryDirectory

import torch
from budgeted import Progress
from maquette.core import philox
from maquette.core.data import TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import CheckpointConfig, ParallelConfig, TrainingConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import Sequence

from .entry import Figure, Setting


def matmul_speed(device: str, size: int, dtype: torch.dtype) -> float:
    """Operations per second of a product of two square matrices: what there is to reach."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / timed(lambda: a @ b, device)


def timed(work: Callable[[], object], device: str, repeats: int = 10) -> float:
    """Median seconds."""
    seconds = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[3:])


def throughput(setting: Setting) -> Iterator[Figure]:
    """A transformer of 25 M weights on 65,536 tokens a step, in the engine, against one large matrix product."""
    width, depth, length, batch, steps = (8, 1, 8, 4, 2) if setting.dry else (512, 8, 256, 256, 100)
    config = TransformerConfig(width=width, depth=depth, heads=width // 64 or 1)
    model = config.build(Sequence(length=length, vocabulary=65))
    size = sum(parameter.numel() for parameter in model.parameters())
    every = 1 if setting.dry else 10
    training = TrainingConfig(
        steps=steps,
        batch_size=batch,
        parallel=ParallelConfig(precision="bfloat16", compile=not setting.dry),
        checkpoint=CheckpointConfig(every=10**9),
        log_every=every,
    )
    watch = Progress()
    source = TensorSource(torch.randint(65, (4 * batch, length), device=setting.device))
    with TemporaryDirectory() as folder:
        fit(training.plan(model.stages()), source, folder, seed=0, device=setting.device, listeners=[watch])
    step = statistics.median(after - before for before, after in pairwise(watch.times)) / every
    flop = batch * length * (6 * size + 12 * depth * width * length)  # Chowdhery et al., arXiv:2204.02311, app. B
    peak = matmul_speed(setting.device, 64 if setting.dry else 8192, torch.bfloat16)
    yield Figure("a step of 25 M weights on 65,536 tokens", 1e3 * step, "ms", steps)
    yield Figure("model operations per second over those of one matrix product", flop / step / peak, "", steps)


def noise(setting: Setting) -> Iterator[Figure]:
    """Small and large draws, and whether their integer part is compiled."""
    for what, batch, features in (("small", 256, 16), ("large", 64 if setting.dry else 2**15, 512)):
        keyed = KeyedNoise(0, torch.arange(batch, device=setting.device))
        own = timed(partial(keyed.normal, "x", (features,)), setting.device)
        shape = (batch, features)
        other = timed(lambda shape=shape: torch.randn(shape, device=setting.device), setting.device)
        yield Figure(f"{what} draw ({batch} x {features} normals)", 1e3 * own, "ms", 10)
        yield Figure(f"{what} draw over torch.randn", own / other, "", 10)
    yield Figure("integers of a draw are compiled, with the same bits", float(philox.fractions.in_use), "", 1)
