"""Plans of many configs at once: tracing is Python's work, so each core has a process for it."""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from axl_exp.cli import RARELY
from axl_exp.errors import UserError

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

# Neighbours in a sweep often share a traced step, which is kept: so many go to one process.
_CHUNK = 16
# A process takes some seconds to begin; this many tasks make up for it.
_MIN_PER_WORKER = 12
_MAX_WORKERS = 16


class WorkerDiedError(UserError):
    """A process was ended from outside."""


def map_in_processes(
    function: Callable[[_Task], _Result], tasks: Sequence[_Task]
) -> Iterator[_Result]:
    """Yield `function` of every task in order; where there are few, in this process.

    Args:
        function: Found by its name in its module, by each process.
        tasks: Sent to the processes, as results are sent back: plain data.

    Raises:
        WorkerDiedError: One of the processes was ended.
    """
    num_workers = min(_num_cores(), len(tasks) // _MIN_PER_WORKER, _MAX_WORKERS)
    if num_workers < 2:
        yield from map(function, tasks)
        return
    with concurrent.futures.ProcessPoolExecutor(
        num_workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    ) as pool:
        try:
            yield from pool.map(function, tasks, chunksize=_CHUNK)
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "A process that plans died, perhaps for want of memory (each takes about 0.6 GiB); "
                "ask for fewer at once with --config and --mesh."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    # The command hears Ctrl-C too, and would wait for what they are at. In the background of a
    # script neither hears it.
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(1))
    gc.set_threshold(*RARELY)


def _end_with_the_command() -> None:
    # A command that is killed tells its workers nothing, and they would wait for more for ever.
    command = multiprocessing.parent_process()
    assert command is not None
    command.join()
    os._exit(1)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
