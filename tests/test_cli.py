"""How commands fail: one line, one exit code."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from axl_exp.cli import (
    RARELY,
    CommandParser,
    did_you_mean,
    nearest_names,
    rare_collections,
    run_command,
    split_overrides,
)
from axl_exp.errors import UserError


def raising(error: BaseException):
    def body():
        raise error

    return body


def test_a_users_error_is_one_line_and_exit_code_2(capsys):
    assert run_command(raising(UserError("no such \x1b[31mconfig. Did you mean a?"))) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: no such \\x1b[31mconfig. Did you mean a?\n")


def test_an_error_has_the_exit_code_of_its_class():
    class OtherError(UserError):
        exit_code = 9

    assert run_command(raising(OtherError("x"))) == 9


def test_debug_shows_the_traceback_of_a_users_error(capsys):
    run_command(raising(UserError("x")), debug=True)
    assert "Traceback" in capsys.readouterr().err


def test_a_fault_of_ours_keeps_its_traceback_and_is_no_regression(capsys):
    assert run_command(raising(ValueError("x"))) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "this is a fault of axl_exp" in err


def test_the_exit_code_is_that_of_the_body_and_0_for_none():
    assert run_command(lambda: None) == 0
    assert run_command(lambda: 3) == 3


def test_ctrl_c_is_130(capsys):
    assert run_command(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_goes_away_ends_the_command_quietly():
    script = (
        "import sys\n"
        "from axl_exp.cli import run_command\n"
        "def body():\n"
        "    for i in range(100_000):\n"
        "        print('a line that fills the pipe', i)\n"
        "sys.exit(run_command(body))\n"
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_nearest_names_ignore_case_and_come_best_first():
    names = ["fuji-1B", "fuji-tiny", "honeycrisp-1B"]
    assert nearest_names("FUJI-tin", names)[0] == "fuji-tiny"
    assert did_you_mean("fuji-1b", names, limit=1) == " Did you mean fuji-1B?"
    assert did_you_mean("zzz", names) == ""


@pytest.fixture
def parser() -> CommandParser:
    parser = CommandParser(prog="python -m axl_exp.x")
    parser.add_argument("a", metavar="A")
    parser.add_argument("--run_dir")
    return parser


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a", "--run_dri=x"], "unknown flag --run_dri. Did you mean --run_dir?"),
        (["a", "--run"], "unknown flag --run. Did you mean --run_dir?"),
        (["a", "b"], "unknown argument b."),
        (["a", "--zzz\x1b=1"], "unknown flag --zzz\\x1b."),
        ([], "the following arguments are required: A."),
    ],
)
def test_a_wrong_flag_is_one_line_that_names_the_nearest(parser, capsys, arguments, told):
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {told} See `python -m axl_exp.x --help`.\n"


def test_an_override_without_a_value_is_refused_before_it_eats_the_next_flag(capsys):
    with pytest.raises(SystemExit) as caught:
        split_overrides(["--config.max_step", "--mesh=cpu-1"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "error: --config.max_step has no value; write --config.max_step=<value>\n"
    )


def test_the_value_of_an_override_may_stand_after_a_space_and_be_negative():
    flags, overrides = split_overrides(["--config.a.b", "-3", "--debug"])
    assert (flags, overrides) == (["--debug"], [("a.b", "-3")])


def test_garbage_is_looked_for_as_before_once_a_command_has_ended():
    before = gc.get_threshold()
    with pytest.raises(SystemExit), rare_collections():
        assert gc.get_threshold() == RARELY
        raise SystemExit(2)
    assert gc.get_threshold() == before
