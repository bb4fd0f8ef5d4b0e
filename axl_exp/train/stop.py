"""Stopping cleanly: the first SIGTERM or Ctrl-C asks the loop to save and leave.

Standard library only: the handlers must be there before anything heavy is imported.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class StopRequest:
    """Set once a signal asked to stop.

    As long as there is nothing to save, a signal interrupts at once. Inside `held` it is only
    remembered, and a second Ctrl-C interrupts.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._is_held = False

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as a shell reports it."""
        return 128 + self.signal if self.signal is not None else 0

    def ask(self, number: int) -> None:
        """Ask to stop, as that signal does.

        Raises:
            KeyboardInterrupt: Ctrl-C, with nothing to save, or for the second time.
            SystemExit: Another signal, with nothing to save.
        """
        is_first = self.signal is None
        self.signal = signal.Signals(number)
        if not self._is_held:
            self._interrupt()
        elif number == signal.SIGINT and not is_first:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Interrupt once more where a request came.

        Raises:
            KeyboardInterrupt, SystemExit: It came before, and what it interrupted swallowed that: a
                library that catches everything, a callback of native code.
        """
        if self:
            self._interrupt()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, the request is for the block to look at.

        Raises:
            KeyboardInterrupt, SystemExit: As `check`.
        """
        self.check()
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    def _interrupt(self) -> None:
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(self.exit_code)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.ask(number)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Yield a StopRequest that SIGTERM and SIGINT set inside the block.

    Outside the main thread (a notebook's worker) signals cannot be caught and nothing sets it.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {s: signal.signal(s, request._receive) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
