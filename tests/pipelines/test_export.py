"""Exported files compute what the Python sampler computes, and say what they are."""

import json
import shutil
import subprocess
from pathlib import Path

import onnx
import pytest
import torch
from maquette.core.data import TensorSource
from maquette.core.errors import ConfigError
from maquette.core.noise import KeyedNoise, TapeNoise
from maquette.core.spaces import Tree
from maquette.domains.calorimeter.codec.flips import LARGEST_FLIPPED
from maquette.domains.calorimeter.dataset import ShowerDataset
from maquette.domains.calorimeter.generator import ShowerGeneratorConfig
from maquette.domains.calorimeter.sample import sample_path
from maquette.domains.disagreement import LARGEST_DIFFERENCE
from maquette.pipelines import export as verb
from maquette.pipelines.export import Exported, export
from maquette.pipelines.exporting import formats
from maquette.pipelines.exporting.trace import ExportError, draw_example, signature_of, trace
from maquette.pipelines.load import load
from torch import Tensor

SPLINE = {"kind": "spline", "scheme": "coupling", "transforms": 2, "hidden": [16], "bins": 4}
AFFINE = {"kind": "coupling", "transforms": 2, "hidden": [16]}
AUTOREGRESSIVE = {"kind": "autoregressive-flow", "transforms": 1, "hidden": [16]}
PATCHES = {"layer_0": [3, 12], "layer_1": [6, 6], "layer_2": [6, 6]}
TRANSFORMER = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2, "patch": PATCHES}
MATCHING = {"kind": "flow-matching", "network": TRANSFORMER, "sampler": {"method": "euler", "steps": 2}}
STREAMS = {"kind": "streams", "channels": 2, "depth": 1, "width": 8}
CRITIC = {"kind": "residual", "width": 8, "depth": 1}
GAN = {"kind": "gan", "generator": STREAMS, "critic": CRITIC, "spectral_norm": True}
SMALL = {"kind": "gan", "generator": CRITIC, "critic": CRITIC}  # of a small graph, before a larger one
CHAINS = {
    "spline, gan": (SPLINE, GAN),
    "autoregressive, distilled": (AUTOREGRESSIVE, {"kind": "distilled", "teacher": MATCHING}),
    "gan, affine": (SMALL, AFFINE),
}
PACKAGED = "gan, affine"


def artefact(chain: str, folder: Path) -> Path:
    """A generator of the package's showers whose weights are random instead of fitted."""
    data = ShowerDataset(sample_path()).rows(0, 500)
    first, second = CHAINS[chain]
    family = {"kind": "chain", "split": ["layers"], "names": ["layers", "voxels"], "first": first, "second": second}
    torch.manual_seed(1)
    generator = ShowerGeneratorConfig.model_validate({"family": family}).build(data.description, data)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    generator.save(folder, domain="calorimeter", config_hash="c0ffee")
    return folder


