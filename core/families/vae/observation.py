"""The observation model p(x | z) of an autoencoder: embeds samples for its encoder, scores and draws them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ...layout import Layout, cast_like
from ...likelihoods import SUPPORTS, Likelihood, LikelihoodConfig, at_least_float32, likelihood_of
from ...noise import Noise
from ...spaces import Space, Tree


@dataclass(frozen=True)
class ObservationModel:
    """Samples of D independent features, each with P likelihood parameters from a decoder.

    Attributes:
        layout: how samples are flattened and conditions embedded.
        likelihood: of each feature.

    >>> import torch
    >>> from maquette.core.spaces import Binary, Vector
    >>> observation = ObservationModel.of(Vector(dim=3, support=Binary()), None, None)
    >>> observation.likelihood
    Bernoulli()
    >>> observation.log_prob(torch.zeros(4, 3, 1), torch.ones(4, 3))
    tensor([-2.0794, -2.0794, -2.0794, -2.0794])
    """

    layout: Layout
    likelihood: Likelihood

    @classmethod
    def of(cls, space: Space, condition: Space | None, config: LikelihoodConfig | None) -> ObservationModel:
        """From the likelihood of a config, or the default of the space's support; raises `ConfigError`."""
        layout = Layout(space, condition, SUPPORTS)
        return cls(layout, likelihood_of(layout.support, config))

    def embed(self, flat: Tensor, network: nn.Module) -> Tensor:
        """Flat samples (B, D) as an encoder takes them, (B, D, K), in the dtype of a network's weights."""
        return self.likelihood.embed(flat, cast_like(flat, network))

    def inputs(self, x: Tree, network: nn.Module) -> Tensor:
        """Samples as an encoder takes them, (B, D, K); raises `SpaceError`."""
        return self.embed(self.layout.flatten(x), network)

    def context(self, condition: Tree | None, like: Tensor) -> Tensor | None:
        """Conditions as context (B, C) in the dtype of `like` (B, ...); raises `SpaceError`."""
        return self.layout.context(condition, like).vector

    def log_prob(self, parameters: Tensor, x: Tree) -> Tensor:
        """log p(x | parameters (B, D, P)), shape (B,), nats."""
        return self.log_prob_flat(parameters, self.layout.flatten(x))

    def log_prob_flat(self, parameters: Tensor, flat: Tensor) -> Tensor:
        """`log_prob` of flat samples (B, D)."""
        return self.likelihood.log_prob(at_least_float32(parameters), flat).sum(1)

    def draw(self, parameters: Tensor, noise: Noise) -> Tree:
        """Samples from parameters (B, D, P); reads the uniform noise "numbers" (D, U)."""
        return self.layout.unflatten(self.draw_flat(parameters, noise))

    def draw_flat(self, parameters: Tensor, noise: Noise) -> Tensor:
        """`draw` of flat samples (B, D)."""
        u = noise.uniform("numbers", (parameters.shape[1], self.likelihood.uniforms))
        return self.likelihood.draw(at_least_float32(parameters), u)

    def mean(self, parameters: Tensor) -> Tree:
        """Expectations under parameters (B, D, P), floating even where samples are discrete."""
        return self.layout.unflatten(self.likelihood.mean(at_least_float32(parameters)))
