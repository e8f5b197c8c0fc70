"""A domain of small graphs: at most five atoms, grown token by token so that no valence is exceeded, shown as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from maquette.core import spaces
from maquette.core.constraint import Path as Growth
from maquette.core.data import Batch, Source
from maquette.core.errors import SpaceError
from maquette.core.noise import KeyedNoise, Noise
from maquette.core.spaces import Graph, Tree
from maquette.core.statistics.estimate import Estimate
from maquette.core.values import check_values
from maquette.data_specs.errors import DataError
from maquette.domains import domains
from maquette.domains.codec import Codec, CodecConfig
from maquette.domains.generator import GeneratorConfig
from maquette.domains.plugin import Evaluation, Progress, SimulatorConfig
from torch import Tensor
from toy import Toy, ToyData, ToyWriter

ATOMS, VALENCES = "CNOF", torch.tensor([4, 3, 2, 1])
BONDS = " -=#"
GRAPH = Graph(node_types=4, edge_types=3, max_nodes=5)
STEPS = torch.tensor([(i, j) for i in range(5) for j in range(-1, i)])
"""A token each: the type of atom i (j = -1), then its bond, from none to triple, to each atom j before it."""
END = len(ATOMS) + len(BONDS)
TOKENS = spaces.Sequence(length=len(STEPS), vocabulary=END, variable=True)


class Valences:
    """Atoms form one connected graph, and bonds use up no more than the valences."""

    def start(self, n: int, condition: Tree | None = None, *, device: torch.device | None = None) -> Tree:
        zero = torch.zeros(n, dtype=torch.int64, device=device)
        return {"free": zero[:, None].expand(-1, 5), "bound": zero.bool(), "step": zero}

    def allowed(self, state: Tree) -> Tensor:
        free, bound, (i, j) = state["free"], state["bound"], self._place(state)
        order, atom = torch.arange(len(BONDS)), torch.arange(5)
        room = torch.minimum(free.gather(1, i[:, None]), free.gather(1, j.clamp(min=0)[:, None]))
        later = ((free > 0) & (atom > j[:, None]) & (atom < i[:, None])).any(1)
        bond = (order <= room) & ((order > 0) | (bound | later)[:, None])
        more = ((i == 0) | (free > 0).any(1))[:, None].expand(-1, len(ATOMS))
        kind, none = (j == -1)[:, None], torch.zeros_like(bond)
        return torch.cat((more & kind, torch.where(kind, none, bond), (i > 0)[:, None] & kind), dim=1)

    def advance(self, state: Tree, level: Tensor) -> Tree:
        free, bound, (i, j) = state["free"], state["bound"], self._place(state)
        kind, order = j == -1, (level - len(ATOMS)).clamp(min=0)
        spent = torch.where(kind, -VALENCES[level.clamp(max=len(ATOMS) - 1)], order)
        free = free.scatter_add(1, i[:, None], -spent[:, None])
        free = free.scatter_add(1, j.clamp(min=0)[:, None], -torch.where(kind, 0, order)[:, None])
        return {"free": free, "bound": ~kind & (bound | (order > 0)), "step": state["step"] + 1}

    def _place(self, state: Tree) -> tuple[Tensor, Tensor]:
        i, j = STEPS[state["step"].clamp(max=len(STEPS) - 1)].unbind(1)
        return i, j


class GraphCodec(Codec):
    def __init__(self) -> None:
        super().__init__(TOKENS)

    def fit(self, source: Source) -> None: ...

    def encode(self, batch: Batch, noise: Noise) -> Batch:
        nodes, edges, count = (batch.x[name] for name in ("nodes", "edges", "count"))
        i, j = STEPS.unbind(1)
        length = count * (count + 1) // 2
        tokens = torch.where(j == -1, nodes[:, i], len(ATOMS) + edges[:, i, j]) * TOKENS.within(length)
        return replace(batch, x={"tokens": tokens, "length": length})

    def decode(self, y: Tree, condition: Tree | None) -> Tree:
        tokens, (i, j), kind = y["tokens"], STEPS.unbind(1), STEPS[:, 1] == -1
        edges = tokens.new_zeros(tokens.shape[0], 5, 5)
        edges[:, i[~kind], j[~kind]] = (tokens[:, ~kind] - len(ATOMS)).clamp(min=0)
        count = (TOKENS.within(y["length"]) & kind).sum(1)
        return {"nodes": tokens[:, kind], "edges": edges + edges.mT, "count": count}

    def constraint(self) -> Valences:
        return Valences()


class GraphCodecConfig(CodecConfig):
    kind: Literal["graphs"] = "graphs"

    def build(self, description: Mapping[str, Any]) -> GraphCodec:
        return GraphCodec()


class GraphGeneratorConfig(GeneratorConfig):
    codec: GraphCodecConfig = GraphCodecConfig()


class GraphData(ToyData):
    """The toy's file, whose rows are flattened graphs."""

    def fetch(self, index: Tensor) -> Batch:
        return Batch(spaces.unflatten(GRAPH, self.x[index].long()), None, index + self.first)

    def summary(self) -> Sequence[tuple[str, str]]:
        return [("graphs", str(len(self)))]

    def rows(self, start: int, stop: int) -> GraphData:
        return GraphData(self.x[start:stop], {}, self.first + start, self.origin)