class Case:
    """An artefact and the file it was exported to."""

    def __init__(self, chain: str, format: str, folder: Path) -> None:
        self.model = load(artefact(chain, folder / "model"))
        file = folder / f"showers{formats.FORMATS[format].suffix}"
        self.exported = export(folder / "model", format=format, out=file)
        self.compute = formats.FORMATS[format].open(file)

    def sample(self, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """(incident energies, showers of the Python sampler, showers of the file)."""
        drawn = draw_example(self.model.generator, n, seed=seed)
        assert isinstance(drawn.condition, dict)
        assert isinstance(drawn.x, Tensor)
        return drawn.condition["energy"], drawn.x, self.compute(drawn.inputs)[0]


@pytest.fixture(scope="module", params=[chain for chain in CHAINS if chain != PACKAGED])
def onnx_case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(request.param, "onnx", tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """An AOTInductor package, a quarter of a minute of compilation."""
    try:
        formats.FORMATS["libtorch"].require()
    except ExportError as error:
        pytest.skip(str(error))
    return Case(PACKAGED, "libtorch", tmp_path_factory.mktemp("libtorch"))


def agrees(case: Case) -> None:
    """Check a file on batches of other sizes than it was made and verified with."""
    layers = case.model.generator.codec.padding
    flipped, numbers = 0, 0
    for n, seed in ((1, 11), (700, 12)):
        energy, expected, found = case.sample(n, seed)
        assert found.shape == expected.shape == (n, 504)
        assert 0.05 < (expected > 0).float().mean() < 0.95
        flips = (expected > 0) != (found > 0)
        flipped, numbers = flipped + int(flips.sum()), numbers + flips.numel()
        # before thresholding: the energies of layers whichever voxels are hit, and those of voxels where the same are
        sums = (layers.split(found).sum(2) - layers.split(expected).sum(2)).abs()
        assert (sums <= LARGEST_DIFFERENCE * energy).all()
        # with random weights the largest hit of a layer may lie where its voxel's table is steep: as rare as a flip
        strayed = ((found - expected).abs() > LARGEST_DIFFERENCE * energy) & ~flips.any(1, keepdim=True)
        assert ((found - expected).abs() <= 10 * LARGEST_DIFFERENCE * energy)[strayed].all()
        flipped += int(strayed.sum())
    assert flipped <= max(2, LARGEST_FLIPPED * numbers)  # one swap of two voxels proves nothing


def test_onnx_computes_what_the_sampler_does(onnx_case: Case) -> None:
    agrees(onnx_case)


def test_libtorch_computes_what_the_sampler_does(package: Case) -> None:
    agrees(package)


def test_an_onnx_file_tells_its_inputs(onnx_case: Case) -> None:
    model = onnx.load(onnx_case.exported.file)
    onnx.checker.check_model(model)
    graph = {node.name: node for node in (*model.graph.input, *model.graph.output)}
    sidecar = json.loads(onnx_case.exported.sidecar.read_text())
    assert list(graph) == [port["name"] for port in (*sidecar["inputs"], *sidecar["outputs"])]
    for port in (*sidecar["inputs"], *sidecar["outputs"]):
        sides = graph[port["name"]].type.tensor_type.shape.dim
        assert [side.dim_param or side.dim_value for side in sides] == port["shape"]


def check_sidecar(case: Case) -> None:
    sidecar = json.loads(case.exported.sidecar.read_text())
    energy, *noise = sidecar["inputs"]
    assert energy["name"] == "energy"
    assert energy["unit"] == "MeV"
    assert energy["seen"][0] == pytest.approx([1000, 10_000], rel=0.02)
    assert {port["name"]: (port["distribution"], port["shape"]) for port in noise} == {
        "family/layers/prior": ("normal", ["batch", 6]),
        "family/voxels/prior": ("normal", ["batch", 504]),
    }
    assert sidecar["outputs"] == [
        {"name": "showers", "role": "sample", "dtype": "float32", "shape": ["batch", 504], "unit": "MeV"}
    ]
    assert sidecar["description"] == case.model.generator.description
    assert sidecar["weights_sha256"] == case.model.digest
    assert sidecar["config_hash"] == "c0ffee"
    assert sidecar["versions"]["torch"] == torch.__version__
    assert sidecar["verified"]["largest_difference"] <= LARGEST_DIFFERENCE


def test_the_sidecar_of_onnx(onnx_case: Case) -> None:
    check_sidecar(onnx_case)


def test_the_sidecar_of_a_package(package: Case) -> None:
    check_sidecar(package)


def test_keyed_noise_gives_the_samples_of_the_same_seed(onnx_case: Case) -> None:
    """The names in the sidecar are those of the Python noise."""
    model = onnx_case.model
    energy = torch.full((5, 1), 4000.0)
    noise = KeyedNoise(7, torch.arange(5), stream="generate")
    tape = [noise.fold("family").fold(part).normal("prior", (n,)) for part, n in (("layers", 6), ("voxels", 504))]
    expected = model.sample(5, {"energy": energy}, seed=7)
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(onnx_case.compute([energy, *tape])[0], expected, rtol=0, atol=4000 * LARGEST_DIFFERENCE)


def test_a_program_in_cpp_loads_a_package(package: Case, tmp_path: Path) -> None:
    """The example of docs/export.md, compiled against the LibTorch inside the torch package."""
    torch_folder = Path(torch.__file__).parent
    if not (torch_folder / "include" / "ATen" / "ATen.h").is_file():
        pytest.skip("this torch came without its C++ headers")
    libraries = torch_folder / "lib"
    options = [f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}"]
    options += [f"-I{torch_folder / 'include'}", f"-I{torch_folder / 'include/torch/csrc/api/include'}"]
    options += [f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-ltorch", "-ltorch_cpu", "-lc10"]
    printed = run_example("libtorch.cpp", options, package, tmp_path)
    # the generators of C++ and Python are the same
    torch.manual_seed(7)
    for n, mean in zip((1, 100), printed.split(), strict=True):
        tape = TapeNoise({"family/layers/prior": torch.randn(n, 6), "family/voxels/prior": torch.randn(n, 504)})
        expected = package.model.generator.sample(n, {"energy": torch.full((n, 1), 5000.0)}, noise=tape)
        assert isinstance(expected, Tensor)
        assert float(mean) == pytest.approx(expected.sum(1).mean().item(), rel=1e-4)


def test_a_program_in_cpp_loads_an_onnx_file(tmp_path: Path) -> None:
    """The other example, where the compiler finds onnxruntime's headers and library (CPATH, LIBRARY_PATH)."""
    probe = subprocess.run(
        [compiler(), "-xc++", "-std=c++20", "-E", "-"],
        input=b"#include <onnxruntime_cxx_api.h>",
        capture_output=True,
        timeout=60,
    )
    if probe.returncode != 0:
        pytest.skip("the compiler does not find onnxruntime_cxx_api.h; set CPATH and LIBRARY_PATH to onnxruntime's")
    case = Case("spline, gan", "onnx", tmp_path)
    mean = float(run_example("onnx.cpp", ["-lonnxruntime"], case, tmp_path))
    # other random numbers than Python's: the means of a hundred showers agree within their errors
    expected = case.model.sample(1000, {"energy": torch.full((1000, 1), 5000.0)}, seed=1)
    assert isinstance(expected, Tensor)
    totals = expected.sum(1)
    assert abs(mean - totals.mean().item()) < 6 * totals.std().item() / 10


def run_example(name: str, options: list[str], case: Case, folder: Path) -> str:
    """What the example of that name in docs/export.md prints when it is given the exported file."""
    page = (Path(verb.__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
    (folder / name).write_text(page.split(f"```cpp\n// {name}")[1].split("```")[0])
    build = [compiler(), "-std=c++20", "-O0", name, "-o", "example", *options]
    subprocess.run(build, cwd=folder, check=True, timeout=200)
    run = subprocess.run(
        ["./example", case.exported.file], cwd=folder, check=True, capture_output=True, text=True, timeout=60
    )
    return run.stdout


def compiler() -> str:
    found = shutil.which("g++") or shutil.which("clang++")
    if found is None:
        pytest.skip("no C++ compiler here (g++ or clang++)")
    return found


def test_particles_are_inputs_as_well() -> None:
    """Refusing unknown ones depends on data, which a graph cannot."""
    data = ShowerDataset(sample_path()).rows(0, 200).fetch(torch.arange(200))
    assert isinstance(data.condition, dict)
    particle = torch.where(torch.arange(200)[:, None] % 2 == 0, 11, 22)
    source = TensorSource(data.x, {**data.condition, "particle": particle})
    described = ShowerDataset(sample_path()).description
    description = {**described, "conditions": {**described["conditions"], "particle": 1}}
    family = {"kind": "chain", "split": ["layers"], "first": SPLINE, "second": AFFINE}
    generator = ShowerGeneratorConfig.model_validate({"family": family}).build(description, source).eval()
    drawn = draw_example(generator, 20, seed=1)
    names = signature_of(generator, drawn)
    assert [port.dtype for port in names.inputs] == ["float32", "int64", "float32", "float32"]
    graph = trace(generator.requires_grad_(False), names).module()
    assert isinstance(drawn.x, Tensor)
    torch.testing.assert_close(graph(*drawn.inputs)[0], drawn.x, rtol=0, atol=1e-2)


# --- what goes wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "out", "message"),
    [
        ("onix", "x.onnx", 'expected onnx or libtorch, found "onix". Did you mean "onnx"'),
        ("onnx", "x.pt2", "ends with .onnx, found x.pt2"),
        ("libtorch", "x.pt", "ends with .pt2"),
    ],
)
def test_words_that_fit_nothing(fitted: Path, folder: Path, format: str, out: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        export(fitted, format=format, out=out)


def test_a_missing_package_is_answered_with_the_line_that_installs_it(
    fitted: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(ExportError, match=r'needs onnxruntime: .* -m pip install "onnx>=1\.17" .*"onnxruntime>='):
        export(fitted, format="onnx", out="x.onnx")


@pytest.mark.parametrize(("format", "out"), [("onnx", "file/x.onnx"), ("libtorch", "file/x.pt2")])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(fitted, maquette, folder, monkeypatch, format, out):
    (folder / "file").touch()
    monkeypatch.setattr(verb, "trace", lambda *_: pytest.fail("worked first"))
    result = maquette("export", fitted, "--format", format, "--out", out)
    assert result.exit_code == 1
    assert "maquette: file: File exists." in result.stderr or "maquette: file: Not a directory." in result.stderr


def test_a_disk_that_fills_up_is_not_the_generators_fault(fitted, maquette, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "x.onnx")

    monkeypatch.setattr(formats.Onnx, "write", full)
    result = maquette("export", fitted, "--format", "onnx", "--out", "x.onnx")
    assert result.exit_code == 1
    assert "maquette: x.onnx: No space left on device." in result.stderr


def test_a_missing_compiler_is_named(fitted: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    with pytest.raises(ExportError, match="install g\\+\\+ or clang\\+\\+"):
        export(fitted, format="libtorch", out="x.pt2")


def test_a_file_that_disagrees_is_not_left_behind(
    fitted: Path, folder: Path, maquette, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = formats.Onnx.open

    def crooked(self: formats.Onnx, file: Path) -> formats.Compute:
        compute = open_(self, file)
        return lambda inputs: [1.001 * output for output in compute(inputs)]

    monkeypatch.setattr(formats.Onnx, "open", crooked)
    (folder / "points.onnx").write_text("an older file")
    result = maquette("export", fitted, "--format", "onnx", "--out", "points.onnx")
    assert result.exit_code == 1
    assert "would not repeat the Python sampler" in result.stderr
    assert sorted(path.name for path in folder.glob("*")) == ["points.onnx"]
    assert (folder / "points.onnx").read_text() == "an older file"


def test_a_sampler_that_chooses_its_steps_is_refused(fitted: Path, folder: Path, monkeypatch) -> None:
    def adaptive(self, n: int, condition: Tree | None = None, *, noise) -> Tree:
        x = noise.normal("x", (2,))
        while x.abs().max() > 1:
            x = x / 2
        return x

    monkeypatch.setattr("toy.Line.sample", adaptive)
    with pytest.raises(ExportError, match="no fixed sequence of operations"):
        export(fitted, format="onnx", out="x.onnx")
    assert list(folder.iterdir()) == []


def test_the_verb(fitted: Path, folder: Path, maquette) -> None:
    """On the toy domain, which knows nothing of showers."""
    result = maquette("export", fitted, "--format", "onnx", "--out", "points.onnx")
    assert result.exit_code == 0, result.stderr
    assert "file: points.onnx, described in points.onnx.json" in result.stdout
    assert "verified on 4,096 samples against the Python sampler: largest difference" in result.stdout
    sidecar = json.loads((folder / "points.onnx.json").read_text())
    assert [port["name"] for port in sidecar["inputs"]] == ["angle", "family/x"]
    assert sidecar["outputs"][0]["name"] == "samples"


def test_python_gets_what_the_command_prints(package: Case) -> None:
    assert isinstance(package.exported, Exported)
    assert package.exported.agreement.samples == 1961
    assert str(package.exported.agreement).startswith("verified on 1,961 samples")
