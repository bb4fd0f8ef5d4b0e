"""The processes of one run: how they find each other.

Every process runs the same program on its own devices; process 0 alone writes what is written once.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

import jax
from jax._src import distributed  # jax.process_index() would wake the backend.

from axl_exp.errors import UserError

_COORDINATOR, _COUNT, _INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
TIMEOUT = "AXL_EXP_JOIN_TIMEOUT_SECONDS"
# Where JAX finds the processes by itself; with the variable that says how many, if there is one.
_CLUSTERS = {
    "SLURM_STEP_NODELIST": "SLURM_NTASKS",
    "OMPI_MCA_orte_hnp_uri": "OMPI_COMM_WORLD_SIZE",
    "TPU_WORKER_HOSTNAMES": None,
    "MEGASCALE_COORDINATOR_ADDRESS": None,
    "JOB_COMPLETION_INDEX": None,
}
_TPU_DEVICES = ("/dev/accel0", "/dev/vfio/0")


class ProcessesError(UserError):
    """The processes of a run do not find each other, or differ in what must be the same."""


def join_processes() -> None:
    """Become one of the processes of a run, if there are several; else do nothing.

    Where JAX knows the cluster (SLURM, Open MPI, Kubernetes jobs, Cloud TPU) it says who we are. A
    process that is started by hand says it itself, in the environment: JAX_COORDINATOR_ADDRESS,
    host:port of process 0; JAX_NUM_PROCESSES; JAX_PROCESS_ID, from 0. Call it before anything
    touches JAX's backend.

    Raises:
        ProcessesError: The environment does not say enough, or something else than a number.
    """
    if jax.distributed.is_initialized():
        return
    by_hand = _by_hand()
    if by_hand is None and not _in_cluster():
        return
    # Its handler of SIGTERM would take the place of ours, which saves and stops.
    jax.config.update("jax_enable_preemption_service", False)
    timeout = join_timeout_seconds()
    with _named_timeout(timeout, by_hand):
        try:
            # JAX ends the process with a stack dump when its own time is over.
            jax.distributed.initialize(**(by_hand or {}), initialization_timeout=2 * timeout + 60)
        except ValueError as error:
            if by_hand is not None:
                raise ProcessesError(f"{error} See {_COORDINATOR}, {_COUNT}, {_INDEX}.") from error
            # JAX sees no cluster: the sign was of something else.


def join_timeout_seconds() -> int:
    """Return how long processes wait for each other to join or to agree."""
    return _number(TIMEOUT, os.environ.get(TIMEOUT, "300"), least=1)


def _by_hand() -> dict | None:
    given = {
        name: os.environ[name] for name in (_COORDINATOR, _COUNT, _INDEX) if os.environ.get(name)
    }
    if not given or (given.keys() == {_COORDINATOR} and _in_cluster()):
        return None
    missing = [name for name in (_COORDINATOR, _COUNT, _INDEX) if name not in given]
    if missing:
        raise ProcessesError(
            f"{', '.join(given)} is set without {' and '.join(missing)}: a process that is started "
            "by hand needs all three (host:port of process 0, how many, which one from 0)."
        )
    count = _number(_COUNT, given[_COUNT], least=1)
    index = _number(_INDEX, given[_INDEX], least=0)
    if index >= count:
        raise ProcessesError(
            f"{_INDEX} is {index}: of {count} processes it is at most {count - 1}."
        )
    if not given[_COORDINATOR].rpartition(":")[2].isdigit():
        raise ProcessesError(f"{_COORDINATOR} is {given[_COORDINATOR]!r}: it must be host:port.")
    return {
        "coordinator_address": given[_COORDINATOR],
        "num_processes": count,
        "process_id": index,
        "cluster_detection_method": "deactivate",
    }


def _number(name: str, text: str, *, least: int) -> int:
    if not text.isdigit() or int(text) < least:
        raise ProcessesError(f"{name} is {text!r}: it must be a whole number from {least}.")
    return int(text)


def _in_cluster() -> bool:
    for sign, count in _CLUSTERS.items():
        if sign in os.environ and (count is None or os.environ.get(count) != "1"):
            return True
    return any(os.path.exists(path) for path in _TPU_DEVICES)


@contextlib.contextmanager
def _named_timeout(seconds: int, by_hand: dict | None) -> Iterator[None]:
    """End the process with a line that says what was waited for if the block takes too long.

    Not an exception: the block waits in native code.
    """

    def give_up() -> None:
        who = where = ""
        if by_hand is not None:
            who = f" {by_hand['process_id']} of {by_hand['num_processes']}"
            where = f" at {by_hand['coordinator_address']}"
        print(
            f"error: process{who} waited {seconds} s for the others{where}, and not all came. Is "
            f"each one started, with its own number, and does it reach that address? {TIMEOUT} "
            "sets how long to wait.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(ProcessesError.exit_code)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def process_count() -> int:
    """Return how many processes the run has."""
    return distributed.global_state.num_processes


def process_index() -> int:
    """Return which one this is, from 0."""
    return distributed.global_state.process_id


def is_first() -> bool:
    """Return whether this process writes what is written once."""
    return process_index() == 0
