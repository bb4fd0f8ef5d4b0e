"""Megatron-LM's log: arguments, iterations, memory, parameters per rank, timers, schedule trace.

Its second line averages iterations 1 and 2, since nothing is reset after the first line; with a log
interval of N every value is a mean over N. The loss is left out where it is NaN or negative.
"""

from __future__ import annotations

import re

import numpy as np

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.deepspeed import count_overflows, overflow_note, read_times
from axl_exp.compare.logs.log import Log, Memory
from axl_exp.compare.logs.megatron_lines import ITERATION, TEST, VALIDATION
from axl_exp.compare.logs.megatron_size import check_parameters
from axl_exp.compare.logs.order import column
from axl_exp.compare.logs.records import read_records
from axl_exp.compare.logs.rows import RowsBuilder

_ARGUMENTS = re.compile(
    rb"-{4,} arguments -{4,}(?P<body>.*?)-{4,} end of arguments -{4,}", re.DOTALL
)
# Dots fill a name up to a column; a longer name has none.
_ARGUMENT = re.compile(rb"^ +(?P<name>[A-Za-z_]\w*) \.* ?(?P<value>[^\n]*?)[ \t]*$", re.M)
# In a text that was folded into one line, the next name ends a value.
_FOLDED = re.compile(
    rb"\s{3}(?P<name>[A-Za-z_]\w*) \.* (?P<value>.*?)(?=\s{3}[A-Za-z_]\w* \.* |\s*\Z)", re.DOTALL
)
_MEMORY = re.compile(
    rb"\b(?P<when>after \d+ iterations?)\)? memory "
    rb"\((?P<unit>[MG]B)\)(?P<fields>(?:\s*\|\s*[a-z][a-z -]*: \d+\.?\d*)+)"
)
_MEMORY_RANK = re.compile(rb"\[Rank (?P<rank>\d{1,18})\] \(?\Z")
_MEMORY_FIELD = re.compile(rb"\|\s*(?P<what>[a-z][a-z -]*): (?P<number>\d+\.?\d*)")
_THEORETICAL = re.compile(
    rb"Theoretical memory footprints: (?P<fields>(?:,?\s*[a-z][a-z ]*=\s*\d+\.?\d* MB)+)"
)
# Megatron-Bridge prints gigabytes of 1e9, Megatron-LM megabytes of 2**20.
_BYTES_PER = {b"MB": 2**20, b"GB": 10**9}
_GIGABYTES = re.compile(r"mem-(?P<what>[a-z-]+)-gigabytes")
_THEORETICAL_FIELD = re.compile(rb"(?P<what>[a-z][a-z ]*)=\s*(?P<mb>\d+\.?\d*) MB")
_PARAMETERS = re.compile(
    rb"> number of parameters on (?:\(tensor, pipeline\) )?model parallel rank "
    rb"\(?(?P<t>\d{1,18})(?:, (?P<p>\d{1,18})\))?: (?P<n>\d{1,18})"
)
_TIMER = re.compile(
    rb"\s(?P<name>[A-Za-z][\w/-]*) \.{2,}: "
    rb"(?:\((?P<low>\d+\.?\d*), (?P<high>\d+\.?\d*)\)|(?P<most>\d+\.\d+)\s)"
)
_EVENT = re.compile(
    rb"rank (?P<rank>\d{1,18}) (?P<pass>forward|backward) (?P<what>start|finished)"
    rb" tensor (?P<tensor>\d{1,18})"
)
_BILLIONS = re.compile(
    rb"(?P<what>(?:Total n|N)umber of (?:active )?parameters(?: in [a-z ]{3,40})?) in billions:\s+"
    rb"(?P<n>\d+\.?\d*)"
)
_WORLD = re.compile(rb"using world size: (?P<n>\d{1,18}), data-parallel[- ]size: (?P<d>\d{1,18})")
_PADDED = re.compile(
    rb"padded vocab \(size: \d+\) with \d+ dummy tokens \(new size: (?P<n>\d{1,18})\)"
)
_DATETIME = re.compile(rb"\[(?P<event>[a-z][^\]\n]{3,80})\] datetime: (?P<at>[\d:. -]{10,30}\d)")


_MAX_RATIO = 1.5  # Between two figures of one speed: more is no rounding.
# Of Megatron-Bridge: printed by the first rank, where the last one prints the record.
_SPEED = re.compile(
    rb"Step Time : (?P<s>\d+\.?\d*)s GPU utilization: (?P<tflops>\d+\.?\d*)MODEL_TFLOP/s/GPU"
)


