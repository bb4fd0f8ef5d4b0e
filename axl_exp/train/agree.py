"""What the processes of a run tell each other: that they agree, that they stop, that one failed.

Small texts over JAX's coordination service. No device takes part, so no step waits. In a run of one
process everything here is at once what it said itself.
"""

import contextlib
import hashlib
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
from jax._src import distributed  # The service's client has no public name.

from axl_exp.errors import UserError
from axl_exp.train.processes import (
    TIMEOUT,
    ProcessesError,
    is_first,
    join_timeout_seconds,
    process_count,
    process_index,
)
from axl_exp.train.stop import StopRequest

_KEYS = "axl_exp"
_FAILURE = "failure"
# A process is at most one step ahead of another, since a step needs all of them: a step that is
# further away than that, none has passed when it hears of it.
_STEPS_TO_AGREE = 3
# A failed process waits so long for the others to fail too, for the same reason or because of it.
_LEAVE_SECONDS = 5
_SHOWN = 3
_rounds = itertools.count()


class OtherProcessError(UserError):
    """Another process failed, so this one cannot go on."""

    exit_code = 1


def exchange(topic: str, text: str) -> list[str]:
    """Return what every process handed in, by its index; each must call it in the same order.

    Raises:
        ProcessesError: Not all came in time; the message names those that are missing.
        OtherProcessError: One failed, and will not come.
    """
    if process_count() == 1:
        return [text]
    number, seconds = next(_rounds), join_timeout_seconds()
    folder = f"{_KEYS}/{number}/{topic}"
    _client().key_value_set(f"{folder}/{process_index()}", text)
    deadline, pause = time.monotonic() + seconds, 0.002
    while len(texts := _read(folder)) < process_count():
        failure = said(_FAILURE)
        if failure is not None:
            raise OtherProcessError(f"stopped, because {failure}")
        if time.monotonic() > deadline:
            missing = [str(i) for i in range(process_count()) if i not in texts]
            raise ProcessesError(
                f"waited {seconds} s over {topic!r} for process {', '.join(missing)} of "
                f"{process_count()}; see what it said. {TIMEOUT} sets how long to wait."
            )
        time.sleep(pause)
        pause = min(2 * pause, 0.5)
    if is_first() and number:  # All have read the round before.
        _client().key_value_delete(f"{_KEYS}/{number - 1}/")
    return [texts[index] for index in range(process_count())]


def _read(folder: str) -> dict[int, str]:
    found = _client().key_value_dir_get(f"{folder}/")
    return {int(key.rpartition("/")[2]): text for key, text in found}


def exchange_json(topic: str, value: Any) -> list[Any]:
    """Return what every process handed in, plain JSON, by its index; see `exchange`."""
    return (
        [value]
        if process_count() == 1
        else [json.loads(text) for text in exchange(topic, json.dumps(value))]
    )


def from_first(topic: str, value: Any) -> Any:
    """Return what process 0 handed in, plain JSON."""
    return exchange_json(topic, value if is_first() else None)[0]


def check_same(what: str, text: str) -> None:
    """Raise ProcessesError, in every process, unless all have the same flat text.

    The message names the first process whose text differs, and its first lines that do.
    """
    digests = exchange(what, hashlib.sha256(text.encode()).hexdigest())
    if len(set(digests)) == 1:
        return
    texts = exchange(what, text)
    index = next(i for i, other in enumerate(texts) if other != texts[0])
    ours, theirs = texts[0].splitlines(), texts[index].splitlines()
    only_0 = [line for line in ours if line not in theirs][:_SHOWN]
    only_other = [line for line in theirs if line not in ours][:_SHOWN]
    raise ProcessesError(
        f"process {index} has another {what} than process 0: {'; '.join(only_other) or 'nothing'} "
        f"instead of {'; '.join(only_0) or 'nothing'}. Launch every process with the same flags, "
        "code and data."
    )


def say_once(topic: str, text: str) -> str:
    """Write `text` under `topic` for all processes unless it is there; return what is there.

    Waits for no other process.
    """
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # Another was first.
        _client().key_value_set(f"{_KEYS}/said/{topic}", text)
    return said(topic) or text


def said(topic: str) -> str | None:
    """Return what a process wrote with `say_once`; None if none did yet."""
    try:
        return _client().key_value_try_get(f"{_KEYS}/said/{topic}")
    except jax.errors.JaxRuntimeError:
        return None


def _client():
    client = distributed.global_state.client
    assert client is not None
    return client


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """Tell the other processes of an error in the block; name theirs if it is the cause of ours.

    Raises:
        OtherProcessError: In the place of an error that followed from another process's.
    """
    try:
        yield
    except BaseException as error:
        if process_count() > 1:
            _tell(error)
        raise


def _tell(error: BaseException) -> None:
    if not isinstance(error, (UserError, KeyboardInterrupt, SystemExit)):
        failure = _failure_of_another()
        if failure is not None:
            raise OtherProcessError(f"stopped, because {failure}") from error
    words = " ".join(str(error).split())
    say_once(_FAILURE, f"process {process_index()} failed: {words or type(error).__name__}")


def _failure_of_another() -> str | None:
    """Return the first failure if it is another's; waits a little, as it may be on its way."""
    for _ in range(20):
        failure = said(_FAILURE)
        if failure is not None:
            return None if failure.startswith(f"process {process_index()} ") else failure
        time.sleep(0.1)
    return None


def should_stop(request: StopRequest, *, after_step: int) -> bool:
    """Return whether the loop ends after this step: the same step in every process.

    Each calls it after every step that it dispatched. If one process got a signal, all stop, a few
    steps later, and `request` of each is set.
    """
    if process_count() == 1:
        return bool(request)
    if request.signal is not None:
        wanted = f"{after_step + _STEPS_TO_AGREE} {request.signal.value}"
        agreed = say_once("stop", wanted)
    else:
        agreed = said("stop")
    if agreed is None:
        return False
    last_step, number = map(int, agreed.split())
    if after_step < last_step:
        return False
    request.signal = signal.Signals(number)
    return True


def leave(exit_code: int) -> None:
    """End this process now if it failed alone; return where all end in the same way.

    A process that leaves in the usual way waits for the others, who may be waiting for it.
    """
    if exit_code == 0 or process_count() == 1:
        return
    try:
        _client().wait_at_barrier(f"{_KEYS}/leave", _LEAVE_SECONDS * 1000)
    except jax.errors.JaxRuntimeError:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
