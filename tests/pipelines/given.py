"""A domain whose conditions are given and never drawn: no codec could keep the distribution of large ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from maquette.domains import domains
from maquette.domains.codec import CodecConfig
from maquette.domains.generator import GeneratorConfig
from toy import GivenCodec, Toy


class GivenCodecConfig(CodecConfig):
    kind: Literal["given"] = "given"

    def build(self, description: Mapping[str, Any]) -> GivenCodec:
        return GivenCodec()


class GivenGeneratorConfig(GeneratorConfig):
    codec: GivenCodecConfig = GivenCodecConfig()


class Given(Toy):
    name = "given"
    generator: type[GeneratorConfig] = GivenGeneratorConfig


domains.register("given")(Given())