class GraphWriter(ToyWriter):
    def append(self, batch: Batch) -> None:
        super().append(replace(batch, x=spaces.flatten(GRAPH, batch.x).float()))


class GraphSimulatorConfig(SimulatorConfig):
    def build(self) -> GraphSimulator:
        return GraphSimulator()


class GraphSimulator:
    """Every token is one of those allowed, all with the same probability."""

    description: Mapping[str, Any] = {"x": [spaces.size(GRAPH)], "conditions": {}}

    def simulate(self, index: Tensor, seed: int) -> Batch:
        growth, tokens = Growth.begin(Valences(), len(index), end=END), []
        for u in KeyedNoise(seed, index, stream="simulate").uniform("token", (len(STEPS),)).unbind(1):
            allowed = growth.allowed()
            chosen = (u * allowed.sum(1)).floor()[:, None] == allowed.cumsum(1) - 1
            tokens.append(torch.where(growth.going, (chosen & allowed).int().argmax(1), END))
            growth = growth.advance(tokens[-1])
        return Batch(GraphCodec().decode(spaces.unflatten(TOKENS, torch.stack(tokens, 1)), None), None, index)


class Graphs(Toy):
    name = "graphs"
    summary = "connected graphs of at most five atoms"
    generator: type[GeneratorConfig] = GraphGeneratorConfig
    simulator: type[SimulatorConfig] = GraphSimulatorConfig

    def open(self, file: Path, options: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> GraphData:
        data = super().open(file, options, like)
        graphs = GraphData(data.x, {}, origin=data.origin)
        try:
            check_values(GRAPH, graphs.fetch(torch.arange(len(graphs))).x, what=str(file))
        except SpaceError as error:
            raise DataError(str(error)) from None
        return graphs

    def writer(self, file: Path, description: Mapping[str, Any], attributes: Mapping[str, Any], n: int) -> GraphWriter:
        return GraphWriter(file, description, attributes, n)

    def present(self, batch: Batch) -> list[str]:
        """Atoms, then bonds by the numbers of their atoms: "CNO 0=1 1-2"."""
        columns = (batch.x[name].tolist() for name in ("nodes", "edges", "count"))
        texts = []
        for nodes, edges, count in zip(*columns, strict=True):
            pairs = [(j, i) for i in range(count) for j in range(i) if edges[i][j]]
            atoms = "".join(ATOMS[kind] for kind in nodes[:count])
            texts.append(" ".join([atoms, *(f"{j}{BONDS[edges[i][j]]}{i}" for j, i in pairs)]))
        return texts

    def evaluate(
        self, reference: Any, generated: Any, training: Any, *, seed: int, progress: Progress, effort: str = "full"
    ) -> Evaluation:
        a, b = (data.x[:, -1] for data in (reference, generated))
        error = float((a.var() / len(a) + b.var() / len(b)).sqrt())
        shift = float((a.mean() - b.mean()).abs())
        atoms = Estimate(shift, error, 0.0, len(b), "", "lower", "shift of the mean number of atoms")
        return Evaluation({"atoms": atoms}, figures={}, published=(), verdict=f"n = {len(b)}")


GRAPHS = Graphs()
domains.register("graphs")(GRAPHS)
