"""Storage for torch's distributed checkpoint (DCP): safetensors files, and an index in JSON.

DCP's own file format keeps its index in a pickle, and reading a pickle can run code. Its Hugging Face storage has no
pickles, but it opens every file to find the shards of a tensor, has no place for the counters of a fit, and does not
flush to the disk. So this module implements DCP's two storage interfaces. Every process writes one safetensors file;
the first one also writes `state.json`, with the file of every shard, the SHA-256 of every file, and the counters of the
fit; it ends with a SHA-256 of its own. So a flipped bit is an error and not another model. DCP's planners decide which
process writes what, and what each process must read when their number has changed.

>>> from tempfile import TemporaryDirectory
>>> from warnings import catch_warnings
>>> from torch.distributed.checkpoint import load, save
>>> weight = torch.zeros(2)
>>> with TemporaryDirectory() as name, catch_warnings(action="ignore"):  # torch warns that there is one process
...     folder = Path(name)
...     _ = save({"weight": torch.ones(2)}, storage_writer=Writer(folder, 0, {"step": 7}), no_dist=True)
...     index = read_index(folder)
...     load({"weight": weight}, storage_reader=Reader(folder, index), no_dist=True)
>>> index["step"], weight
(7, tensor([1., 1.]))
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from ..artifact import sync
from ..checksum import file_digest, seal, unseal
from ..dtypes import as_pairs
from ..errors import TrainingError

SCHEMA = 3
INDEX = "state.json"
_LARGEST_INDEX = 256 * 2**20
_FILE = re.compile(r"rank-\d{5}\.safetensors")
_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}


def _key(index: MetadataIndex) -> str:
    return f"{index.fqn}@{','.join(map(str, index.offset or ()))}"


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


class Writer(StorageWriter):
    """Writes one checkpoint into an existing folder.

    Args:
        folder: seen by all processes.
        rank: of this process.
        content: what goes into the index beside the tensors (plain JSON); the first process's counts.
    """

    def __init__(self, folder: Path, rank: int, content: Mapping[str, Any]) -> None:
        self.folder, self.rank, self.content = folder, rank, content

    def reset(self, checkpoint_id: Any = None) -> None:
        pass

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        pass

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        tensors: dict[str, Tensor] = {}
        for item in plan.items:
            tensor = planner.resolve_data(item)
            assert isinstance(tensor, Tensor)
            tensors[_key(item.index)] = as_pairs(tensor.detach().cpu()).contiguous().clone()
        file = self.folder / f"rank-{self.rank:05d}.safetensors"
        save_file(tensors, file)
        sync(file)
        stored = file.name, file_digest(file)
        return _done([WriteResult(item.index, 0, stored) for item in plan.items])

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        stored = {_key(result.index): result.storage_data for part in results for result in part}
        tensors = {
            name: {
                "dtype": str(entry.properties.dtype),
                "size": list(entry.size),
                "chunks": [
                    [list(chunk.offsets), list(chunk.sizes), stored[_key(MetadataIndex(name, chunk.offsets))][0]]
                    for chunk in entry.chunks
                ],
            }
            for name, entry in metadata.state_dict_metadata.items()
            if isinstance(entry, TensorStorageMetadata)
        }
        index = {"schema": SCHEMA, **self.content, "tensors": tensors, "files": dict(stored.values())}
        file = self.folder / INDEX
        file.write_text(json.dumps(seal(index)), encoding="utf-8")
        sync(file)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return isinstance(checkpoint_id, str | Path)


def read_index(folder: Path) -> dict[str, Any]:
    """Read `state.json` of a checkpoint.

    Raises:
        TrainingError: missing, not JSON, of another schema, damaged, or naming files outside the checkpoint.
    """
    file, advice = folder / INDEX, _advice(folder)
    try:
        if file.stat().st_size > _LARGEST_INDEX:
            raise TrainingError(f"{file}: too large for an index; {advice}.")
        index = json.loads(file.read_text(encoding="utf-8"))
        schema = index["schema"]
        names = {*index["files"], *(chunk[2] for entry in index["tensors"].values() for chunk in entry["chunks"])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise TrainingError(f"{file}: not readable as the index of a checkpoint ({error!r}); {advice}.") from None
    if schema != SCHEMA:
        raise TrainingError(f"{file}: expected schema {SCHEMA}, found {schema}; fit again.")
    if strange := [name for name in names if not isinstance(name, str) or not _FILE.fullmatch(name)]:
        raise TrainingError(f"{file}: names a file {strange[0]!r} that no checkpoint has; {advice}.")
    try:
        return unseal(index)
    except ValueError as error:
        raise TrainingError(f"{file}: damaged ({error}); {advice}.") from None


def _advice(folder: Path) -> str:
    return f"remove the folder {folder} to fall back on the checkpoint before it"


class Reader(StorageReader):
    """Reads the tensors of one checkpoint, whatever number of processes wrote it."""

    def __init__(self, folder: Path, index: Mapping[str, Any]) -> None:
        self.folder, self.index = folder, index

    def reset(self, checkpoint_id: Any = None) -> None:
        pass

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        return Metadata(
            {
                name: TensorStorageMetadata(
                    TensorProperties(_DTYPES[entry["dtype"]]),
                    torch.Size(entry["size"]),
                    [ChunkStorageMetadata(torch.Size(at), torch.Size(size)) for at, size, _ in entry["chunks"]],
                )
                for name, entry in self.index["tensors"].items()
            }
        )

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self.files = {
            MetadataIndex(name, at): file
            for name, entry in self.index["tensors"].items()
            for at, _, file in entry["chunks"]
        }

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        by_file: dict[str, list[Any]] = {}
        for item in plan.items:
            by_file.setdefault(self.files[item.storage_index], []).append(item)
        for name, items in by_file.items():
            try:
                if file_digest(self.folder / name) != self.index["files"].get(name):
                    raise TrainingError(
                        f"{self.folder / name}: damaged (its SHA-256 is not that of {INDEX}); {_advice(self.folder)}."
                    )
                with safe_open(self.folder / name, framework="pt") as file:
                    for item in items:
                        saved = file.get_tensor(_key(item.storage_index))
                        if _DTYPES[self.index["tensors"][item.storage_index.fqn]["dtype"]].is_complex:
                            saved = torch.view_as_complex(saved)
                        for axis, (start, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                            saved = saved.narrow(axis, start, length)
                        target = planner.resolve_tensor(item).detach()
                        target.copy_(saved)
                        planner.commit_tensor(item, target)
            except (SafetensorError, OSError) as error:
                raise TrainingError(f"{self.folder / name}: not readable ({error}); {_advice(self.folder)}.") from None
        return _done(None)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return isinstance(checkpoint_id, str | Path)
