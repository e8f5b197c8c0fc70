"""Character models of a text: nats per character on its last tenth.

    python benchmarks/likelihood_text.py [FAMILY ...] [--minutes 5] [--device cuda] [--out runs/text] [--resume]

A sample is a window of the text without context before it: its first character is predicted from nothing, its last from
all others. The figure is the mean over adjacent windows. Every second of these windows serves to choose the weights of
a fit, the others to test. Character transformers of the size of the GPU recipe reach about 1.47 on this text (the
figure quoted with nanoGPT, github.com/karpathy/nanoGPT).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from budgeted import Budget, Recipe, arguments, run, table
from maquette.core.data import Batch, TensorSource
from maquette.core.engine.plan import OptimizerConfig
from maquette.core.families.autoregressive.recurrent import RecurrentConfig
from maquette.core.families.autoregressive.transformer import TransformerConfig
from maquette.core.families.autoregressive.wavenet import WaveNetConfig
from maquette.core.spaces import Sequence
from torch import Tensor

FILE = "tinyshakespeare.txt"
NOTES = "Nats per character; windows without context before them. Literature: 1.47, a transformer of 10.6 M parameters."


def descent(lr: float, decay: float = 0.0) -> OptimizerConfig:
    return OptimizerConfig(lr=lr, warmup=100, clip=1.0, weight_decay=decay)


def recipes(device: str) -> dict[str, Recipe]:
    """By name; what five minutes allow on one large GPU, or on two CPU cores."""
    if device == "cpu":
        return {
            "transformer": Recipe(TransformerConfig(width=96, depth=3, heads=4), batch=16, optimizer=descent(3e-3)),
            "wavenet": Recipe(WaveNetConfig(channels=64, depth=6, stacks=1), batch=16, optimizer=descent(4e-3)),
            "recurrent": Recipe(RecurrentConfig(width=192), batch=16, optimizer=descent(4e-3)),
        }
    return {
        "transformer": Recipe(
            TransformerConfig(width=384, depth=6, heads=6, dropout=0.2), batch=64, optimizer=descent(1e-3, 0.1)
        ),
        "wavenet": Recipe(WaveNetConfig(channels=256, depth=8, stacks=2), batch=64, optimizer=descent(1e-3, 0.1)),
        "recurrent": Recipe(RecurrentConfig(width=512, depth=2), batch=64, optimizer=descent(2e-3, 0.1)),
    }


@dataclass(frozen=True)
class Windows:
    """All windows of a text: sample i starts at character i."""

    text: Tensor
    length: int

    def __len__(self) -> int:
        return len(self.text) - self.length + 1

    def fetch(self, index: Tensor) -> Batch:
        positions = (index[:, None] + torch.arange(self.length)).to(self.text.device)
        return Batch(self.text[positions], None, index)


def characters(path: Path) -> tuple[Tensor, int]:
    """A text as indices of its characters in alphabetical order, int64, and the size of the vocabulary."""
    text = path.read_text()
    known = {character: index for index, character in enumerate(sorted(set(text)))}
    return torch.tensor([known[character] for character in text]), len(known)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="all recipes if none is named")
    parser.add_argument("--length", type=int, help="characters of a window; 256 on a GPU, 128 on a CPU")
    options = parser.parse_args()
    known = recipes(options.device)
    for name in options.families:
        if name not in known:
            parser.error(f'there is no recipe "{name}"; known: {", ".join(known)}')
    length = options.length or (128 if options.device == "cpu" else 256)
    if not options.table:
        text, vocabulary = characters(options.data / FILE)
        cut = len(text) * 9 // 10
        train, rest = text[:cut].to(options.device), text[cut:].to(options.device)
        windows = rest[: len(rest) // length * length].reshape(-1, length)
        space = Sequence(length=length, vocabulary=vocabulary)
        budget = Budget(options.minutes, options.device, options.compile)
        for name in options.families or known:
            run(
                name,
                known[name],
                budget,
                space,
                Windows(train, length),
                TensorSource(windows[::2]),
                TensorSource(windows[1::2]),
                options.out / name,
                resume=options.resume,
            )
    print(table(options.out, "Characters of Shakespeare", "NLL, nats per character", length, NOTES))


if __name__ == "__main__":
    main()
