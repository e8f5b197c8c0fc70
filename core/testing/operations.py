"""Counts operations on tensors. On a GPU each is a kernel, unless it only looks at memory in another way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class OperationCount(TorchDispatchMode):
    """Counts the operations that torch dispatches while it is active; views are not counted.

    Attributes:
        counts: how often each operation ran, by name.

    >>> import torch
    >>> with OperationCount() as count:
    ...     _ = torch.ones(3)[1:].view(2, 1) + 1
    >>> count.counts
    Counter({'aten.ones': 1, 'aten.add': 1})
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._pauses = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        aliases = any(argument.alias_info and not argument.alias_info.is_write for argument in func._schema.arguments)
        if not self._pauses and not aliases and func.namespace == "aten":
            self.counts[f"aten.{func.overloadpacket.__name__}"] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """All operations so far."""
        return self.counts.total()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing inside the context."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1

    @contextmanager
    def without(self, networks: Sequence[nn.Module]) -> Iterator[None]:
        """Count nothing inside these networks and in backward passes.

        >>> import torch
        >>> network = nn.Linear(2, 2)
        >>> count = OperationCount()
        >>> with count.without([network]), count:
        ...     network(torch.zeros(1, 2)).sum().backward()
        >>> sorted(count.counts)
        ['aten.sum', 'aten.zeros']
        """

        def enter(*_: Any) -> None:
            self._pauses += 1

        def leave(*_: Any) -> None:
            self._pauses -= 1

        with ExitStack() as stack:
            for network in networks:
                stack.callback(network.register_forward_pre_hook(enter).remove)
                stack.callback(network.register_forward_hook(leave).remove)
            original: Callable[..., None] = Tensor.backward

            def backward(*given: Any, **options: Any) -> None:
                with self.paused():
                    original(*given, **options)

            Tensor.backward = backward  # type: ignore[method-assign]
            try:
                yield
            finally:
                Tensor.backward = original  # type: ignore[method-assign]
