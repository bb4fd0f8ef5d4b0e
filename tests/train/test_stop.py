"""The first signal asks, a second Ctrl-C interrupts."""

import os
import signal
import threading

import pytest

from axl_exp.train.stop import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_request_and_its_exit_code(number):
    with stop_on_signals() as stop, stop.held():
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.exit_code == 128 + number


def test_a_second_ctrl_c_interrupts_at_once():
    with stop_on_signals() as stop, stop.held():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_with_nothing_to_save_a_signal_interrupts_at_once_and_is_not_forgotten(number, kind):
    with stop_on_signals() as stop:
        with pytest.raises(kind) as caught:
            os.kill(os.getpid(), number)
            signal.pause()
        assert kind is KeyboardInterrupt or caught.value.code == 143
        # What if a library swallowed it?
        with pytest.raises(kind), stop.held():
            raise AssertionError("not reached")


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_nothing_is_caught_and_nothing_fails():
    seen = []

    def work():
        with stop_on_signals() as stop:
            seen.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
