"""The verdict names the worst metrics first."""

from maquette.core.statistics.estimate import Estimate
from maquette.domains.calorimeter.metrics.comparison import not_measurable
from maquette.domains.calorimeter.metrics.verdict import verdict


def test_verdict_names_the_worst_first() -> None:
    def estimate(value: float, better="lower") -> Estimate:
        return Estimate(value, 1.0, 0.0, 10, "", better, "A figure.", 0.0)

    both = {"a": estimate(4), "b": estimate(9), "c": estimate(2), "d": estimate(-5, "floor")}
    both["e"] = not_measurable("Something", "there is none")
    text = verdict(both, 1234)
    assert text == "distinguishable by b (9.0 sigma), d (5.0 sigma), a (4.0 sigma) at n = 1,234"
    many = {name: estimate(10 - i) for i, name in enumerate("abcdefg")}
    assert "e (6.0 sigma) and 2 more at n" in verdict(many, 9)
    assert verdict({"a": estimate(3.01)}, 5).startswith("distinguishable by a (3.0 sigma)")
    assert verdict({"a": estimate(2.99)}, 5).startswith("indistinguishable at n = 5")
    assert "all 2 metrics" in verdict({"c": both["c"], "a": estimate(3), "e": both["e"]}, 5)
