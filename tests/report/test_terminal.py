from __future__ import annotations

import contextlib
import io
import os

import pytest
from rich.text import Text

from axl_exp.report.terminal import (
    PIPED_WIDTH,
    make_console,
    make_facts,
    make_table,
    make_tables,
)


def printed(thing, *, width: int = 40) -> list[str]:
    out = io.StringIO()
    make_console(out, width=width).print(thing)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_table_is_plain_aligned_text():
    table = make_table("name", "value", rows=[("a", "1"), ("long", "12")], right=(1,), title="T")
    assert printed(table) == ["T", "name  value", "a         1", "long     12"]


def test_a_long_value_is_folded_not_cut():
    lines = printed(make_table("k", "v", rows=[("a", "x" * 70)]))
    assert "".join(line[3:] for line in lines[1:]) == "x" * 70


def test_text_from_files_is_data():
    lines = printed(make_facts([("[red]k[/]", "\x1b[31m:smile: [bold]v\n2"), ("n", 3)]), width=80)
    assert lines == ["[red]k[/]  \\x1b[31m:smile: [bold]v\\n2", "n          3"]


def test_colour_is_left_out_where_there_is_no_terminal():
    assert printed(Text("x", style="bold red")) == ["x"]


def test_an_encoding_that_lacks_a_character_gets_a_question_mark():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    make_console(out, width=40).print(Text("▲ better"))
    out.flush()
    assert raw.getvalue().rstrip() == b"? better"


def test_a_pipe_has_its_own_width_unless_columns_says_another(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert make_console(io.StringIO()).width == PIPED_WIDTH
    monkeypatch.setenv("COLUMNS", "72")
    assert make_console(io.StringIO()).width == 72


def test_a_reader_that_closed_the_pipe_is_told_as_such_and_not_as_exit_code_1():
    read, write = os.pipe()
    os.close(read)
    file = os.fdopen(write, "w")
    with pytest.raises(BrokenPipeError):
        make_console(file).print("verdict")
    with contextlib.suppress(BrokenPipeError):
        file.close()


def test_columns_that_do_not_fit_stand_in_a_table_below_and_none_folds():
    rows = [["base", *[f"{k}.000 \n≈ +0.00 %" for k in range(8)]]]
    rows = [[Text(cell) for cell in row] for row in rows]
    headers = ["case", *[f"figure {k}" for k in range(8)]]
    for width in (30, 80, 100, 140):
        out = io.StringIO()
        for table in make_tables(*headers, rows=rows, right=range(1, 9), width=width):
            make_console(out, width=width).print(table)
        lines = [line.rstrip() for line in out.getvalue().splitlines()]
        assert all(len(line) <= width for line in lines)
        heads = [line for line in lines if line.startswith("case")]
        assert len(heads) == {30: 4, 80: 2, 100: 1, 140: 1}[width]
        told = " ".join(line.removeprefix("case") for line in heads).split()
        assert " ".join(told) == " ".join(headers[1:])
        assert out.getvalue().count("≈ +0.00 %") == 8
