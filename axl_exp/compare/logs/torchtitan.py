"""torchtitan's log: step lines with colours, thousands separators and `mfu: N/A`."""

from __future__ import annotations

import re

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.clock import line_clock
from axl_exp.compare.logs.dialect import Dialect, Name
from axl_exp.compare.logs.log import Log, Memory, Wait
from axl_exp.compare.logs.numbers import NUMBER, read_number
from axl_exp.compare.logs.records import read_records
from axl_exp.compare.logs.rows import RowsBuilder

FORMAT = "torchtitan"
_GIB = 2**30

# Forks print names of several words, leave the space behind a percentage out, and put a heading
# before some fields.
_FIELD = re.compile(
    rb"(?:[ \t,|]{1,8}|(?<=%))(?!step:)(?:\w{1,20}:[ ](?=\w+=))?"
    rb"(?P<name>[a-zA-Z][\w/()%.-]{0,40}(?:[ ][\w/()%.-]{1,20}){0,2})[:=]\s*"
    rb"(?:(?P<value>" + NUMBER + rb")(?:%|(?P<unit>[KMGT]i?B|ms|s|[kKM])?(?![\w:]))"
    rb"|N/A|n/a|None)(?:\((?P<memory_percent>" + NUMBER + rb")%\))?"
)
_NO_LOSS = -1.0
_NAMES = {
    "loss": Name("train/loss"),
    "global_avg_loss": Name("train/loss"),
    "global_max_loss": Name("train/max_loss"),
    "grad_norm": Name("train/gradient_norm"),
    "lr": Name("train/learning_rate"),
    "memory": Name("perf/memory_gib"),
    "memory_percent": Name("perf/memory_percent"),
    "memory/max_reserved(GiB)": Name("perf/memory_gib"),
    "memory/max_reserved(%)": Name("perf/memory_percent"),
    "tps": Name("printed/tokens_per_second_per_device"),
    "wps": Name("printed/tokens_per_second_per_device"),
    "tflops": Name("perf/tflops_per_device"),
    "est_tflops": Name("perf/tflops_per_device"),
    "mfu": Name("perf/mfu", 100),
    "est_mfu": Name("perf/mfu", 100),
    "elapsed_time_per_step": Name("printed/seconds"),
}
STEP = Dialect(
    format=FORMAT,
    anchor=re.compile(
        rb"(?<!completed )(?<!deactivation )(?<!validate )(?<!eval )(?<![\w/-])step:"
        rb"\s*(?P<step>\d+)(?=[ \t,|]{1,8}[a-zA-Z][\w/]*:\s)"
    ),
    field=_FIELD,
    names=_NAMES,
    prefix="torchtitan",
    needles=(b"step:",),
    clock=line_clock,
)
VALIDATE = Dialect(
    format=FORMAT,
    anchor=re.compile(rb"(?:validate|eval) step:\s*(?P<step>\d+)"),
    field=_FIELD,
    names={"loss": Name("eval/validation/loss")},
    prefix="eval/validation",
    clock=line_clock,
)
_MODEL_SIZE = re.compile(rb"size: (?P<n>[\d,]{4,}) total parameters")
_PEAK = re.compile(rb"Peak FLOPS used for computing MFU: (?P<peak>" + NUMBER + rb")")
_DEVICE = re.compile(
    rb"(?:CUDA|GPU|XPU) capacity: (?P<kind>[^\n]{3,60}?) with (?P<gib>[\d.]+) ?GiB"
)
_MODEL_MEMORY = re.compile(
    rb"(?:CUDA|GPU|XPU) memory usage for model: (?P<gib>\d+\.?\d*)GiB\((?P<percent>\d+\.?\d*)%\)"
)
_SAVED = re.compile(
    rb"Finished saving the checkpoint[^\n]{0,60}?\bin (?P<seconds>\d+\.?\d*) seconds"
)
_MESH = re.compile(rb"Building \d-D device mesh with (?P<axes>\[[^\]\n]*\], \[[^\]\n]*\])")


class TorchtitanReader:
    """Reads a torchtitan log block by block into a Log."""

    dialects = (STEP,)
    heads = re.compile(rb"\[titan\]|torchtitan|Starting job: ")
    understood = re.compile(rb"validate step:|Peak FLOPS")

    def __init__(self, log: Log):
        self._log = log
        self._rows, self._evals = RowsBuilder(), RowsBuilder()

    def read(self, block: Block) -> list[tuple[int, int]]:
        """Read one block; return the spans that were understood."""
        spans = read_records(block, STEP, rows=self._rows)
        spans += read_records(block, VALIDATE, rows=self._evals)
        if block.is_first:
            self._read_facts(block)
        for match in _SAVED.finditer(block.text):
            seconds, line = float(match["seconds"]), block.line(match.start())
            self._log.waits.append(Wait("blocking save", seconds, line))
        self._log.has_ended |= b"Training completed" in block.text
        return spans

    def finish(self) -> None:
        """Put the columns into the log."""
        log = self._log
        log.rows, log.evals = self._rows.finish(), self._evals.finish()
        losses = log.rows.cells.get("train/loss")
        if losses and all((piece == _NO_LOSS).all() for piece in losses.values.pieces()):
            del log.rows.cells["train/loss"]
            log.notes.append(
                "every loss is -1: the rank that printed this is not of the last pipeline stage"
            )
        if (cells := log.rows.cells.get("perf/memory_gib")) is not None:
            num_bytes = max(float(piece.max()) for piece in cells.values.pieces()) * _GIB
            memory = Memory("training", "this rank", "max reserved", num_bytes, None, None, 0)
            log.memory.append(memory)

    def _read_facts(self, block: Block) -> None:
        facts, text = self._log.facts, block.text
        if match := _MODEL_SIZE.search(text):
            facts["num_parameters"] = match["n"].decode()
        if match := _DEVICE.search(text):
            kind = match["kind"].decode(errors="replace").strip()
            facts["hardware"] = {"platform": "gpu", "device_kind": kind}
        if match := _MODEL_MEMORY.search(text):
            num_bytes, line = float(match["gib"]) * _GIB, block.line(match.start())
            percent = float(match["percent"])
            memory = Memory("model", "this rank", "in use", num_bytes, None, percent, line)
            self._log.memory.append(memory)
        if match := _PEAK.search(text):
            facts["peak_flops_per_second"] = read_number(match["peak"])
        if match := _MESH.search(text):
            facts["mesh"] = match["axes"].decode(errors="replace")