class MegatronReader:
    """Reads a Megatron-LM log block by block into a Log."""

    dialects = (ITERATION,)
    heads = re.compile(
        rb"GPU utilization: [\d.]+MODEL_TFLOP|"
        rb"-{4,} arguments -{4,}|on \(tensor, pipeline\) model parallel rank|using world size: \d"
        rb"|rank \d+ (?:forward|backward) start tensor"
    )
    understood = re.compile(rb" \.{2,} |validation loss|Theoretical memory")

    def __init__(self, log: Log):
        self._log = log
        self._rows, self._evals = RowsBuilder(), RowsBuilder()
        self._ranks: dict[tuple[int, int], int] = {}
        self._num_overflows = 0
        self._speeds: list[tuple[int, float, float]] = []

    def read(self, block: Block) -> list[tuple[int, int]]:
        """Read one block; return the spans that were understood."""
        spans = read_records(block, ITERATION, rows=self._rows)
        if spans == [(0, len(block.text))]:
            return spans
        last = self._rows.last_step
        spans += read_records(block, VALIDATION, TEST, rows=self._evals, last_step=last)
        spans += read_times(block, self._log)
        for match in _SPEED.finditer(block.text):
            speed = (block.line(match.start()), float(match["s"]), float(match["tflops"]))
            self._speeds.append(speed)
            spans.append(match.span())
        log = self._log
        self._num_overflows += count_overflows(block)
        for match in block.matches(_ARGUMENTS, near=b"end of arguments"):
            self._read_arguments(match["body"])
        for match in block.matches(_PARAMETERS, near=b"model parallel rank"):
            self._ranks[int(match["t"]), int(match["p"] or 0)] = int(match["n"])
        for match in block.matches(_EVENT, near=b" tensor "):
            event = (int(match["rank"]), match["pass"].decode(), match["what"].decode())
            log.trace.append((*event, int(match["tensor"])))
        for match in block.matches(_TIMER, near=b"..: "):
            low, high = match["low"] or match["most"], match["high"] or match["most"]
            log.timers[match["name"].decode()] = (float(low), float(high))
        for match in block.matches(_BILLIONS, near=b" in billions:"):
            facts = log.facts.setdefault("parameters_in_billions", {})
            facts[match["what"].decode().lower()] = match["n"].decode()
        for match in block.matches(_DATETIME, near=b"] datetime: "):
            moments = log.results.setdefault("events", {})
            moments[match["event"].decode(errors="replace")] = match["at"].decode().strip()
        for match in block.matches(_WORLD, near=b"using world size: "):
            log.facts["hardware"] = {"platform": "gpu", "device_count": int(match["n"])}
        for match in block.matches(_PADDED, near=b"padded vocab ("):
            log.facts["vocab_size"] = int(match["n"])
        self._read_memory(block)
        return spans

    def finish(self) -> None:
        """Put the columns into the log, and what follows from the arguments beside them."""
        log = self._log
        if not len(self._rows):
            self._count_speeds()
        log.rows, log.evals = self._rows.finish(), self._evals.finish()
        if self._ranks:
            told = {f"({t}, {p})": n for (t, p), n in sorted(self._ranks.items())}
            log.facts["parameters_per_rank"] = told
            log.notes.extend(check_parameters(log, self._ranks))
        arguments = log.arguments
        batch, length = arguments.get("global_batch_size", ""), arguments.get("seq_length", "")
        if batch.isdigit() and length.isdigit():
            log.facts["tokens_per_step"] = int(batch) * int(length)
        if self._num_overflows:
            log.notes.append(overflow_note(self._num_overflows))
        self._check_samples()
        if len(log.rows):
            log.notes.append(
                "its second line averages the first two iterations; every line is a mean over the "
                "log interval"
            )
        if log.trace:
            ranks = sorted({event[0] for event in log.trace})
            log.notes.append(
                f"{len(log.trace):,} events of the pipeline's schedule, of ranks "
                f"{', '.join(map(str, ranks))}"
            )

    def _check_samples(self) -> None:
        """Note where samples per second are not batch over time, as where ms are taken for s."""
        names = ("perf/samples_per_second", "printed/seconds", "train/global_batch_size")
        rate, seconds, batch = (column(self._log.rows, name) for name in names)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = rate * seconds / batch
        ratios = ratios[np.isfinite(ratios) & (ratios > 0)]
        if len(ratios) and not 1 / _MAX_RATIO < (ratio := float(np.median(ratios))) < _MAX_RATIO:
            self._log.notes.append(
                f"its samples per second are {ratio:.3g} times batch over time: not to be used"
            )

    def _count_speeds(self) -> None:
        """Take the speeds that one rank prints for the steps; another prints the records."""
        for step, (line, seconds, tflops) in enumerate(self._speeds, start=1):
            row = self._rows.add(step, line=line, time=float("nan"), source="")
            self._rows.put(row, "printed/seconds", seconds, quantum=0.01)
            self._rows.put(row, "perf/tflops_per_device", tflops, quantum=0.1)
        if self._speeds:
            self._log.notes.append("its lines tell no step: they are counted one by one")

    def _read_arguments(self, body: bytes) -> None:
        """Read every argument: values may be empty, lists, or no literals."""
        pattern = _ARGUMENT if body.count(b"\n") > 1 else _FOLDED
        for match in pattern.finditer(body):
            value = match["value"].decode(errors="replace").strip()
            self._log.arguments[match["name"].decode()] = value

    def _read_memory(self, block: Block) -> None:
        for match in block.matches(_MEMORY, near=b" memory ("):
            rank = _MEMORY_RANK.search(block.text, max(0, match.start() - 40), match.start())
            device = f"rank {int(rank['rank'])}" if rank else "a rank"
            line = block.line(match.start())
            for what, number in _MEMORY_FIELD.findall(match["fields"]):
                quantity = what.decode()
                if match["unit"] == b"GB":  # Counters of the allocator stand among the bytes.
                    if not (named := _GIGABYTES.fullmatch(quantity)):
                        self._log.results.setdefault("allocator", {})[quantity] = number.decode()
                        continue
                    quantity = named["what"].replace("-", " ")
                num_bytes = float(number) * _BYTES_PER[match["unit"]]
                self._memory(match["when"].decode(), device, quantity, num_bytes, line)
        for match in block.matches(_THEORETICAL, near=b"Theoretical memory"):
            for what, mb in _THEORETICAL_FIELD.findall(match["fields"]):
                line, num_bytes = block.line(match.start()), float(mb) * _BYTES_PER[b"MB"]
                quantity = what.decode().strip()
                self._memory("theoretical", "most loaded rank", quantity, num_bytes, line)

    def _memory(self, label: str, device: str, what: str, num_bytes: float, line: int) -> None:
        self._log.memory.append(Memory(label, device, what, num_bytes, None, None, line))
