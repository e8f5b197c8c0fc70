"""The files that C++ frameworks read: ONNX for onnxruntime, and AOTInductor packages for LibTorch.

TorchScript, which LibTorch read for years, is deprecated in favour of `torch.export`; its graphs are compiled ahead of
time to a shared library inside a `.pt2` package, which `torch::inductor::AOTIModelPackageLoader` loads without Python.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ..console.extras import EXTRAS, install_line
from .trace import ExportError, Signature, first_line

Compute = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""A loaded file as a function of its inputs, in the order of the signature."""


class Format(Protocol):
    """A file format."""

    suffix: str

    def require(self) -> None:
        """Raise `ExportError` unless what the format needs is installed."""
        ...

    def write(self, program: ExportedProgram, signature: Signature, file: Path) -> None: ...

    def open(self, file: Path) -> Compute: ...

    def details(self) -> Mapping[str, Any]:
        """Versions, and what the machine that reads the file needs."""
        ...


class Onnx:
    """An ONNX model, weights inside.

    >>> Onnx().suffix, Onnx().opset
    ('.onnx', 20)
    """

    suffix = ".onnx"
    opset = 20

    def require(self) -> None:
        missing = [module for module in EXTRAS["export"] if find_spec(module) is None]
        if missing:
            raise ExportError(f"--format onnx needs {', '.join(missing)}: {install_line('export')}")

    def write(self, program: ExportedProgram, signature: Signature, file: Path) -> None:
        with _quiet():
            model = torch.onnx.export(
                program,
                (),
                input_names=[port.name for port in signature.inputs],
                output_names=[port.name for port in signature.outputs],
                opset_version=self.opset,
                dynamo=True,
                verbose=False,
            )
        assert model is not None
        for value in (*model.model.graph.inputs, *model.model.graph.outputs):
            assert value.shape is not None
            value.shape[0] = "batch"
        model.save(file)

    def open(self, file: Path) -> Compute:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_inputs()]

        def compute(inputs: Sequence[Tensor]) -> list[Tensor]:
            feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
            return [torch.from_numpy(array) for array in session.run(None, feed)]

        return compute

    def details(self) -> Mapping[str, Any]:
        return {"opset": self.opset, "versions": {name: version(name) for name in ("torch", *EXTRAS["export"])}}


class LibTorch:
    """An AOTInductor package for the CPU.

    >>> LibTorch().suffix, isinstance(FORMATS["libtorch"], LibTorch)
    ('.pt2', True)
    """

    suffix = ".pt2"

    def require(self) -> None:
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
        except InvalidCxxCompiler:
            raise ExportError(
                "--format libtorch compiles the generator and needs a C++ compiler, but finds none: install g++ or "
                "clang++, or name one in the environment variable CXX; --format onnx needs none."
            ) from None

    def write(self, program: ExportedProgram, signature: Signature, file: Path) -> None:
        # otherwise this machine's number of threads would be compiled in
        options = {"cpp.dynamic_threads": True}
        with _quiet():
            torch._inductor.aoti_compile_and_package(program, package_path=str(file), inductor_configs=options)

    def open(self, file: Path) -> Compute:
        return _as_compute(torch._inductor.aoti_load_package(str(file)))

    def details(self) -> Mapping[str, Any]:
        from torch._inductor.cpu_vec_isa import pick_vec_isa

        return {"instructions": str(pick_vec_isa()), "versions": {"torch": torch.__version__}}


FORMATS: dict[str, Format] = {"onnx": Onnx(), "libtorch": LibTorch()}


def write(kind: str, program: ExportedProgram, signature: Signature, file: Path) -> None:
    """Convert a graph; raises `ExportError` if the format cannot hold it, `OSError` if the disk cannot."""
    try:
        FORMATS[kind].write(program, signature, file)
    except OSError:
        raise
    except Exception as error:  # converters and compilers raise all sorts of errors
        raise ExportError(f"--format {kind} cannot hold this generator ({first_line(error)}).") from error


def _as_compute(call: Callable[..., Any]) -> Compute:
    return lambda inputs: list(call(*inputs))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the converters' loggers and warnings."""
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in noisy]
    try:
        for logger in noisy:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
