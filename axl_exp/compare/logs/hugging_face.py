"""Hugging Face Trainer's log: dicts as `{'loss': 2.31, 'grad_norm': 1.2, 'epoch': 0.5}`.

A dict tells no step, so the count of the progress bar before it does, or the dict's own place. A
loss that is NaN is printed as 0.0, which only the gradient norm beside it shows.
"""

from __future__ import annotations

import math
import re

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.clock import line_clock
from axl_exp.compare.logs.dialect import MAX_STEP, Dialect, Name
from axl_exp.compare.logs.log import Log
from axl_exp.compare.logs.numbers import NUMBER, quantum, read_number
from axl_exp.compare.logs.rows import RowsBuilder

FORMAT = "Hugging Face Trainer"
_QUOTE = rb"(?:\\{0,2}['\"])"  # A dict inside a JSON string has its quotes escaped.
_NAME = rb"[A-Za-z_][\w/.@()%:+ -]{0,80}"
_FIELD = re.compile(
    _QUOTE + rb"(?P<name>" + _NAME + rb")" + _QUOTE + rb"\s*:\s*"
    rb"(?:" + _QUOTE + rb"?(?P<value>" + NUMBER + rb")" + _QUOTE + rb"?"
    rb"|(?:" + _QUOTE + rb"[^'\"\n]{0,200}" + _QUOTE + rb"|[A-Za-z]\w{0,8}|\[[^\]\n]{0,400}\]))"
    rb"\s*(?:,\s*|(?=\}))"
)  # fmt: skip
STEP = Dialect(
    format=FORMAT,
    anchor=re.compile(
        rb"(?<!aux=)\{(?=" + _QUOTE + rb"(?:loss|eval_[\w/.@-]+|train_loss|train_runtime|grad_norm|"
        rb"learning_rate|num_tokens|rewards?/[\w/]+|completions?/[\w/]+)" + _QUOTE + rb"\s*:)"
    ),
    field=_FIELD,
    names={
        "loss": Name("train/loss"),
        "grad_norm": Name("train/gradient_norm"),
        "learning_rate": Name("train/learning_rate"),
        "epoch": Name("train/epoch"),
        "num_input_tokens_seen": Name("train/num_tokens_seen"),
        "eval_loss": Name("eval/validation/loss"),
    },
    prefix="hugging_face",
    needles=(
        b"loss",
        b"train_runtime",
        b"grad_norm",
        b"learning_rate",
        b"eval_",
        b"num_tokens",
        b"reward",
        b"completion",
    ),
)
# Of tqdm: ` 10%|#     | 100/1000 [00:41<06:09,  2.43it/s]`.
_BAR = re.compile(rb"\|\s*(?P<step>\d{1,15})/\d+\s*\[")
_BAR_WINDOW = 2000
_NEXT_BAR = re.compile(rb"\}\s{0,400}\d+%\|[^|\n]{0,400}" + _BAR.pattern)
_SUMMARY = ("train_runtime", "train_loss", "train_samples_per_second", "train_steps_per_second")


class HuggingFaceReader:
    """Reads a log of transformers' Trainer block by block into a Log."""

    dialects = (STEP,)
    heads = re.compile(rb"\*{5} Running training \*{5}")
    understood = re.compile(rb"Running training|train_runtime|train_loss")

    def __init__(self, log: Log):
        self._log = log
        self._rows, self._evals = RowsBuilder(is_padded=False), RowsBuilder(is_padded=False)
        self._step = self._num_hidden = self._num_counted = self._num_repeated = 0
        self._do_bars_follow: bool | None = None
        self._label: str | None = None
        self._text = b""

    def read(self, block: Block) -> list[tuple[int, int]]:
        """Read one block; return the spans that were understood."""
        spans, end = [], 0
        for anchor in STEP.anchor.finditer(block.text):
            fields, position = [], anchor.end()
            while field := _FIELD.match(block.text, position):
                fields.append(field)
                position = field.end()
            told = {f["name"].decode(): f["value"] for f in fields if f["value"] is not None}
            if not told or block.text[position : position + 1] != b"}":
                continue
            text = block.text[anchor.start() : position]
            if text == self._text:  # Printed twice, or by every rank.
                self._num_repeated += 1
            else:
                self._put(told, block, (anchor.start(), position), since=end)
            self._text, end = text, position + 1
            spans.append((anchor.start(), end))
        return spans

    def finish(self) -> None:
        """Put the columns into the log."""
        log = self._log
        log.rows, log.evals = self._rows.finish(), self._evals.finish()
        if self._num_counted:
            log.notes.append(
                f"{self._num_counted:,} of its records tell no step: they are counted one by one"
            )
        if self._num_repeated:
            log.notes.append(f"{self._num_repeated:,} of its records stand twice")
        if self._num_hidden:
            log.notes.append(
                f"{self._num_hidden:,} losses of 0 beside a gradient norm of NaN are read as NaN: "
                "that is how it prints them"
            )

    def _put(
        self, told: dict[str, bytes], block: Block, span: tuple[int, int], *, since: int
    ) -> None:
        start, end = span
        if "train_runtime" in told:
            summary = {key: read_number(told[key]) for key in _SUMMARY if key in told}
            self._log.results["summary"] = summary
            self._log.has_ended = True
            return
        is_eval = "loss" not in told and any(name.startswith("eval_") for name in told)
        line = block.line(start)
        if is_eval and told.get("step", b"").isdigit():
            self._step = min(int(told["step"][:17]), MAX_STEP)
        if not is_eval:
            bars = _BAR.findall(block.text, max(since, start - _BAR_WINDOW), start)
            bar = _NEXT_BAR.match(block.text, end)
            if self._do_bars_follow is None:  # Where the first has none before it, none has.
                self._do_bars_follow = bar is not None and not bars
            if self._do_bars_follow and bar is not None:
                bars = [bar["step"]]
            self._advance(told.get("step", b""), bars, block.label(line))
        step = self._step
        line_start = block.text.rfind(b"\n", 0, start) + 1
        time, _ = line_clock(block.text[max(line_start, start - 200) : start])
        rows = self._evals if is_eval else self._rows
        row = rows.add(step, line=line, time=time, source=block.label(line))
        norm = told.get("grad_norm")
        if (
            norm is not None
            and math.isnan(read_number(norm))
            and read_number(told.get("loss", b"1")) == 0
        ):
            told = told | {"loss": b"nan"}
            self._num_hidden += 1
        for theirs, value in told.items():
            name = STEP.name(theirs.encode())
            if theirs != "step":
                rows.put(row, name.key, read_number(value), quantum=quantum(value))

    def _advance(self, told: bytes, bars: list[bytes], label: str) -> None:
        """Find the step of a record: as it says, as the bar before it does, or the next one."""
        is_same_step = self._label not in (None, label)  # Another rank tells it too.
        self._label = label
        if told.isdigit() or bars:
            self._step = min(int((told if told.isdigit() else bars[-1])[:17]), MAX_STEP)
        elif not is_same_step:
            self._step += 1
            self._num_counted += 1
