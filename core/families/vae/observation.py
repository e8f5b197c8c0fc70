"""The samples' side of an autoencoder: numbers as an encoder sees them, and as a decoder speaks about them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ...layout import Layout, cast_like
from ...likelihoods import SUPPORTS, Likelihood, LikelihoodConfig, at_least_float32, likelihood_of
from ...noise import Noise
from ...spaces import Space, Tree


@dataclass(frozen=True)
class ObservationModel:
    """Samples of D numbers, each with a law of its own given P parameters from a decoder.

    Attributes:
        layout: how samples and conditions become rows.
        law: of each number.
    """

    layout: Layout
    law: Likelihood

    @classmethod
    def of(cls, space: Space, condition: Space | None, config: LikelihoodConfig | None) -> ObservationModel:
        """Samples of a space under the law that a config names; raises `ConfigError`."""
        layout = Layout(space, condition, SUPPORTS)
        return cls(layout, likelihood_of(layout.support, config))

    def embed(self, rows: Tensor, network: nn.Module) -> Tensor:
        """Rows (B, D) as an encoder sees them, (B, D, K), in the dtype of a network's weights."""
        return self.law.embed(rows, cast_like(rows, network))

    def inputs(self, x: Tree, network: nn.Module) -> Tensor:
        """Samples as an encoder sees them, (B, D, K); raises `SpaceError`."""
        return self.embed(self.layout.flatten(x), network)

    def context(self, condition: Tree | None, like: Tensor) -> Tensor | None:
        """Conditions (B, C) in the dtype of `like` (B, ...); raises `SpaceError`."""
        return self.layout.context(condition, like)

    def log_prob(self, parameters: Tensor, x: Tree) -> Tensor:
        """log p(x | parameters (B, D, P)), shape (B,), nats."""
        return self.log_prob_rows(parameters, self.layout.flatten(x))

    def log_prob_rows(self, parameters: Tensor, rows: Tensor) -> Tensor:
        """The same of rows (B, D)."""
        return self.law.log_prob(at_least_float32(parameters), rows).sum(1)

    def draw_rows(self, parameters: Tensor, noise: Noise) -> Tensor:
        """Rows (B, D) from parameters (B, D, P); reads the uniform noise "numbers" (D, U)."""
        return self.law.draw(
            at_least_float32(parameters), noise.uniform("numbers", (parameters.shape[1], self.law.uniforms))
        )

    def draw(self, parameters: Tensor, noise: Noise) -> Tree:
        """Samples from parameters (B, D, P); reads the uniform noise "numbers" (D, U)."""
        return self.layout.unflatten(self.draw_rows(parameters, noise))

    def mean(self, parameters: Tensor) -> Tree:
        """Expectations under parameters (B, D, P): floating, also where numbers are discrete."""
        return self.layout.unflatten(self.law.mean(at_least_float32(parameters)))
