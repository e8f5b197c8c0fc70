"""Which device a verb runs on."""

from __future__ import annotations

import os
import re

import torch

from ..core.errors import ConfigError

_NAME = re.compile(r"cpu|cuda(:(0|[1-9]\d{0,2}))?")


def resolve_device(name: str) -> torch.device:
    """The device that `--device` names; `auto` is the GPU if there is one. Each rank takes its own GPU.

    Raises:
        ConfigError: not a device, or not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not _NAME.fullmatch(name):  # PyTorch knows more, such as "meta", on which nothing can be computed
        raise ConfigError(f'"{name}" is not a device; expected auto, cpu, cuda or cuda:NUMBER.')
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index
        if number >= count:
            raise ConfigError(f"{device}: PyTorch sees {count} GPUs here; choose --device cpu or auto.")
        device = torch.device("cuda", number)
    return device
