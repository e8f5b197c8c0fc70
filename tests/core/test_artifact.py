"""An artefact is whole or absent; a file that is not one is refused before it is read."""

import hashlib
import json
import os
import pickle
import stat
import struct

import pytest
import torch
from maquette.core import artifact
from maquette.core.checksum import seal, unseal
from maquette.core.errors import ArtifactError

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "order": torch.tensor([1, 0])}


@pytest.fixture
def folder(tmp_path):
    artifact.save(tmp_path / "model", {"family": {"kind": "x"}}, TENSORS)
    return tmp_path / "model"


def test_what_is_saved_is_loaded(folder):
    config, tensors = artifact.load(folder)
    assert config == {"family": {"kind": "x"}}
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {k: v.tolist() for k, v in TENSORS.items()}


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_tensors_keep_their_precision(tmp_path, dtype):
    """safetensors has no complex128, which is what a fit in float64 leaves."""
    phase = torch.tensor([[1 + 2j, 3e-17 - 1j]], dtype=dtype)
    tensors = {"phase": phase, "turned": phase.conj(), "nothing": torch.zeros(0, 3, dtype=dtype), **TENSORS}
    artifact.save(tmp_path / "model", {"n": 1}, tensors)
    config, found = artifact.load(tmp_path / "model")
    assert config == {"n": 1}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("weight", "should be a list of names"),
        (["phase"], "names phase, expected .* found none of that name"),
        (["weight"], r"found torch\.float32 of shape \(2, 3\)"),
        (["order"], r"found torch\.int64 of shape \(2,\)"),
    ],
)
def test_complex_tensors_that_cannot_be_are_refused(folder, names, sentence):
    content = unseal(json.loads((folder / artifact.CONFIG).read_text())) | {artifact.COMPLEX: names}
    (folder / artifact.CONFIG).write_text(json.dumps(seal(content)))
    with pytest.raises(ArtifactError, match=sentence):
        artifact.load(folder)


def test_saving_again_replaces_and_leaves_nothing_behind(folder):
    artifact.save(folder, {"n": 2}, {"weight": torch.zeros(1)})
    assert artifact.load(folder)[0] == {"n": 2}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_failed_save_keeps_the_previous_one(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        artifact.save(folder, {"n": 2}, TENSORS)
    assert artifact.load(folder)[0] == {"family": {"kind": "x"}}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize("write", [lambda bomb, file: file.write_bytes(pickle.dumps(bomb)), torch.save])
def test_a_pickle_is_refused_unread(folder, write):
    write(Bomb(), folder / artifact.WEIGHTS)
    with pytest.raises(ArtifactError, match="is a pickle"):
        artifact.load(folder)


@pytest.mark.parametrize("kept", [0, 5, 40, -3])
def test_truncated_weights_are_refused(folder, kept):
    weights = folder / artifact.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ArtifactError, match="copy it again"):
        artifact.load(folder)


@pytest.mark.parametrize("byte", range(0, 60, 4))
def test_a_flipped_bit_in_the_header_is_refused(folder, byte):
    """Either the file cannot be read, or it no longer holds the tensors of the model."""
    weights = folder / artifact.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[byte] ^= 0x04
    weights.write_bytes(content)
    module = torch.nn.Module()
    for name, tensor in TENSORS.items():
        module.register_buffer(name, torch.zeros_like(tensor))
    with pytest.raises(ArtifactError):
        artifact.restore(module, artifact.load(folder)[1], what="model")


def test_a_flipped_bit_in_a_weight_is_refused(folder):
    weights = folder / artifact.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-5] ^= 0x01
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors: damaged, or not the weights of this model"):
        artifact.load(folder)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda content: content["family"].update(kind="y"), r"config\.json: edited or damaged"),
        (lambda content: content.update(weights_sha256="0" * 64), r"config\.json: edited or damaged"),
        (lambda content: content.pop("weights_sha256"), r"config\.json: edited or damaged"),
        (lambda content: content.pop("sha256"), "no checksum of its own"),
        (lambda content: content.update(sha256=None), "no checksum of its own"),
    ],
)
def test_an_edited_config_is_refused(folder, edit, sentence):
    content = json.loads((folder / artifact.CONFIG).read_text())
    edit(content)
    (folder / artifact.CONFIG).write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=sentence):
        artifact.load(folder)


