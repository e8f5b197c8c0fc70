"""The samples' side of an autoencoder: numbers as an encoder sees them, and as a decoder speaks about them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ...layout import Layout, as_weights
from ...likelihoods import SUPPORTS, Likelihood, LikelihoodConfig, likelihood_of, precise
from ...noise import Noise
from ...spaces import Space, Tree


@dataclass(frozen=True)
class Observed:
    """Samples of D numbers, each with a law of its own given P parameters from a decoder.

    Attributes:
        layout: how samples and conditions become rows.
        law: of each number.
    """

    layout: Layout
    law: Likelihood

    @classmethod
    def of(cls, space: Space, condition: Space | None, config: LikelihoodConfig | None) -> Observed:
        """Samples of a space under the law that a config names; raises `ConfigError`."""
        layout = Layout(space, condition, SUPPORTS)
        return cls(layout, likelihood_of(layout.support, config))

    def spread(self, rows: Tensor, network: nn.Module) -> Tensor:
        """Rows (B, D) as an encoder sees them, (B, D, K), in the dtype of a network's weights."""
        return self.law.spread(rows, as_weights(rows, network))

    def inputs(self, x: Tree, network: nn.Module) -> Tensor:
        """Samples as an encoder sees them, (B, D, K); raises `SpaceError`."""
        return self.spread(self.layout.rows(x), network)

    def columns(self, condition: Tree | None, like: Tensor) -> Tensor | None:
        """Conditions (B, C) in the dtype of `like` (B, ...); raises `SpaceError`."""
        return self.layout.columns(condition, like)

    def log_prob(self, parameters: Tensor, x: Tree) -> Tensor:
        """log p(x | parameters (B, D, P)), shape (B,), nats."""
        return self.log_prob_rows(parameters, self.layout.rows(x))

    def log_prob_rows(self, parameters: Tensor, rows: Tensor) -> Tensor:
        """The same of rows (B, D)."""
        return self.law.log_prob(precise(parameters), rows).sum(1)

    def draw_rows(self, parameters: Tensor, noise: Noise) -> Tensor:
        """Rows (B, D) from parameters (B, D, P); reads the uniform noise "numbers" (D, U)."""
        return self.law.draw(precise(parameters), noise.uniform("numbers", (parameters.shape[1], self.law.uniforms)))

    def draw(self, parameters: Tensor, noise: Noise) -> Tree:
        """Samples from parameters (B, D, P); reads the uniform noise "numbers" (D, U)."""
        return self.layout.value(self.draw_rows(parameters, noise))

    def mean(self, parameters: Tensor) -> Tree:
        """Expectations under parameters (B, D, P): floating, also where numbers are discrete."""
        return self.layout.value(self.law.mean(precise(parameters)))
