"""Tasks over processes."""

import os
import signal
import subprocess
import sys

import pytest

from axl_exp.dryrun import workers
from axl_exp.dryrun.workers import WorkerDiedError, map_in_processes


def _square_and_process(number):
    return number**2, os.getpid()


def _die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_few_tasks_stay_here_and_many_go_to_processes_in_order(monkeypatch):
    monkeypatch.setattr(workers, "_num_cores", lambda: 2)
    here = list(map_in_processes(_square_and_process, range(3)))
    assert here == [(n * n, os.getpid()) for n in range(3)]
    many = list(map_in_processes(_square_and_process, range(40)))
    assert [square for square, _ in many] == [n * n for n in range(40)]
    assert os.getpid() not in {process for _, process in many}


_COMMAND = """
import os, signal
from axl_exp.dryrun import workers
from tests.dryrun.test_workers import _square_and_process
workers._num_cores = lambda: 2
for _, process in workers.map_in_processes(_square_and_process, range(40)):
    print(process, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_command_that_is_killed():
    # They write to the same pipe, which ends with the last of them.
    words = [sys.executable, "-c", _COMMAND]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 0


_SLOW = """
import threading, os, signal, time
from axl_exp.dryrun import workers
workers._num_cores = lambda: 2
# What a shell starts in the background ignores it, and what that starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(1, os.killpg, (os.getpgid(0), signal.SIGINT)).start()
list(workers.map_in_processes(time.sleep, [300] * 40))
"""


def test_ctrl_c_waits_for_no_task():
    # A terminal sends it to the whole group of processes.
    words = [sys.executable, "-c", _SLOW]
    done = subprocess.run(words, capture_output=True, timeout=60, start_new_session=True)
    assert done.returncode == -signal.SIGINT


def test_a_process_that_is_killed_is_a_message(monkeypatch):
    monkeypatch.setattr(workers, "_num_cores", lambda: 2)
    with pytest.raises(WorkerDiedError, match="perhaps for want of memory"):
        list(map_in_processes(_die, range(40)))
