"""Likelihoods on static binarised MNIST (Larochelle & Murray, AISTATS 2011), with those of the literature.

    python benchmarks/likelihood_mnist.py [FAMILY ...] [--minutes 5] [--device cuda] [--out runs/mnist] [--resume]
    python benchmarks/likelihood_mnist.py hierarchical-vae --out runs/mnist --resume --draws 1000  # a tighter bound

50,000 images to train on, 10,000 to choose among the weights of a fit, 10,000 to test; 784 pixels, zero or one. Every
family is fitted for so many minutes; figures are negative log-likelihoods in nats per image, with their standard errors
over the test images. Calls with the same folder may run side by side, and their results are one table. There are
recipes for one large GPU and for two CPU cores: add to `recipes`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from budgeted import Budget, Recipe, arguments, run, table
from maquette.core.data import Source, TensorSource
from maquette.core.engine.plan import OptimizerConfig
from maquette.core.families.autoregressive.fvsbn import FVSBNConfig
from maquette.core.families.autoregressive.made import MADEConfig
from maquette.core.families.autoregressive.nade import NADEConfig
from maquette.core.families.autoregressive.pixelcnn import PixelCNNConfig
from maquette.core.families.autoregressive.recurrent import RecurrentConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.families.vae.elbo import ELBOConfig
from maquette.core.families.vae.hierarchical import HierarchicalVAEConfig, Level
from maquette.core.families.vae.vae import VAEConfig
from maquette.core.nets.encoder_decoder import MLPCoderConfig
from maquette.core.spaces import Binary, Field

FILE = "binarized_mnist_static.npz"
SPACE = Field(channels=1, grid=(28, 28), support=Binary())

LITERATURE = {
    "nade": "88.33 (arXiv:1502.03509)",
    "made": "88.40, one layer; 86.64, two layers and 32 masks (arXiv:1502.03509)",
    "pixelcnn": "81.30, another model: PixelCNN with one stack, not gated (arXiv:1601.06759)",
    "vae": "86 to 88, one layer, importance-weighted (arXiv:1509.00519 and others)",
}
NOTES = """Nats per image; the same data everywhere. A mixture of 10 Bernoullis has 167.1 (by expectation maximisation,
measured by us)."""


def descent(lr: float, **options: float) -> OptimizerConfig:
    return OptimizerConfig(**{"lr": lr, "warmup": 100, "clip": 1.0, **options})  # type: ignore[arg-type]


def pyramid(fine: int, coarse: int) -> tuple[Level, ...]:
    """Groups of latent variables on a grid of 7 x 7, and on one of 1 x 1."""
    return (
        Level(stride=2, groups=0),
        Level(stride=2, groups=fine, latent=6),
        Level(stride=7, groups=coarse, latent=24),
    )


def recipes(device: str) -> dict[str, Recipe]:
    """By name; what five minutes allow on one large GPU, or on two CPU cores."""
    if device == "cpu":
        found = {
            "fvsbn": Recipe(FVSBNConfig(), batch=100, optimizer=descent(4e-3)),
            "made": Recipe(
                MADEConfig(hidden=(2000,), direct=True), batch=100, optimizer=descent(2e-3, weight_decay=1e-2)
            ),
            "nade": Recipe(NADEConfig(hidden=(200,)), batch=50, optimizer=descent(5e-3)),
            "recurrent": Recipe(RecurrentConfig(width=96, neighbours=True), batch=50, optimizer=descent(4e-3)),
            "pixelcnn": Recipe(
                PixelCNNConfig(channels=16, depth=5, kernel=5), batch=32, optimizer=descent(4e-3), ema_decay=0.99
            ),
            "transformer": Recipe(
                TransformerConfig(width=64, depth=2, heads=2, attention="strided", window=28),
                batch=16,
                optimizer=descent(4e-3),
                ema_decay=0.99,
            ),
            "vae": Recipe(
                VAEConfig(latent=40, coder=MLPCoderConfig(hidden=(300, 300)), loss=ELBOConfig(warmup=1000)),
                batch=100,
                optimizer=descent(2e-3),
            ),
            "hierarchical-vae": Recipe(
                HierarchicalVAEConfig(levels=pyramid(1, 1), channels=24, loss=ELBOConfig(warmup=500)),
                batch=64,
                optimizer=descent(4e-3),
                ema_decay=0.99,
                draws=20,
            ),
        }
    else:
        found = {
            "fvsbn": Recipe(FVSBNConfig(), batch=200, optimizer=descent(1e-3), ema_decay=0.999),
            "made": Recipe(
                MADEConfig(hidden=(2000, 2000), masks=16, order="random"),
                batch=512,
                optimizer=descent(1e-3, weight_decay=1e-3),
                ema_decay=0.999,
            ),
            "nade": Recipe(NADEConfig(hidden=(500,)), batch=200, optimizer=descent(1e-3), ema_decay=0.999),
            "recurrent": Recipe(
                RecurrentConfig(width=512, depth=2, neighbours=True),
                batch=256,
                optimizer=descent(2e-3),
                ema_decay=0.999,
            ),
            "pixelcnn": Recipe(
                PixelCNNConfig(channels=96, depth=8, kernel=5, dropout=0.2),
                batch=128,
                optimizer=descent(2e-3, weight_decay=1e-3),
                ema_decay=0.999,
            ),
            "transformer": Recipe(
                TransformerConfig(width=256, depth=6, heads=8, dropout=0.15),
                batch=128,
                optimizer=descent(1.5e-3, warmup=500, weight_decay=0.05),
                ema_decay=0.999,
            ),
            "vae": Recipe(
                VAEConfig(latent=40, coder=MLPCoderConfig(hidden=(500, 500)), loss=ELBOConfig(warmup=5000)),
                batch=200,
                optimizer=descent(1e-3, weight_decay=1e-2),
                ema_decay=0.999,
            ),
            "hierarchical-vae": Recipe(
                HierarchicalVAEConfig(
                    levels=pyramid(4, 2), channels=96, depth=2, spectral=0.01, loss=ELBOConfig(warmup=3000)
                ),
                batch=256,
                optimizer=descent(1.5e-3, warmup=500, weight_decay=1e-2),
                ema_decay=0.999,
            ),
        }
    return {name: replace(recipe, literature=LITERATURE.get(name, "")) for name, recipe in found.items()}


def images(data: Path, device: str) -> tuple[Source, Source, Source]:
    """To train on, held out, to test: (n, 1, 28, 28), zero or one."""
    with np.load(data / FILE) as file:
        parts = [np.unpackbits(file[name], axis=1) for name in ("train", "valid", "test")]
    if device == "cpu":
        parts[1] = parts[1][::10]  # all of them would take longer than the training between two looks at them
    train, held_out, test = (
        TensorSource(torch.from_numpy(part).float().reshape(-1, 1, 28, 28).to(device)) for part in parts
    )
    return train, held_out, test


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="all recipes if none is named")
    parser.add_argument("--draws", type=int, help="per test image, of a model that bounds its density")
    options = parser.parse_args()
    known = recipes(options.device)
    for name in options.families:
        if name not in known:
            parser.error(f'there is no recipe "{name}"; known: {", ".join(known)}')
    if not options.table:
        train, held_out, test = images(options.data, options.device)
        budget = Budget(options.minutes, options.device, options.compile)
        for name in options.families or known:
            recipe, folder = known[name], options.out / name
            recipe = replace(recipe, draws=options.draws or recipe.draws)
            run(name, recipe, budget, SPACE, train, held_out, test, folder, resume=options.resume)
    print(table(options.out, "Static binarised MNIST", "NLL, nats", 1.0, NOTES))


if __name__ == "__main__":
    main()
