"""Graphs of several sizes, grown under a constraint and shown as text; the tests of ranks and kills have them, too."""

from pathlib import Path

import h5py
import maquette
import pandas
import pytest
import torch
from graphs import ATOMS, GRAPH, TOKENS, VALENCES, GraphCodec, Valences
from maquette.core.data import Batch
from maquette.core.errors import ConfigError
from maquette.core.inference.constrained import Constrained
from maquette.core.noise import KeyedNoise
from maquette.core.spaces import unflatten
from maquette.core.values import check_values
from maquette.data_specs.errors import DataError
from maquette.domains import domains
from maquette.pipelines.fit import fit
from maquette.pipelines.generate import generate
from maquette.pipelines.mlflow.pyfunc import ServedModel
from maquette.pipelines.validate import validate


def faults(graphs):
    """Which graphs exceed a valence or fall into pieces, found without the constraint."""
    check_values(GRAPH, graphs)
    nodes, edges, count = (graphs[name] for name in ("nodes", "edges", "count"))
    there = torch.arange(5) < count[:, None]
    exceeded = (there & (edges.sum(2) > VALENCES[nodes])).any(1)
    reached = (torch.linalg.matrix_power((edges > 0).long() + torch.eye(5, dtype=torch.int64), 4) > 0)[:, 0]
    return exceeded | (reached != there).any(1)


def read(file):
    with h5py.File(file) as stream:
        return unflatten(GRAPH, torch.from_numpy(stream["x"][:]).long())


def test_data_are_encoded_as_tokens_and_decoded_again(graph_data):
    graphs = read(graph_data)
    assert not faults(graphs).any()
    assert graphs["count"].unique().tolist() == [1, 2, 3, 4, 5]
    codec, batch = GraphCodec(), Batch(graphs, None, torch.arange(400))
    tokens = codec.encode(batch, KeyedNoise(0, batch.index)).x
    check_values(TOKENS, tokens)
    again = codec.decode(tokens, None)
    assert all(torch.equal(again[name], graphs[name]) for name in graphs)


def test_all_that_is_generated_satisfies_the_constraint_and_passes_as_data(grown, graph_data, folder):
    generate(grown, n=300, seed=7, out="x.h5", batch_size=64)
    graphs = read("x.h5")
    assert not faults(graphs).any()
    assert len(graphs["count"].unique()) > 2
    generator = maquette.load(grown).generator
    with torch.no_grad():
        free = generator.family.sample(300, noise=KeyedNoise(0, torch.arange(300)))
        lost = Constrained(generator.family, Valences()).log_prob(free) == -torch.inf
    assert lost.any(), "without the constraint some are wrong"
    judged = validate("graphs", reference=graph_data, generated="x.h5", out="judged", track=False)
    assert judged.evaluation.estimates["atoms"].n == 300


def test_users_see_text(grown):
    model = maquette.load(grown)
    texts = ServedModel(model).predict(pandas.DataFrame(index=range(50)), {"seed": 7})
    assert len(texts) == 50
    for text, nodes, edges in zip(texts, *(model.sample(50, seed=7)[name] for name in ("nodes", "edges")), strict=True):
        atoms, *bonds = text.split()
        assert atoms == "".join(ATOMS[kind] for kind in nodes[: len(atoms)])
        assert len(bonds) == (edges > 0).sum() // 2
        assert all(edges[int(bond[2]), int(bond[0])] == " -=#".index(bond[1]) for bond in bonds)
    empty = torch.zeros(1, 5, 5, dtype=torch.int64)
    chain = {"nodes": torch.tensor([[0, 2, 1, 0, 0]]), "edges": empty, "count": torch.tensor([3])}
    chain["edges"][0, 0, 1] = chain["edges"][0, 1, 0] = 2
    chain["edges"][0, 1, 2] = chain["edges"][0, 2, 1] = 1
    assert domains.get("graphs").present(Batch(chain, None, torch.arange(1))) == ["CON 0=1 1-2"]


@pytest.mark.parametrize("family", ["{kind: made, masks: 2}", "{kind: fvsbn, likelihood: {kind: logistic-mixture}}"])
def test_a_family_that_keeps_no_constraint_is_refused_before_the_fit(family, graph_data, folder):
    with pytest.raises(ConfigError, match=r"expected a model that draws levels|need a categorical"):
        fit("graphs", data=graph_data, out="run", overrides=["tracking=none", f"generator.family={family}"])
    assert not Path("run", "model").exists()


def test_files_of_graphs_that_are_none_are_refused(graph_data, folder):
    broken = Path("broken.h5")
    broken.write_bytes(graph_data.read_bytes())
    with h5py.File(broken, "a") as stream:
        stream["x"][0, -1] = 1  # atoms and bonds beyond the count
        stream["x"][0, :5] = 1
    with pytest.raises(DataError, match=r"broken.h5.nodes: expected zeros beyond the count"):
        fit("graphs", data=broken, out="run", overrides=["tracking=none"])
