"""What processes agree on; two real ones that do nothing else, and one alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from axl_exp.train.agree import check_same, exchange, from_first, should_stop
from axl_exp.train.processes import ProcessesError, join_processes, process_count
from axl_exp.train.stop import StopRequest
from tests.system.test_processes import THIS_MACHINE, by_hand, by_slurm, free_port

REPOSITORY = Path(__file__).resolve().parents[2]

# Prints what one process heard and how it ended; the argument is what it does wrong.
SCRIPT = """
import os, sys, time
from axl_exp.cli import run_command
from axl_exp.train.agree import *
from axl_exp.train.processes import *
from axl_exp.train.stop import StopRequest
from axl_exp.errors import UserError
import signal

def body():
    join_processes()
    me = process_index()
    with failing_together():
        print(exchange("greeting", f"from {me}"), from_first("first", {"me": me}), process_count())
        check_same("config", "a: 1\\n" + ("b: 2" if sys.argv[1] == "differ" and me else "b: 3"))
        if me == 1 and sys.argv[1] == "fail":
            raise UserError("the disk is full")
        if sys.argv[1] == "late":
            os.environ["AXL_EXP_JOIN_TIMEOUT_SECONDS"] = "1"
            time.sleep(20 * me)
        exchange("again", "")
        stop = StopRequest()
        for step in range(1, 30):
            exchange("a step", "")  # A step needs both.
            if me == 1 and step == 5:
                stop.signal = signal.SIGTERM
            if should_stop(stop, after_step=step):
                break
        print("stopped after", step, stop.exit_code)

code = run_command(body)
leave(code)
sys.exit(code)
"""


def two(what: str, *, variables=by_hand):
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, what],
            env={
                **os.environ,
                **variables(index, port),
                "PYTHONPATH": str(REPOSITORY),
                "JAX_PLATFORMS": "cpu",
                "AXL_EXP_JOIN_TIMEOUT_SECONDS": "60",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    said = [process.communicate(timeout=100) for process in processes]
    return [(p.returncode, *words) for p, words in zip(processes, said, strict=True)]


@pytest.mark.parametrize("variables", [by_hand, by_slurm])
def test_processes_hear_each_other_and_stop_after_the_same_step(variables):
    for code, out, err in two("right", variables=variables):
        assert code == 0, err
        assert out.splitlines() == [
            "['from 0', 'from 1'] {'me': 0} 2",
            "stopped after 8 143",
        ]


def test_a_difference_is_named_in_every_process():
    for code, _, err in two("differ"):
        assert code == 2
        assert err == (
            "error: process 1 has another config than process 0: b: 2 instead of b: 3. Launch "
            "every process with the same flags, code and data.\n"
        )


def test_the_error_of_one_process_ends_the_other_at_once():
    (code_0, _, err_0), (code_1, _, err_1) = two("fail")
    assert (code_0, code_1) == (1, 2)
    assert err_0 == "error: stopped, because process 1 failed: the disk is full\n"
    assert err_1 == "error: the disk is full\n"


def test_a_process_that_does_not_come_is_named_with_the_time():
    (code, _, err), _ = two("late")
    assert code == 2
    assert err.startswith("error: waited 1 s over 'again' for process 1 of 2; see what it said.")


def test_a_process_that_nobody_joins_says_where_it_waited():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "right"],
        env={
            **os.environ,
            **by_hand(1, free_port()),
            "PYTHONPATH": str(REPOSITORY),
            "AXL_EXP_JOIN_TIMEOUT_SECONDS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"error: process 1 of 2 waited 1 s for the others at {THIS_MACHINE}:"
    )


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_NUM_PROCESSES is set without JAX_COORDINATOR_ADDRESS"),
        ({**by_hand(2, 1)}, "JAX_PROCESS_ID is 2: of 2 processes it is at most 1."),
        ({**by_hand(0, 1), "JAX_PROCESS_ID": "a"}, "JAX_PROCESS_ID is 'a': it must be a whole"),
        ({**by_hand(0, 1), "JAX_COORDINATOR_ADDRESS": "host"}, "it must be host:port."),
        ({**by_hand(0, 1), "AXL_EXP_JOIN_TIMEOUT_SECONDS": "0"}, "a whole number from 1."),
    ],
)
def test_an_environment_that_says_too_little_names_the_variable(monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ProcessesError) as error:
        join_processes()
    assert message in str(error.value)


@pytest.mark.parametrize(
    "variables", [{}, {**by_slurm(0, 1), "SLURM_NTASKS": "1"}, {"JAX_NUM_PROCESSES": ""}]
)
def test_a_process_that_is_alone_joins_nobody_and_agrees_with_itself(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    join_processes()
    assert process_count() == 1
    assert exchange("x", "mine") == ["mine"]
    assert from_first("x", [1]) == [1]
    check_same("config", "a: 1")
    stop = StopRequest()
    assert not should_stop(stop, after_step=3)
    stop.signal = signal.SIGINT
    assert should_stop(stop, after_step=3)
