"""The gallery: every registered family fitted to two spiral arms in the plane.

    python docs/gallery/make.py [FAMILY ...] [--out docs/gallery]

One picture per family: the data, samples of the model, and its density if it has one. For families of discrete
features each coordinate becomes one of 64 levels; for families of angles the square of the picture becomes a torus. A
newly registered family is included without further work. `SIZES` enlarges families whose example, made for tests, is
too small for a picture.
"""

from __future__ import annotations

import argparse
import io
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from maquette.core.capabilities import Density, Sampler, capabilities
from maquette.core.config import parse
from maquette.core.data import TensorSource
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import OptimizerConfig, StageConfig, TrainingConfig
from maquette.core.families import FamilyConfig, families
from maquette.core.layout import parts
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import (
    Field,
    Levels,
    Product,
    Real,
    Sequence,
    Space,
    Support,
    Torus,
    Tree,
    Vector,
    flatten,
    support_of,
    unflatten,
)
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

SEED = 1
TRAINED_ON, DRAWN = 20_000, 40_000
EDGE, PIXELS, COLOURS = 2.6, 64, 64
LEVELS = PIXELS
SUPPORTS: dict[str, Support] = {"real": Real(), "levels": Levels(count=LEVELS), "torus": Torus(period=2 * EDGE)}
TRAINING = TrainingConfig(
    steps=1000,
    batch_size=512,
    ema_decay=0.995,
    log_every=500,
    optimizer=OptimizerConfig(lr=3e-3, warmup=50, clip=5.0),
)
TRAINED_OTHERWISE: dict[str, dict[str, Any]] = {
    # the posterior collapses at first and recovers slowly
    "vae": {"steps": 8000},
    "hierarchical-vae": {"steps": 4000},
    "vq-vae": {"steps": 3000},
    # close to the arms, corruption leaves little signal to learn from
    "denoising-autoencoder": {"steps": 2000},
    # the velocity field stays almost linear for a long time
    "continuous": {"steps": 2000},
    # each sample costs an evaluation of the teacher's ODE
    "distilled": {"stages": {"distill": StageConfig(steps=300, batch_size=256)}},
    # adversarial training oscillates with much momentum or large steps
    "gan": {
        "steps": 1500,
        "batch_size": 256,
        "optimizer": OptimizerConfig(lr=1e-3, betas=(0.0, 0.99), schedule="constant"),
    },
}
"""Training options that replace those of `TRAINING` for some families."""
_RESIDUAL = {"kind": "residual", "width": 96, "depth": 2}
_AUTOREGRESSIVE = {"kind": "spline", "scheme": "autoregressive", "transforms": 2, "hidden": [48, 48], "bins": 12}
_FLOW_MATCHING = {"kind": "flow-matching", "network": _RESIDUAL, "sampler": {"steps": 10}, "precision": 1e-3}
_MLP = {"kind": "mlp", "hidden": [128, 128]}
SIZES: dict[str, dict[str, Any]] = {
    "chain": {"first": _AUTOREGRESSIVE, "second": _AUTOREGRESSIVE},
    "distilled": {"teacher": _FLOW_MATCHING},
    "edm": {"network": _RESIDUAL, "sampler": {"steps": 12}},
    "flow-matching": _FLOW_MATCHING,
    "gan": {
        "generator": _RESIDUAL,
        "critic": _RESIDUAL,
        "spectral_norm": False,
        "loss": {"kind": "non-saturating", "r1": 0.1},
    },
    "hierarchical-vae": {"levels": [{"stride": 1, "groups": 2, "latent": 2}], "channels": 64, "loss": {"warmup": 1500}},
    "made": {"hidden": [128, 128]},
    "nade": {"hidden": [128]},
    "pixelcnn": {"channels": 32, "depth": 2, "dilations": [1], "skips": False},
    "planar": {"steps": 48},
    "continuous": {"network": {"kind": "mlp", "hidden": [64, 64]}, "trace": "exact", "steps": 8, "precision": 1e-4},
    "dequantised": {"flow": _AUTOREGRESSIVE, "noise": {"kind": "uniform"}},
    "flow-plus-plus": {"steps": 8, "dequantisation": 2, "components": 8, "width": 32},
    "glow": {"steps": 16, "width": 32},
    "monotonic": {"transforms": 3, "hidden": [48, 48], "signal": 8, "slope": [32, 32], "knots": 33},
    "residual-flow": {"steps": 12, "hidden": [48, 48]},
    "recurrent": {"width": 64, "depth": 1},
    "transformer": {"width": 64, "heads": 4, "attention": "full"},
    "vae": {"coder": _MLP, "loss": {"warmup": 1500}},
    "vq-vae": {
        "strides": [1],
        "codebook_size": 64,
        "embedding_dim": 8,
        "codes_per_cell": 2,
        "channels": 64,
        "commitment": 1.0,
        "decay": 0.9,
    },
    "denoising-autoencoder": {
        "latent": 16,
        "coder": _MLP,
        "corruption": {"kind": "gaussian", "scale": 0.15},
        "steps": 100,
    },
    "wavenet": {"channels": 32},
    "spline": _AUTOREGRESSIVE,
    "circular-spline": {"transforms": 8, "hidden": [64, 64], "bins": 16},
    "coupling": {"transforms": 12, "hidden": [64, 64]},
    "autoregressive-flow": {"transforms": 8, "hidden": [64, 64]},
}
"""Config keys that replace those of a family's example."""


