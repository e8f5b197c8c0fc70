"""The space of graphs: nodes and undirected edges with types, padded to the largest number of nodes."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field as Described
from torch import Tensor

from .part import Part, Tree


class Graph(Part):
    """A graph of at most `max_nodes` nodes; nodes and undirected edges have types.

    A value is `{"nodes": (B, N), "edges": (B, N, N), "count": (B,)}`: the type of each node; the type of the edge
    between two nodes plus one, zero where there is none; and how many nodes there are, from 0 on. Edges are symmetric
    with a zero diagonal. What lies beyond the count is zero. Flattened, a graph is its nodes, the edges above the
    diagonal, and the count. Lists of edges (`edge_index` of torch-geometric) are for a domain to make.

    >>> from maquette.core.spaces import flatten, size
    >>> graph = Graph(node_types=4, edge_types=3, max_nodes=3)
    >>> graph.shapes, size(graph)
    ({'nodes': (3,), 'edges': (3, 3), 'count': ()}, 7)
    >>> bond = torch.tensor([[[0, 2, 0], [2, 0, 0], [0, 0, 0]]])
    >>> flatten(graph, {"nodes": torch.tensor([[1, 3, 0]]), "edges": bond, "count": torch.tensor([2])}).tolist()
    [[1, 3, 0, 2, 0, 0, 2]]
    """

    kind: Literal["graph"] = "graph"
    node_types: int = Described(ge=1)
    edge_types: int = Described(ge=1)
    max_nodes: int = Described(ge=1)

    @property
    def shape(self) -> tuple[int, ...]:
        n = self.max_nodes
        return (n + n * (n - 1) // 2 + 1,)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"nodes": (self.max_nodes,), "edges": (self.max_nodes, self.max_nodes), "count": ()}

    def flatten(self, value: Tree) -> Tensor:
        assert not isinstance(value, Tensor)
        edges = value["edges"][:, *torch.triu_indices(self.max_nodes, self.max_nodes, 1)]
        return torch.cat((value["nodes"], edges, value["count"][:, None]), dim=1)

    def unflatten(self, flat: Tensor) -> Tree:
        n = self.max_nodes
        nodes, above, count = flat.split((n, n * (n - 1) // 2, 1), dim=1)
        edges = flat.new_zeros(flat.shape[0], n, n)
        edges[:, *torch.triu_indices(n, n, 1)] = above
        return {"nodes": nodes, "edges": edges + edges.mT, "count": count[:, 0].long()}
