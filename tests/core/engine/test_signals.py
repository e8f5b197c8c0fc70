"""Signals: in the training loop they set a flag, around it they end the work at once."""

import os
import signal

import pytest
from maquette.core.engine.loop import fit
from maquette.core.engine.plan import ParallelConfig
from maquette.core.engine.signals import TERMINATING, Signals, interruptible
from maquette.core.errors import Interrupted
from maquette.core.testing.toys import denoiser_plan, denoiser_source


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", TERMINATING)
def test_around_the_loop_the_work_ends_at_once(number):
    before, after = [signal.getsignal(one) for one in TERMINATING], []

    def work():
        try:
            send(number)
            after.append("not reached")
        except Exception:  # what guards a tracker or a cache must not swallow it
            after.append("swallowed")

    with pytest.raises(Interrupted, match="go on with --resume"), interruptible():
        work()
    assert after == []
    assert [signal.getsignal(one) for one in TERMINATING] == before


def test_a_second_signal_does_not_disturb_the_clean_up():
    left = []

    def work():
        try:
            send(signal.SIGTERM)
        finally:
            send(signal.SIGUSR1)
            left.append("in order")

    with pytest.raises(Interrupted), interruptible(), interruptible():
        work()
    assert left == ["in order"]


def test_in_the_loop_a_flag_is_set_and_an_unhandled_signal_is_passed_on():
    def work():
        with Signals() as signals:
            send(signal.SIGUSR1)
            assert signals.received == signal.SIGUSR1

    with pytest.raises(Interrupted), interruptible():
        work()
    work()  # without a handler to pass it on to


def test_ctrl_c_lets_the_step_end_and_a_second_one_does_not(tmp_path):
    presses = []

    class Impatient:
        def __init__(self, times):
            self.times = times

        def stage(self, name, steps):
            pass

        def row(self, row):
            if row["step"] == 7:
                for _ in range(self.times):
                    send(signal.SIGINT)
                    presses.append(row["step"])

        def checkpoint(self, step):
            pass

    words = {"source": denoiser_source(), "folder": tmp_path, "seed": 3}
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="after step 8 of stage"):
        fit(denoiser_plan(ParallelConfig()), **words, listeners=[Impatient(1)])
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["step-00000008"]
    with pytest.raises(KeyboardInterrupt):
        fit(denoiser_plan(ParallelConfig()), **(words | {"folder": tmp_path / "other"}), listeners=[Impatient(2)])
    assert presses == [7, 7]
    assert signal.getsignal(signal.SIGINT) == before


def test_a_signal_in_the_very_last_step_ends_the_work_after_it(tmp_path):
    plan = denoiser_plan(ParallelConfig())
    end = (plan.stages[-1].stage.name, plan.stages[-1].steps)

    class AtTheEnd:
        def stage(self, name, steps):
            pass

        def row(self, row):
            if (row["stage"], row["step"]) == end:
                send(signal.SIGTERM)

        def checkpoint(self, step):
            pass

    words = {"source": denoiser_source(), "folder": tmp_path, "seed": 3}
    with pytest.raises(Interrupted), interruptible():
        fit(plan, **words, listeners=[AtTheEnd()])
    losses = (tmp_path / "losses.jsonl").read_bytes()
    fit(denoiser_plan(ParallelConfig()), **words, resume=True)
    assert losses
    assert (tmp_path / "losses.jsonl").read_bytes() == losses  # all steps had been taken and saved
