"""Megatron-LM's log: arguments, iterations, memory, parameters per rank, timers, schedule trace.

Its second line averages iterations 1 and 2, since nothing is reset after the first line; with a log
interval of N every value is a mean over N. The loss is left out where it is NaN or negative.
"""

from __future__ import annotations

import datetime
import re

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.deepspeed import count_overflows, overflow_note
from axl_exp.compare.logs.dialect import Dialect, Name, RowsBuilder, read_records
from axl_exp.compare.logs.log import Log, Memory
from axl_exp.compare.logs.megatron_size import check_parameters
from axl_exp.compare.logs.numbers import NUMBER

FORMAT = "Megatron-LM"
_MIB = 2**20
_STAMP = re.compile(
    rb"\[\s*(?P<date>\d{4}-\d\d-\d\d)[ T](?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<part>\d+))?\s*\]"
)


def bracket_clock(before: bytes) -> tuple[float, bytes]:
    """Return the seconds of the last `[2025-06-28 18:42:27]` in `before`; who wrote is not told."""
    match = max(_STAMP.finditer(before), key=re.Match.end, default=None)
    if match is None:
        return float("nan"), b""
    try:
        moment = datetime.datetime.fromisoformat(
            f"{match['date'].decode()} {match['time'].decode()}"
        )
    except ValueError:
        return float("nan"), b""
    seconds = moment.replace(tzinfo=datetime.UTC).timestamp()
    return seconds + float(b"0." + (match["part"] or b"0")), b""


ITERATION = Dialect(
    format=FORMAT,
    anchor=re.compile(rb"(?<![\w-])iteration\s+(?P<step>\d+)\s*/\s*\d+\s*\|"),
    field=re.compile(
        rb"\s*(?P<name>[A-Za-z][\w /().%-]{0,60}?)\s*:\s*(?P<value>" + NUMBER + rb")"
        rb"(?:\s*/\s*" + NUMBER + rb")?\s*\|"
    ),
    names={
        "elapsed time per iteration (ms)": Name("printed/seconds", 1000),
        "elapsed time per iteration (s)": Name("printed/seconds"),
        "elapsed time per iteration": Name("printed/seconds", 1000),
        "throughput per GPU (TFLOP/s/GPU)": Name("perf/tflops_per_device"),
        "TFLOPs": Name("perf/tflops_per_device"),
        "tflops": Name("perf/tflops_per_device"),
        "throughput (tokens/s)": Name("perf/tokens_per_second"),
        "tokens per gpu per second (tgs)": Name("printed/tokens_per_second_per_device"),
        "samples per second": Name("megatron/samples_per_second"),
        "learning rate": Name("train/learning_rate"),
        "lm loss": Name("train/loss"),
        "lm-loss": Name("train/loss"),
        "lm-loss-training": Name("train/loss"),
        "loss": Name("train/loss"),
        "grad norm": Name("train/gradient_norm"),
        "params norm": Name("train/params_norm"),
        "num zeros": Name("train/num_zeros"),
        "loss scale": Name("train/loss_scale"),
        "global batch size": Name("train/global_batch_size"),
        "consumed samples": Name("train/consumed_samples"),
        "skipped samples": Name("train/skipped_samples"),
        "number of skipped iterations": Name("train/num_skipped_iterations"),
        "number of nan iterations": Name("train/num_nan_iterations"),
        "energy per GPU (J/iter/GPU)": Name("perf/joules_per_step_per_device"),
        "power per GPU (W/GPU)": Name("perf/watts_per_device"),
    },
    prefix="megatron",
    clock=bracket_clock,
)
VALIDATION = Dialect(
    format=FORMAT,
    anchor=re.compile(rb"validation loss at iteration\s+(?P<step>\d+)[^|\n]{0,60}\|"),
    field=ITERATION.field,
    names={
        "lm loss value": Name("eval/validation/loss"),
        "lm loss PPL": Name("eval/validation/perplexity"),
    },
    prefix="eval/validation",
)

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
    rb"\[Rank (?P<rank>\d{1,18})\] \((?P<when>after \d+ iterations?)\) memory \(MB\)"
    rb"(?P<fields>(?:\s*\|\s*[a-z][a-z -]*: \d+\.?\d*)+)"
)
_MEMORY_FIELD = re.compile(rb"\|\s*(?P<what>[a-z][a-z -]*): (?P<mb>\d+\.?\d*)")
_THEORETICAL = re.compile(
    rb"Theoretical memory footprints: (?P<fields>(?:,?\s*[a-z][a-z ]*=\s*\d+\.?\d* MB)+)"
)
_THEORETICAL_FIELD = re.compile(rb"(?P<what>[a-z][a-z ]*)=\s*(?P<mb>\d+\.?\d*) MB")
_PARAMETERS = re.compile(
    rb"> number of parameters on \(tensor, pipeline\) model parallel rank "
    rb"\((?P<t>\d{1,18}), (?P<p>\d{1,18})\): (?P<n>\d{1,18})"
)
_TIMER = re.compile(
    rb"\s(?P<name>[A-Za-z][\w/-]*) \.{2,}: \((?P<low>\d+\.?\d*), (?P<high>\d+\.?\d*)\)"
)
_EVENT = re.compile(
    rb"rank (?P<rank>\d{1,18}) (?P<pass>forward|backward) (?P<what>start|finished)"
    rb" tensor (?P<tensor>\d{1,18})"
)
_BILLIONS = re.compile(
    rb"(?P<what>[A-Z][a-z]*umber of parameters in [a-z ]{3,40}) in billions:\s+(?P<n>\d+\.?\d*)"
)
_WORLD = re.compile(rb"using world size: (?P<n>\d{1,18}), data-parallel size: (?P<d>\d{1,18})")
_PADDED = re.compile(
    rb"padded vocab \(size: \d+\) with \d+ dummy tokens \(new size: (?P<n>\d{1,18})\)"
)
_DATETIME = re.compile(rb"\[(?P<event>[a-z][^\]\n]{3,80})\] datetime: (?P<at>[\d:. -]{10,30}\d)")


