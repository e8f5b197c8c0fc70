"""Losses that are not finite: what the check of a step remembers."""

import pytest
import torch
from maquette.core.engine.finite import FiniteCheck, NotFinite
from maquette.core.engine.world import World


def test_on_an_accelerator_the_first_bad_step_is_reported_later() -> None:
    finite = FiniteCheck("here", torch.device("cpu"), World())
    finite.immediate = False
    for step, loss in ((1, 0.5), (2, float("nan")), (3, float("inf")), (4, 0.5)):
        finite.check(step, torch.tensor(loss), torch.tensor(1.0), [], changed=False)
    with pytest.raises(NotFinite, match="here, step 2: ") as caught:
        finite.raise_pending()
    assert caught.value.weights_changed
