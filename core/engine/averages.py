"""The averaged weights of a fit: those of the current stage, and those that are kept aside until its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from .ema import ExponentialMovingAverage
from .plan import AverageConfig


class Averages:
    """Running averages by player; what becomes of them is the player's, see `objective.Player.average`.

    Args:
        names: of parameters in a checkpoint.

    >>> import torch
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> averages = Averages({"weight": layer.weight})
    >>> averages.begin([(list(layer.parameters()), AverageConfig(decay=0.5, use="aside"))])
    >>> start = layer.weight.item()
    >>> _ = nn.init.constant_(layer.weight, start + 1)
    >>> averages.update(count=0)  # 1 / 10 of the old weight, 9 / 10 of the new one
    >>> averages.end()
    >>> round(layer.weight.item() - start, 3), list(averages.aside)  # the stage has ended, and not the fit
    (1.0, ['weight'])
    >>> averages.finish()
    >>> round(layer.weight.item() - start, 3)
    0.9
    """

    def __init__(self, names: Mapping[str, Tensor]) -> None:
        self.parameters = {name: tensor for name, tensor in names.items() if isinstance(tensor, nn.Parameter)}
        self._names = {id(parameter): name for name, parameter in self.parameters.items()}
        self.aside: dict[str, Tensor] = {}
        self._current: list[tuple[ExponentialMovingAverage, bool]] = []

    def begin(self, players: Sequence[tuple[Sequence[nn.Parameter], AverageConfig]]) -> None:
        """Begin averaging the parameters that each player of a stage trains; what was kept of them is dropped."""
        self._current = []
        for parameters, options in players:
            for parameter in parameters:
                self.aside.pop(self._names[id(parameter)], None)
            if options.decay and parameters:
                self._current.append((ExponentialMovingAverage(parameters, options.decay), options.use == "aside"))

    def update(self, count: int) -> None:
        """Update the averages of the stage; `count` is the number of updates before this one."""
        for average, _ in self._current:
            average.update(count)

    def end(self) -> None:
        """The stage ends: adopt its averages, or keep them aside."""
        for average, aside in self._current:
            if aside:
                self.aside |= {
                    self._names[id(parameter)]: tensor
                    for parameter, tensor in zip(average.parameters, average.tensors, strict=True)
                }
            else:
                average.adopt()
        self._current = []

    def finish(self) -> None:
        """The fit ends: adopt what was kept aside."""
        self._kept().adopt()
        self.aside = {}

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Use all averages as weights inside the context, and restore the weights afterwards."""
        with ExitStack() as stack:
            for average in (self._kept(), *(average for average, _ in self._current)):
                stack.enter_context(average.swapped())
            yield

    def tensors(self) -> dict[str, Tensor]:
        """The averages of the current stage by their names in a checkpoint."""
        return {
            f"ema/{self._names[id(parameter)]}": tensor
            for average, _ in self._current
            for parameter, tensor in zip(average.parameters, average.tensors, strict=True)
        }

    def kept(self) -> dict[str, Tensor]:
        """What is kept aside, by names in a checkpoint."""
        return {f"aside/{name}": tensor for name, tensor in self.aside.items()}

    def restore(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Make room for what a checkpoint kept aside of these parameters; returns the tensors to be read into."""
        self.aside = {name: self.parameters[name].detach().clone() for name in names}
        return self.kept()

    def _kept(self) -> ExponentialMovingAverage:
        average = ExponentialMovingAverage([self.parameters[name] for name in self.aside], 0.0)
        average.tensors = list(self.aside.values())
        return average