class MegatronReader:
    """Reads a Megatron-LM log block by block into a Log."""

    dialect = ITERATION
    heads = re.compile(
        rb"-{4,} arguments -{4,}|on \(tensor, pipeline\) model parallel rank|using world size: \d"
        rb"|rank \d+ (?:forward|backward) start tensor"
    )
    understood = re.compile(rb" \.{2,} |validation loss|Theoretical memory")

    def __init__(self, log: Log):
        self._log = log
        self._rows, self._evals = RowsBuilder(), RowsBuilder()
        self._ranks: dict[tuple[int, int], int] = {}
        self._num_overflows = 0

    def read(self, block: Block) -> list[tuple[int, int]]:
        """Read one block; return the spans that were understood."""
        spans = read_records(block, ITERATION, self._rows)
        spans += read_records(block, VALIDATION, self._evals)
        text, log = block.text, self._log
        self._num_overflows += count_overflows(block)
        for match in _ARGUMENTS.finditer(text):
            self._read_arguments(match["body"])
        for match in _PARAMETERS.finditer(text):
            self._ranks[int(match["t"]), int(match["p"])] = int(match["n"])
        for match in _EVENT.finditer(text):
            event = (int(match["rank"]), match["pass"].decode(), match["what"].decode())
            log.trace.append((*event, int(match["tensor"])))
        for match in _TIMER.finditer(text):
            log.timers[match["name"].decode()] = (float(match["low"]), float(match["high"]))
        for match in _BILLIONS.finditer(text):
            facts = log.facts.setdefault("parameters_in_billions", {})
            facts[match["what"].decode().lower()] = match["n"].decode()
        for match in _DATETIME.finditer(text):
            moments = log.facts.setdefault("events", {})
            moments[match["event"].decode(errors="replace")] = match["at"].decode().strip()
        if match := _WORLD.search(text):
            log.facts["hardware"] = {"platform": "gpu", "device_count": int(match["n"])}
        if match := _PADDED.search(text):
            log.facts["vocab_size"] = int(match["n"])
        self._read_memory(block)
        return spans

    def finish(self) -> None:
        """Put the columns into the log, and what follows from the arguments beside them."""
        log = self._log
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

    def _read_arguments(self, body: bytes) -> None:
        """Read every argument: values may be empty, lists, or no literals."""
        pattern = _ARGUMENT if body.count(b"\n") > 1 else _FOLDED
        for match in pattern.finditer(body):
            value = match["value"].decode(errors="replace").strip()
            self._log.arguments[match["name"].decode()] = value

    def _read_memory(self, block: Block) -> None:
        for match in _MEMORY.finditer(block.text):
            for what, mb in _MEMORY_FIELD.findall(match["fields"]):
                device = f"rank {int(match['rank'])}"
                self._memory(match["when"].decode(), device, what, mb, block.line(match.start()))
        for match in _THEORETICAL.finditer(block.text):
            for what, mb in _THEORETICAL_FIELD.findall(match["fields"]):
                line = block.line(match.start())
                self._memory("theoretical", "most loaded rank", what.strip(), mb, line)

    def _memory(self, label: str, device: str, what: bytes, mb: bytes, line: int) -> None:
        num_bytes = float(mb) * _MIB
        found = Memory(label, device, what.decode(), num_bytes, None, None, line)
        self._log.memory.append(found)