def spirals(n: int, seed: int) -> torch.Tensor:
    """Points (n, 2) along two spiral arms whose width grows outwards."""
    rng = np.random.default_rng(seed)
    turn = math.pi * (0.4 + 1.2 * rng.beta(1.0, 1.2, n))
    arm = rng.integers(0, 2, n) * math.pi
    radius = 0.45 * turn * (1 + 0.08 * rng.standard_normal(n))
    points = np.stack([radius * np.cos(turn + arm), radius * np.sin(turn + arm)], axis=1)
    return torch.from_numpy(points + 0.06 * rng.standard_normal((n, 2))).float()


def plane(config: type[FamilyConfig]) -> Space | None:
    """A space of two features for the family, of the first of its supports that is real, levels or torus; else None."""
    found = next((SUPPORTS[name] for name in config.supports if name in SUPPORTS), None)
    if found is None:
        return None
    support: Support = found
    spaces: dict[str, Space] = {
        "vector": Vector(dim=2, support=support),
        "product": Product(parts={"a": Vector(dim=1, support=support), "b": Vector(dim=1, support=support)}),
        "sequence": Sequence(length=2, vocabulary=LEVELS)
        if isinstance(support, Levels)
        else Sequence(length=2, channels=1, support=support),
        "field": Field(channels=1, grid=(1, 2), support=support),
    }
    return next((space for kind, space in spaces.items() if kind in config.spaces), None)


def support(space: Space) -> Support:
    """The support of both coordinates."""
    return next(support_of(part) for _, part in parts(space))


def to_space(space: Space, points: torch.Tensor) -> Tree:
    """Points (n, 2) as values of the space."""
    match support(space):
        case Levels():
            points = ((points / (2 * EDGE) + 0.5) * LEVELS).floor().clamp(0, LEVELS - 1).long()
        case Torus(period=period):
            points = (points + EDGE) % period
    return unflatten(space, points)


def to_points(space: Space, value: Tree) -> torch.Tensor:
    """Inverse of `to_space`; a level becomes the middle of its cell."""
    flat = flatten(space, value)
    match support(space):
        case Levels():
            return ((flat + 0.5) / LEVELS - 0.5) * (2 * EDGE)
        case Torus():
            return flat - EDGE
        case _:
            return flat


def drawable() -> Iterator[tuple[str, type[FamilyConfig], Space]]:
    """Registered families with samples in the plane: name, config and space."""
    for name, config in families.items():
        space = plane(config)
        if space is not None and isinstance(config.model, type) and "sample" in capabilities(config.model):
            yield name, config, space


