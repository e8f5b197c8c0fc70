"""Learning rates against their closed forms."""

import pytest
from maquette.core.engine.plan import OptimizerConfig
from maquette.core.engine.schedules import learning_rate


def test_learning_rate_is_a_function_of_the_step() -> None:
    config = OptimizerConfig(lr=2.0, warmup=4, final=0.1)
    curve = [learning_rate(config, step, 21) for step in range(21)]
    assert curve[:4] == [0.5, 1.0, 1.5, 2.0]
    assert curve[4] == 2.0
    assert curve[12] == pytest.approx(0.5 * (2.0 + 0.2))  # half way down the cosine
    assert curve[20] == pytest.approx(0.2)
    assert learning_rate(OptimizerConfig(lr=2.0, schedule="constant"), 20, 21) == 2.0
