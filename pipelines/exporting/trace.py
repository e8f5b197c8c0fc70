"""A generator as a function of tensors alone, for export: conditions and noise in, samples out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ...core.data import map_tree
from ...core.errors import MaquetteError
from ...core.noise import KeyedNoise, Recorder, TapeNoise
from ...core.spaces import CONDITION, Tree, named
from ...domains.generator import Generator

_DRAWS = 10_000  # conditions drawn to find their range
_TRACED = 3  # samples in the traced batch; torch.export takes 0 and 1 for constants


class ExportError(MaquetteError):
    """A generator that cannot be traced, or a file that does not compute what the generator does."""


@dataclass(frozen=True)
class Port:
    """One input or output; its first axis is the batch.

    Attributes:
        name: its name in the file.
        role: "condition", "noise" or "sample".
        shape: without the batch.
        dtype: "float32" or "int64".
        distribution: of a noise: "normal" (standard) or "uniform" (open interval from 0 to 1).
        unit: of a condition or sample; empty if it has none.
        seen: of a condition: smallest and largest value in training (nearly), for each of its dimensions.

    >>> Port("energy", "condition", (1,), "float32", unit="MeV", seen=((1000.0, 10000.0),)).shape
    (1,)
    """

    name: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    distribution: str = ""
    unit: str = ""
    seen: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Signature:
    """Inputs (conditions first, then noise) and outputs, in order.

    >>> energy = Port("energy", "condition", (1,), "float32", unit="MeV")
    >>> z = Port("z", "noise", (510,), "float32", distribution="normal")
    >>> Signature((energy, z), outputs=(Port("showers", "sample", (504,), "float32"),)).names("noise")
    ['z']
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def names(self, role: str) -> list[str]:
        """Names of the inputs of one role."""
        return [port.name for port in self.inputs if port.role == role]


@dataclass(frozen=True)
class Example:
    """One batch of the Python sampler, which a file is compared with.

    Attributes:
        condition: physical conditions; None if samples have none.
        noise: the random tensors that the sampler read, by name.
        distributions: of each noise.
        x: the samples.

    >>> energy, z, x = torch.ones(2, 1), torch.zeros(2, 3), torch.zeros(2, 4)
    >>> example = Example({"energy": energy}, {"z": z}, distributions=("normal",), x=x)
    >>> [tuple(tensor.shape) for tensor in example.inputs], len(example.outputs)
    ([(2, 1), (2, 3)], 1)
    """

    condition: Tree | None
    noise: dict[str, Tensor]
    distributions: tuple[str, ...]
    x: Tree

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Tensors in the order of the signature."""
        return (*named(self.condition).values(), *self.noise.values())

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Tensors in the order of the signature."""
        return tuple(named(self.x, "").values())


class Sampling(nn.Module):
    """`Generator.sample` with the names of its tensors fixed: positional tensors in, tensors out."""

    def __init__(self, generator: Generator, signature: Signature) -> None:
        super().__init__()
        self.generator = generator
        self.conditions, self.noise = signature.names("condition"), signature.names("noise")

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        inputs = dict(zip((*self.conditions, *self.noise), tensors, strict=True))
        tape = TapeNoise({name: inputs[name] for name in self.noise})
        condition: Tree | None = {name: inputs[name] for name in self.conditions} or None
        if self.conditions == [CONDITION]:
            condition = inputs[CONDITION]
        x = self.generator.sample(tensors[0].shape[0], condition, noise=tape)
        return tuple(named(x, "").values())


def draw_example(generator: Generator, n: int, *, seed: int) -> Example:
    """Draw a batch of n samples with conditions as in training.

    The noise is that of `Model.draw`: an exported file fed with its `KeyedNoise` gives the samples of that seed.

    >>> from maquette.core.config import parse
    >>> from maquette.domains import domains
    >>> plugin = domains.get("calorimeter")
    >>> data = plugin.open(plugin.sample_path(), {}).rows(0, 50)
    >>> config = parse(plugin.generator, {"family": {"kind": "linear"}}, where="example")
    >>> generator = config.build(data.description, data)
    >>> signature = signature_of(generator, draw_example(generator, 3, seed=0))
    >>> for port in signature.inputs:
    ...     print(port.name, port.shape, port.unit or port.distribution)
    energy (1,) MeV
    family/prior (510,) normal
    """
    noise = KeyedNoise(seed, torch.arange(n), stream="generate")
    condition = generator.typical_condition(n, noise.fold("condition"))
    recorder = Recorder(noise)
    with torch.no_grad():
        x = generator.sample(n, condition, noise=recorder)
    distributions = tuple(recorder.distributions[name] for name in recorder.tape)
    # keyed draws are not contiguous, and a compiled graph would expect the same strides from its callers
    tape = {name: value.contiguous() for name, value in recorder.tape.items()}
    return Example(map_tree(Tensor.contiguous, condition), tape, distributions, x)


def signature_of(generator: Generator, drawn: Example) -> Signature:
    """Inputs and outputs of the sampler that made an example."""
    codec = generator.decoder
    given = generator.examples is not None  # a few rows, which show no range
    many = drawn.condition if given else generator.draw_condition(KeyedNoise(0, torch.arange(_DRAWS), stream="range"))
    conditions = (
        _port(name, "condition", value, unit=codec.units.get(name, ""), seen=() if given else _range(value))
        for name, value in named(many).items()
    )
    noises = (
        _port(name, "noise", value, distribution=distribution)
        for (name, value), distribution in zip(drawn.noise.items(), drawn.distributions, strict=True)
    )
    outputs = (
        _port(name, "sample", value, unit=codec.units.get(name, ""))
        for name, value in named(drawn.x, codec.sample_name).items()
    )
    return Signature((*conditions, *noises), tuple(outputs))


def trace(generator: Generator, signature: Signature, *, seed: int = 0) -> ExportedProgram:
    """The sampler as a graph for a batch of any size from one.

    Raises:
        ExportError: the sampler does not unroll into a fixed sequence of operations.
    """
    batch = Dim("batch", min=1)
    inputs = draw_example(generator, _TRACED, seed=seed).inputs
    shapes = (tuple({0: batch} for _ in inputs),)
    try:
        return torch.export.export(Sampling(generator, signature).eval(), inputs, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # the tracer raises all sorts of errors
        raise ExportError(
            "this generator's sampler is no fixed sequence of operations, as an exported file needs "
            f"({first_line(error)}); fit one with a fixed-step method, or make samples with `maquette generate`."
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, shortened to fit into a sentence.

    >>> first_line(ValueError("not supported\\nsee the log"))
    'ValueError: not supported'
    """
    lines = str(error).strip().splitlines()
    return (f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)[:200]


def _port(
    name: str,
    role: str,
    value: Tensor,
    *,
    distribution: str = "",
    unit: str = "",
    seen: Sequence[tuple[float, float]] = (),
) -> Port:
    dtype = str(value.dtype).removeprefix("torch.")
    return Port(name, role, tuple(value.shape[1:]), dtype, distribution, unit, tuple(seen))


def _range(value: Tensor) -> list[tuple[float, float]]:
    columns = value.flatten(1).T
    return [(column.min().item(), column.max().item()) for column in columns]
