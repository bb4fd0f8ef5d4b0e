"""Reads step records into columns: many at once where lines are alike, else one by one."""

from __future__ import annotations

import re

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.columns import read_columns
from axl_exp.compare.logs.dialect import MAX_STEP, Dialect, find_records, numbers_of
from axl_exp.compare.logs.numbers import quantum, read_number
from axl_exp.compare.logs.rows import RowsBuilder


def read_records(
    block: Block, *dialects: Dialect, rows: RowsBuilder, last_step: int = 0
) -> list[tuple[int, int]]:
    """Read every record of `block` into `rows`; return the spans that were understood.

    A record that tells no step is one of `last_step`.
    """
    spans = read_columns(block, dialects, rows)
    return _one_by_one(block, dialects, rows, last_step) if spans is None else spans


def _one_by_one(
    block: Block, dialects: tuple[Dialect, ...], rows: RowsBuilder, last_step: int
) -> list[tuple[int, int]]:
    spans = []
    for record in find_records(block.text, dialects):
        step, fields = record.step(last_step), record.fields
        if step > MAX_STEP:
            continue
        if block.is_last and record.end == len(block.text):
            fields = _without_cut(fields, record.dialect, rows)
        time, writer = record.time()
        line = block.line(record.anchor.start())
        source = block.label(line) or writer.decode(errors="replace")
        row = rows.add(step, line=line, time=time, source=source)
        for mark in record.marks():
            rows.put(row, mark, 1.0, quantum=0.0)
        for field in fields:
            for name, group, factor in numbers_of(field, record.dialect):
                number, unit = (
                    x * factor / name.per_unit
                    for x in (read_number(field[group]), quantum(field[group]))
                )
                rows.put(row, name.key, number, quantum=unit)
        spans.append((record.start, record.end))
    return spans


def _without_cut(
    fields: list[re.Match[bytes]], dialect: Dialect, rows: RowsBuilder
) -> list[re.Match[bytes]]:
    """Return the fields of a record that ends where the text does, without a number that was cut.

    A number is whole where it has as many decimals as the same one of the records before.
    """
    last = max(fields, key=re.Match.end)
    for name, group, factor in numbers_of(last, dialect):
        unit = quantum(last[group]) * factor / name.per_unit
        if not last[0].endswith(last[group]) or (unit and unit == rows.quanta.get(name.key)):
            return fields
    return [field for field in fields if field is not last]