@pytest.mark.parametrize("digest", [{}, {"weights_sha256": None}, {"weights_sha256": 7}])
def test_a_sealed_config_must_name_its_weights(folder, digest):
    (folder / artifact.CONFIG).write_text(json.dumps(seal({"schema": artifact.SCHEMA, **digest})))
    with pytest.raises(ArtifactError, match="expected the SHA-256 of the weights"):
        artifact.load(folder)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        artifact.save(tmp_path / "model", {}, TENSORS)
    finally:
        os.umask(before)
    for name in (artifact.CONFIG, artifact.WEIGHTS):
        assert stat.S_IMODE((tmp_path / "model" / name).stat().st_mode) == mode


def test_a_header_that_claims_to_be_huge_is_refused(folder):
    weights = folder / artifact.WEIGHTS
    weights.write_bytes(struct.pack("<Q", 2**40) + weights.read_bytes()[8:])
    with pytest.raises(ArtifactError, match="not a whole safetensors file"):
        artifact.load(folder)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "not readable as JSON"),
        ("[1]", "expected schema 3, found list"),
        ('{"schema": 1}', "expected schema 3, found 1"),
        ("{}", "expected schema 3, found None"),
        ("[" * 200_000, "not readable as JSON"),
        ('{"schema": ' + "1" * 10_000 + "}", "not readable as JSON"),
    ],
)
def test_a_wrong_config_is_refused(folder, content, sentence):
    (folder / artifact.CONFIG).write_text(content)
    with pytest.raises(ArtifactError, match=sentence):
        artifact.load(folder)


def test_an_oversized_config_is_refused_unread(folder, monkeypatch):
    monkeypatch.setattr(artifact, "_LARGEST_CONFIG", 10)
    with pytest.raises(ArtifactError, match="too large for a config"):
        artifact.load(folder)


@pytest.mark.parametrize("name", [artifact.CONFIG, artifact.WEIGHTS])
def test_a_folder_that_is_no_artefact_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"found no {name}"):
        artifact.load(folder)


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"weight": torch.zeros(2, 3)}, r"missing \['bias'\]"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "evil": torch.zeros(1)}, r"foreign \['evil'\]"),
        ({"weight": torch.zeros(3, 3), "bias": torch.zeros(2)}, r"weight has shape \(3, 3\), expected \(2, 3\)"),
        (
            {"weight": torch.zeros(2, 3) * 1j, "bias": torch.zeros(2)},
            r"weight is torch\.complex64, expected torch\.float32",
        ),
    ],
)
def test_weights_of_another_model_are_refused(tensors, sentence):
    layer = torch.nn.Linear(3, 2)
    before = layer.weight.clone()
    with pytest.raises(ArtifactError, match=sentence):
        artifact.restore(layer, tensors, what="model")
    assert torch.equal(layer.weight, before)


def test_the_config_on_disk_is_plain_json_in_the_order_it_was_given(tmp_path):
    config = {"parts": {"energy": 1, "angle": 2, "a": 0}, "family": {"kind": "x"}}
    artifact.save(tmp_path / "model", config, TENSORS)
    text = (tmp_path / "model" / artifact.CONFIG).read_text()
    digest = hashlib.sha256((tmp_path / "model" / artifact.WEIGHTS).read_bytes()).hexdigest()
    assert text == json.dumps(seal({"schema": 3, **config, "weights_sha256": digest}), indent=2) + "\n"
    assert list(artifact.load(tmp_path / "model")[0]["parts"]) == ["energy", "angle", "a"]
