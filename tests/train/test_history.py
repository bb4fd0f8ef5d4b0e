"""What is kept of a session's steps."""

from axl_exp.train.history import StepHistory


def _record(loss: float, seconds: float, step_class: str) -> dict:
    return {
        "train/loss": loss,
        "perf/step_seconds": seconds,
        "time/data_wait_seconds": seconds / 10,
        "time/class": step_class,
        "train/gradient_norm": 1.0,
    }


def test_the_columns_are_what_was_added_in_order():
    history = StepHistory()
    history.add(41, _record(6.5, 2.0, "restart"))
    history.add(42, _record(6.25, 0.5, "steady"))
    assert len(history) == 2
    assert history.steps.tolist() == [41, 42]
    assert history.losses.tolist() == [6.5, 6.25]
    assert history.seconds.tolist() == [2.0, 0.5]
    assert history.data_wait_seconds.tolist() == [0.2, 0.05]
    assert history.seconds[history.classes == "steady"].tolist() == [0.5]


def test_a_session_without_steps_has_empty_columns():
    history = StepHistory()
    assert len(history) == 0
    assert history.losses.tolist() == []
    assert not (history.classes == "steady").any()
