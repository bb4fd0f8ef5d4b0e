"""metrics.jsonl: what is written is what is read, and damage is told, never hidden."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axl_exp.run.metrics import MetricsError, MetricsWriter
from axl_exp.run.metrics_reader import Problem, read_metrics

HEADER = b'{"schema": "axl_exp.metrics/1", "config": "fuji-tiny"}\n'


def write(path: Path, records: list[dict]) -> None:
    with MetricsWriter(path, header={"config": "fuji-tiny"}) as writer:
        for record in records:
            writer.write(record)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


# -- writing ------------------------------------------------------------------------------------


def test_the_file_is_strict_json_with_a_header_first(path: Path):
    write(path, [{"step": 1, "train/loss": math.nan, "a": math.inf, "b": -math.inf, "c": None}])

    def refuse(name: str):
        raise AssertionError(f"{name} is not JSON")

    told = [json.loads(line, parse_constant=refuse) for line in lines_of(path)]
    assert told == [
        {"schema": "axl_exp.metrics/1", "config": "fuji-tiny"},
        {"step": 1, "train/loss": "nan", "a": "inf", "b": "-inf", "c": None},
    ]


@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_a_float_comes_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, values):
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    write(path, [{"step": i, "x": value} for i, value in enumerate(values)])
    found = read_metrics(path).numbers["x"].values
    for told, value in zip(found.tolist(), values, strict=True):
        assert math.isnan(told) if math.isnan(value) else told.hex() == float(value).hex()


def test_numpy_scalars_are_written_as_their_exact_value(path: Path):
    write(path, [{"step": np.int64(3), "x": np.float32(0.1)}])
    assert json.loads(lines_of(path)[1]) == {"step": 3, "x": float(np.float32(0.1))}


@pytest.mark.parametrize("value", [[1.0], {"a": 1}, object()])
def test_a_nested_value_is_refused_by_name(path: Path, value):
    with pytest.raises(TypeError, match="metric 'x' must be a number, a string or None, not"):
        write(path, [{"step": 1, "x": value}])


def test_a_record_without_step_is_refused(path: Path):
    with pytest.raises(ValueError, match="needs a step"):
        write(path, [{"x": 1.0}])


def test_a_torn_line_is_cut_when_the_file_is_opened_again(path: Path):
    write(path, [{"step": 1, "x": 1.0}])
    with path.open("ab") as file:
        file.write(b'{"step": 2, "x": 0.')
    write(path, [{"step": 2, "x": 2.0}])
    assert [json.loads(line).get("step") for line in lines_of(path)] == [None, 1, 2]


def test_a_torn_line_longer_than_a_block_is_cut(path: Path):
    write(path, [{"step": 1, "x": 1.0}])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 2, "x": "' + b"y" * 200_000)
    write(path, [])
    assert path.read_bytes() == whole


def test_a_whole_record_that_lacks_its_newline_is_kept(path: Path):
    write(path, [{"step": 1, "x": 1.0}])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    write(path, [{"step": 2, "x": 2.0}])
    assert read_metrics(path).numbers["x"].steps.tolist() == [1, 2]


def test_a_torn_header_is_written_anew(path: Path):
    path.write_bytes(HEADER[:20])
    write(path, [{"step": 1, "x": 1.0}])
    assert read_metrics(path).header["config"] == "fuji-tiny"


def test_a_second_writer_is_refused(path: Path):
    with MetricsWriter(path, header={}), pytest.raises(MetricsError) as error:
        MetricsWriter(path, header={})
    assert str(error.value) == (
        f"{path} is being written by another process: is this run already going? "
        "Stop that one, or choose another --run_dir."
    )


def test_a_file_of_another_schema_is_not_written_into(path: Path):
    path.write_text('{"schema": "axl_exp.metrics/99"}\n')
    with pytest.raises(MetricsError, match="line 1 has schema 'axl_exp.metrics/99'"):
        MetricsWriter(path, header={})
    assert path.read_text() == '{"schema": "axl_exp.metrics/99"}\n'


def test_a_killed_writer_leaves_every_record_that_it_wrote(path: Path):
    script = (
        "import pathlib, sys\n"
        "from axl_exp.run.metrics import MetricsWriter\n"
        "writer = MetricsWriter(pathlib.Path(sys.argv[1]), header={})\n"
        "for step in range(1000):\n"
        "    writer.write({'step': step, 'x': step / 7})\n"
        "print('written', flush=True)\n"
        "sys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", script, path], stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    metrics = read_metrics(path)
    assert metrics.numbers["x"].values.tolist() == [step / 7 for step in range(1000)]
    assert metrics.problems == []


# -- reading ------------------------------------------------------------------------------------


def test_a_restart_voids_the_later_steps_before_it(path: Path):
    with MetricsWriter(path, header={}) as writer:
        for step in range(1, 6):
            writer.write({"step": step, "x": 1.0})
        writer.event("restart", step=3)
        for step in range(4, 8):
            writer.write({"step": step, "x": 2.0})
        writer.event("restart", step=6)
    metrics = read_metrics(path)
    assert metrics.numbers["x"].steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert metrics.numbers["x"].values.tolist() == [1, 1, 1, 2, 2, 2]
    assert (metrics.num_records, metrics.num_void, metrics.num_repeated) == (9, 3, 0)


def test_a_restart_to_the_beginning_voids_what_a_later_restart_would_keep(path: Path):
    with MetricsWriter(path, header={}) as writer:
        writer.write({"step": 5, "x": 1.0})
        writer.event("restart", step=2)
        writer.event("restart", step=7)
    assert len(read_metrics(path).numbers["x"]) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=30))
def test_restarts_fold_as_replaying_the_file_does(tmp_path_factory, script):
    """Against a second implementation: a dict from which each restart removes later steps."""
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    expected: dict[int, float] = {}
    with MetricsWriter(path, header={}) as writer:
        for i, (is_restart, step) in enumerate(script):
            if is_restart:
                writer.event("restart", step=step)
                expected = {s: x for s, x in expected.items() if s <= step}
            else:
                writer.write({"step": step, "x": float(i)})
                expected[step] = float(i)
    series = read_metrics(path).numbers.get("x")
    found = {} if series is None else dict(zip(series.steps, series.values, strict=True))
    assert found == expected


def test_every_damaged_line_is_named_and_the_others_count(path: Path):
    path.write_bytes(
        HEADER
        + b'{"step": 1, "x": 1.0}\n'
        + b'{"step": 2, "x": \n'
        + b"\xff\xfe\x00\n"
        + b"[1, 2]\n"
        + b'{"x": 3.0}\n'
        + b'{"step": 4.5, "x": 3.0}\n'
        + b'{"step": 1000000000000000000000, "x": 3.0}\n'
        + b'{"step": 5, "x": [1]}\n'
        + b'{"step": 6, "x": "much"}\n'
        + b'{"step": 7, "x": 1'
        + b"0" * 400
        + b"}\n\n"
        + b"[" * 200_000
        + b"\n"
        + b'{"step": 8, "x": 8.0}\n'
        + b'{"step": 9, "x'
    )
    metrics = read_metrics(path)
    assert metrics.numbers["x"].steps.tolist() == [1, 8]
    assert metrics.problems == [
        Problem(3, "not JSON"),
        Problem(4, "not UTF-8 text"),
        Problem(5, "not a JSON object"),
        Problem(6, "step is None, not an integer in [0, 2^53]"),
        Problem(7, "step is 4.5, not an integer in [0, 2^53]"),
        Problem(8, "step is 1000000000000000000000, not an integer in [0, 2^53]"),
        Problem(9, "'x' holds a list"),
        Problem(10, "'x' is 'much', a text among numbers"),
        Problem(11, "'x' is beyond the largest float"),
        Problem(13, "nested too deeply"),
        Problem(15, "cut short: the run was killed in it"),
    ]


def test_one_damaged_line_in_thousands_costs_only_itself(path: Path):
    write(path, [{"step": step, "x": step / 3} for step in range(5000)])
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2000] = lines[2000][:10] + b"\n"
    path.write_bytes(b"".join(lines))
    metrics = read_metrics(path)
    assert metrics.problems == [Problem(2001, "not JSON")]
    assert metrics.numbers["x"].steps.tolist() == [s for s in range(5000) if s != 1999]
    assert metrics.numbers["x"].values.tolist() == [s / 3 for s in range(5000) if s != 1999]


def test_two_records_on_one_line_are_not_two_lines(path: Path):
    path.write_bytes(HEADER + b'{"step": 1, "x": 1},{"step": 2, "x": 2}\n{"step": 3, "x": 3}\n')
    metrics = read_metrics(path)
    assert metrics.problems == [Problem(2, "not JSON")]
    assert metrics.numbers["x"].steps.tolist() == [3]


def test_a_step_told_twice_counts_as_it_was_told_last(path: Path):
    write(path, [{"step": 1, "x": 1.0}, {"step": 1, "x": 2.0}, {"step": 1, "y": 3.0}])
    metrics = read_metrics(path)
    assert metrics.numbers["x"].values.tolist() == [2.0]
    assert metrics.numbers["y"].values.tolist() == [3.0]
    assert metrics.num_repeated == 1


def test_labels_and_numbers_are_kept_apart(path: Path):
    write(path, [{"step": 1, "time/class": "compile", "x": 1}, {"step": 2, "x": math.nan}])
    metrics = read_metrics(path)
    assert list(metrics.labels) == ["time/class"]
    assert metrics.labels["time/class"].values.tolist() == ["compile"]
    assert metrics.numbers["x"].values.tolist()[0] == 1.0
    assert math.isnan(metrics.numbers["x"].values[1])


def test_an_empty_file_has_no_records_and_no_problems(path: Path):
    path.write_bytes(b"")
    metrics = read_metrics(path)
    assert (metrics.num_records, metrics.problems, metrics.header) == (0, [], {})


@pytest.mark.parametrize("content", [b"hello\nworld\n", bytes(range(256)) * 10, b"\x00" * 100])
def test_a_file_in_which_nothing_is_a_record_is_refused(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(MetricsError, match="is not a metrics file: none of its .* lines"):
        read_metrics(path)


def test_a_schema_of_the_future_is_refused(path: Path):
    path.write_text('{"schema": "axl_exp.metrics/2\\u001b[31m"}\n')
    with pytest.raises(MetricsError) as error:
        read_metrics(path)
    assert "this version reads 'axl_exp.metrics/1'" in str(error.value)
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_a_file_that_cannot_be_opened_is_a_users_error(path: Path, kind: str):
    if kind == "directory":
        path.mkdir()
    with pytest.raises(MetricsError, match="cannot read .*metrics.jsonl"):
        read_metrics(path)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail_otherwise(tmp_path_factory, content: bytes):
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    for data in (content, HEADER + content, HEADER + b'{"step": 1, ' + content + b"}\n"):
        path.write_bytes(data)
        try:
            metrics = read_metrics(path)
        except MetricsError:
            continue
        for series in metrics.numbers.values():
            assert (np.diff(series.steps) > 0).all()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a full disk at hand")
def test_a_full_disk_is_told_with_the_file():
    with pytest.raises(MetricsError, match="^cannot write /dev/full: No space left on device$"):
        MetricsWriter(Path("/dev/full"), header={})