def fitted(name: str, config: type[FamilyConfig], space: Space) -> Any:
    """The family's model after a short fit."""
    values = config.example().model_dump() | SIZES.get(name, {})
    torch.manual_seed(SEED)
    model = parse(config, values, where=name).build(space, None)
    source = TensorSource(to_space(space, spirals(TRAINED_ON, SEED)))
    training = TRAINING.model_copy(update=TRAINED_OTHERWISE.get(name, {}))
    with tempfile.TemporaryDirectory() as folder:
        fit(training.plan(model.stages()), source, folder, seed=SEED)
    return model.eval().requires_grad_(False)


def draw(name: str, config: type[FamilyConfig], space: Space) -> Figure:
    """Data, samples and density side by side."""
    model = fitted(name, config, space)
    assert isinstance(model, Sampler)
    samples = to_points(space, model.sample(DRAWN, noise=KeyedNoise(SEED, torch.arange(DRAWN), "gallery")))
    panels = 3 if isinstance(model, Density) else 2
    figure = Figure(figsize=(2.6 * panels, 2.9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels)
    truth = _histogram(spirals(DRAWN, SEED + 1))
    _show(axes[0], truth, "truth", truth.max())
    _show(axes[1], _histogram(samples), f"samples of {name}", truth.max())
    if isinstance(model, Density):
        _show(axes[2], _density(model, space), "its density", truth.max())
    return figure


def _histogram(points: torch.Tensor) -> np.ndarray:
    box = [[-EDGE, EDGE], [-EDGE, EDGE]]
    counts, _, _ = np.histogram2d(*points.numpy().T, bins=PIXELS, range=box)
    return counts.T / len(points) / (2 * EDGE / PIXELS) ** 2


def _density(model: Density, space: Space) -> np.ndarray:
    middles = (torch.arange(PIXELS) + 0.5) * 2 * EDGE / PIXELS - EDGE
    points = torch.cartesian_prod(middles, middles).flip(1)
    with torch.no_grad():  # the graph of an adaptive ODE would fill the memory
        density = model.log_prob(to_space(space, points)).exp().view(PIXELS, PIXELS).numpy()
    return density / (2 * EDGE / LEVELS) ** 2 if isinstance(support(space), Levels) else density


def _show(axes: Axes, density: np.ndarray, title: str, top: float) -> None:
    axes.imshow(density, origin="lower", extent=(-EDGE, EDGE, -EDGE, EDGE), cmap="magma", vmin=0, vmax=top)
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def save(figure: Figure, file: Path) -> None:
    """Write a PNG with a palette, which takes a third of the bytes of full colour."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    Image.open(buffer).convert("RGB").quantize(COLOURS).save(file, optimize=True)


def page() -> str:
    """The gallery's README."""
    lines = [
        "# Gallery",
        "",
        "Every family fitted to the same two spiral arms in the plane, most with 1,000 steps of 512 points, which take",
        "some seconds to a minute on one core. The pictures show the character of each family, not the best it can do.",
        "Colours have the same scale in all panels. `python docs/gallery/make.py` makes the pictures and this page.",
    ]
    for name, config, _ in drawable():
        can, summary = ", ".join(capabilities(config.model)), config.summary[0].upper() + config.summary[1:]
        lines += [
            "",
            f"## {name}",
            "",
            f"{summary}. Capabilities: {can}. Reference: {config.reference}.",
            "",
            f"![{name}]({name}.png)",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="families to draw; all if none is given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    if unknown := set(options.families) - {name for name, _, _ in drawable()}:
        parser.error(f"no such family in the plane: {', '.join(sorted(unknown))}; see `maquette list families`")
    options.out.mkdir(parents=True, exist_ok=True)
    for name, config, space in drawable():
        if not options.families or name in options.families:
            start = time.perf_counter()
            save(draw(name, config, space), options.out / f"{name}.png")
            print(f"{name}: {time.perf_counter() - start:.0f} s")
    (options.out / "README.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
