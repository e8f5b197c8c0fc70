"""The verdict names the worst metrics first."""

from maquette.core.statistics.estimate import Estimate, not_measurable
from maquette.core.statistics.verdict import verdict


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


def test_baselines_have_clauses_of_their_own() -> None:
    def held(value: float, name: str, better="higher") -> Estimate:
        return Estimate(value, 0.6, 30.0, 10, "dB", better, "A figure.", 0.8, against="baseline", baseline=name)

    floor = Estimate(0.5, 0.1, 0.5, 10, "", "lower", "A figure.", 0.0)
    nominal = Estimate(0.9, 0.01, 0.9, 10, "", "floor", "Coverage.", 0.0, against="nominal")
    nothing = Estimate(7.0, 0.01, 1.0, 10, "", "lower", "Seconds.", 0.0, against="nothing")
    found = {"a": floor, "c": nominal, "s": nothing, "psnr": held(35, "wavelets"), "ssim": held(24, "wavelets")}
    found["mae"] = held(31, "a U-Net", "lower")
    assert verdict(found, 9) == (
        "indistinguishable at n = 9: all 2 metrics lie within 3 sigma of their floors or nominal values; "
        "better than wavelets by psnr (5.0 sigma), worse than wavelets by ssim (6.0 sigma) at n = 9; "
        "as good as a U-Net within 3 sigma at n = 9"
    )
    assert verdict({"psnr": held(35, "wavelets")}, 9) == "better than wavelets by psnr (5.0 sigma) at n = 9"
