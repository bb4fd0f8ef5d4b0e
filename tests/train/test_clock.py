"""Every second of the loop belongs to one thing."""

from axl_exp.train.clock import StepClock


class _Time:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_step_is_the_time_between_two_completions():
    time = _Time()
    clock = StepClock(now=time)
    time.now += 2.0
    assert clock.step_finished() == 2.0
    time.now += 0.5
    assert clock.step_finished() == 0.5
    assert clock.seconds == {"steps": 2.5}


def test_what_happens_between_steps_is_booked_apart_and_lands_in_no_step():
    time = _Time()
    clock = StepClock(now=time)
    time.now += 1.0
    clock.step_finished()
    time.now += 0.25  # the host's own time
    with clock.book("eval") as so_far:
        time.now += 8.0
        assert so_far() == 8.0
    time.now += 1.0
    assert clock.step_finished() == 1.0
    assert clock.seconds == {"steps": 2.0, "host": 0.25, "eval": 8.0}


def test_a_block_that_fails_is_booked_too():
    time = _Time()
    clock = StepClock(now=time)
    try:
        with clock.book("checkpoint"):
            time.now += 3.0
            raise OSError
    except OSError:
        pass
    assert clock.seconds["checkpoint"] == 3.0


def test_all_buckets_add_up_to_the_wall_time():
    time = _Time()
    clock = StepClock(now=time)
    for i in range(20):
        time.now += 0.1 * i
        clock.step_finished()
        if i % 3 == 0:
            time.now += 0.01
            with clock.book("eval"):
                time.now += 0.7
    assert abs(sum(clock.seconds.values()) - (time.now - 100.0)) < 1e-9
