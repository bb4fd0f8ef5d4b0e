"""MaxText's log: step lines, evaluations, waits, memory, parameters, versions.

Its printed `seconds` are the time between two dispatches by the host: checkpoints, evaluations and
metric flushes of an iteration land on the next step. They are kept as `printed/...`; what the
device needed comes from the timestamps (`step_time.py`).
"""

from __future__ import annotations

import re

from axl_exp.compare.logs.block import Block
from axl_exp.compare.logs.clock import absl_clock
from axl_exp.compare.logs.dialect import Dialect, Name
from axl_exp.compare.logs.log import Log, Memory, Wait
from axl_exp.compare.logs.numbers import NUMBER
from axl_exp.compare.logs.records import read_records
from axl_exp.compare.logs.rows import RowsBuilder

FORMAT = "MaxText"
_GIB = 2**30  # What it prints as GB: a v6e of 32 GiB shows 31.25 of them.

_FIELD = re.compile(
    rb"\s*,\s+(?P<name>[A-Za-z][\w/ .()-]{0,60}?):?\s*[:=]\s*(?P<value>" + NUMBER + rb")"
)
TRAIN = Dialect(
    format=FORMAT,
    anchor=re.compile(
        rb"(?<![\w/])completed (?P<profile>profiler activation/deactivation )?step: (?P<step>\d+)"
        rb"(?=\s*,|\s|$)"
    ),
    field=_FIELD,
    names={
        "seconds": Name("printed/seconds"),
        "TFLOP/s/device": Name("printed/tflops_per_device"),
        "TFLOP/s": Name("printed/tflops_per_device"),  # Of 2023; of one device too.
        "Tokens/s/device": Name("printed/tokens_per_second_per_device"),
        "total_weights": Name("train/num_targets"),
        "loss": Name("train/loss"),
        "lm_loss": Name("train/lm_loss"),
        "perplexity": Name("train/perplexity"),
        "moe_lb_loss": Name("train/moe_load_balance_loss"),
        "main_model_loss": Name("train/main_model_loss"),
        "mtp_loss": Name("train/mtp_loss"),
        "grad_norm": Name("train/gradient_norm"),
        "learning_rate": Name("train/learning_rate"),
        "lr": Name("train/learning_rate"),
        "param_norm": Name("train/params_norm"),
        "live slice count": Name("maxtext/live_slice_count"),
    },
    prefix="maxtext",
    needles=(b" step: ",),
    clock=absl_clock,
)
EVAL = Dialect(
    format=FORMAT,
    anchor=re.compile(
        rb"(?<!\w)(?:Completed eval after train step|eval metrics after step):? (?P<step>\d+)"
    ),
    field=_FIELD,
    names={
        "loss": Name("eval/eval/loss"),
        "perplexity": Name("eval/eval/perplexity"),
        "total_weights": Name("eval/eval/num_targets"),
    },
    prefix="eval/eval",
    needles=(b"Completed eval after", b"eval metrics after"),
    clock=absl_clock,
)

_VERSION = re.compile(rb"System Information: (?P<what>Jaxlib|Jax) Version: (?P<version>[\w.+-]+)")
_BACKEND = re.compile(rb"System Information: Jax Backend: ")
_BACKEND_BYTES = 400
_KIND = re.compile(rb"TPU v\w+(?: lite)?|NVIDIA [\w -]{2,40}|\b(?:cuda|rocm|cpu)\b")
_BUILT = re.compile(rb"Built on (?P<built>[^\n]{5,60}?cl/\d+|[^\n]{5,40})")
_ORBAX = re.compile(rb"orbax-checkpoint version: (?P<version>[\w.+-]+)")
_DEVICES = re.compile(
    rb"Num_devices: (?P<n>\d{1,18}), "
    rb"shape (?P<shape>\([\d, ]*\)|\[[^\]\n]*\]|\{[^}\n]*\})"
)
_AXIS = re.compile(
    rb"(?:^|\n|\. )(?P<axis>data|fsdp|fsdp_transpose|sequence|context|tensor|"
    rb"tensor_transpose|tensor_sequence|expert|autoregressive|stage|diloco|"
    rb"context_autoregressive|attn_dp|model): (?P<size>\d{1,18})(?=\s)"
)
_PARAMETERS = re.compile(rb"number parameters: (?P<n>\d+\.?\d*) (?P<unit>billion|million)")
_PROCESS = re.compile(rb"\[process=(?P<n>\d{1,18})\]|process=(?P<m>\d{1,18}),\(")
_TOTAL_MEMORY = re.compile(
    rb"(?P<label>Total (?:estimated )?memory size): (?P<total>\d+\.?\d*) GB"
    rb"(?P<parts>(?:, [A-Z][\w ]{2,30} size: \d+\.?\d* GB)*)"
)
_PART = re.compile(rb", (?P<what>[A-Z][\w ]{2,30} size): (?P<gb>\d+\.?\d*) GB")
_MEMSTATS = re.compile(
    rb"Using \(GB\) (?P<used>\d+\.?\d*) / (?P<limit>\d+\.?\d*) \((?P<percent>\d+\.?\d*)%\)"
    rb"(?: on (?P<device>\S+)| +--> +Available)"
)
_MEMORY_LABEL = re.compile(
    rb"(?:Memstats|RAMstats): (?P<label>[^\n:]{1,80}):"
    rb"|Memstats unavailable, error: (?P<error>[^\n]{1,200})"
)
_FLOPS = re.compile(
    rb"[Tt]otal TFLOPs(?:: | will be )(?P<tflops>\d+\.?\d*),?\s+split as "
    rb"(?P<weights>\d+\.?\d*)% learnable weight flops and (?P<attention>\d+\.?\d*)% attention flops"
)
_CONFIG = re.compile(rb"Config param (?P<key>[\w.]{1,80}): ?(?P<value>[^\n]*)")
# NNX tells no logical axes.
_PARAMETER = re.compile(
    rb"\]\s+(?P<path>[\w./-]+/[\w./-]+)\s+Shape:\s+(?P<shape>\w+\[[\d,]*\]|[^\n]{1,120}?)"
    rb"(?:\s+Logical:\s+(?P<logical>P\([^\n]*?\)|[^\n]{0,200}?))?"
    rb"\s+Physical:\s+(?P<physical>\([^\n]*?\)(?=\s|$)|[^\n]{0,200})"
)
# Text in front of each wait -> what follows it, and what was waited for.
_WAITS = {
    b"Waited ": (
        re.compile(
            rb"(?P<s>\d+\.?\d*(?:[eE][-+]?\d+)?) seconds for step (?P<step>\d{1,18}) "
            rb"to finish before starting"
        ),
        "step",
    ),
    b"Saving checkpoint at step ": (re.compile(rb"(?P<step>\d{1,18})"), ""),
    b"previous save to complete took ": (re.compile(rb"(?P<s>\d+\.?\d*) seconds"), "previous save"),
    b"Finished blocking save": (
        re.compile(rb"(?:\. Time taken: | in )(?P<s>\d+\.?\d*) ?s"),
        "blocking save",
    ),
    b"Completed eval step: ": (re.compile(rb"\d+, seconds: (?P<s>\d+\.?\d*)"), "eval"),
}
_END = re.compile(rb"XPK End:|Total TFLOPs:|EXIT_CODE=0\b")
# What an activation is split over: `name Logical: bfloat16[8,128].... ('batch', 'embed').`
_MAX_LAYOUT = 600
_ACTIVATION = re.compile(
    rb"\] (?P<name>[A-Za-z][\w/ .-]{0,80}?) (?P<what>Logical|Physical): "
    rb"(?P<shape>\w+\[[\d,]*\])\.*\s(?P<axes>\((?:[^()\n]|\([^()\n]*\)){0,300}\)|None)\."
)


class MaxTextReader:
    """Reads a MaxText log block by block into a Log."""

    dialects = (TRAIN,)
    heads = re.compile(
        rb"System Information: Jax|XPK Start:|Num_devices: \d|number parameters: \d+\.?\d* \w"
        rb"|Memstats: "
        rb"|Config param \w+:|\bmax_utils\.py:\d|MaxText"
    )
    understood = re.compile(rb"running loss|Total TFLOPs|Config param")

    def __init__(self, log: Log):
        self._log = log
        self._rows, self._evals = RowsBuilder(), RowsBuilder()
        self._memory_label = ""
        self._save_step: int | None = None
        self._processes: set[int] = set()

    def read(self, block: Block) -> list[tuple[int, int]]:
        """Read one block; return the spans of the step records in it."""
        spans = read_records(block, TRAIN, rows=self._rows)
        if spans == [(0, len(block.text))]:
            return spans
        spans = [*spans, *read_records(block, EVAL, rows=self._evals)]
        self._read_waits(block)
        self._read_memory(block)
        if block.is_first or block.is_last:
            self._read_facts(block)
        return spans

    def finish(self) -> None:
        """Put the columns into the log."""
        log = self._log
        log.rows, log.evals = self._rows.finish(), self._evals.finish()
        if len(self._processes) == 1:
            log.facts["process_index"] = min(self._processes)

    def _read_waits(self, block: Block) -> None:
        found = []
        for needle, (pattern, what) in _WAITS.items():
            for offset in block.find_all(needle):
                if match := pattern.match(block.text, offset + len(needle)):
                    found.append((offset, what, match.groupdict()))
        for offset, what, told in sorted(found, key=lambda wait: wait[0]):
            if told.get("step"):
                self._save_step = int(told["step"])
            if what:
                save_step = None if what == "eval" else self._save_step
                wait = Wait(what, float(told["s"]), block.line(offset), save_step)
                self._log.waits.append(wait)

    def _read_memory(self, block: Block) -> None:
        log, text = self._log, block.text
        labels = [
            match
            for offset in sorted([*block.find_all(b"Memstats"), *block.find_all(b"RAMstats")])
            if (match := _MEMORY_LABEL.match(text, offset))
        ]
        for error in filter(None, (match["error"] for match in labels)):
            log.notes.append(f"memory unavailable: {error.decode(errors='replace')}")
        for offset in block.find_all(b"Using (GB)"):
            match = _MEMSTATS.match(text, offset)
            if match is None:
                continue
            while labels and labels[0].start() < offset:
                label = labels.pop(0)["label"] or b""
                self._memory_label = label.decode(errors="replace").strip()
            log.memory.append(
                Memory(
                    label=self._memory_label,
                    device=(match["device"] or b"host").decode(errors="replace"),
                    quantity="in use" if match["device"] else "in use of the host",
                    num_bytes=float(match["used"]) * _GIB,
                    limit_bytes=float(match["limit"]) * _GIB,
                    percent=float(match["percent"]),
                    line=block.line(offset),
                )
            )

    def _read_facts(self, block: Block) -> None:
        text, log = block.text, self._log
        facts = log.facts
        versions = facts.setdefault("versions", {})
        for match in _VERSION.finditer(text):
            versions["jax" if match["what"] == b"Jax" else "jaxlib"] = match["version"].decode()
        if match := _ORBAX.search(text):
            versions["orbax-checkpoint"] = match["version"].decode()
        hardware = facts.setdefault("hardware", {})
        if match := _BACKEND.search(text):
            told = text[match.end() : match.end() + _BACKEND_BYTES]
            if kind := _KIND.search(told):
                hardware.update(_device_kind(kind[0]))
            if built := _BUILT.search(told):
                versions["libtpu"] = "built " + built["built"].decode(errors="replace").strip()
        if match := _DEVICES.search(text):
            hardware["device_count"] = int(match["n"])
            facts["mesh"] = _mesh_told(text, match)
        if match := _PARAMETERS.search(text):
            facts["num_parameters"] = f"{match['n'].decode()} {match['unit'].decode()}"
        for match in _PROCESS.finditer(text, 0, _FACTS_BYTES):
            self._processes.add(int(match["n"] or match["m"]))
        if match := _FLOPS.search(text):
            log.facts["tflops_per_step"] = float(match["tflops"])
            log.facts["flop_formula"] = "MaxText's own"
            parts = float(match["weights"]) + float(match["attention"])
            if abs(parts - 100) > 0.02:
                log.notes.append(f"its FLOPs split sums to {parts:.2f} %, not to 100 %")
        for match in _CONFIG.finditer(text):
            log.arguments[match["key"].decode()] = match["value"].decode(errors="replace").strip()
        for match in _PARAMETER.finditer(text):
            told = {
                fact: (match[fact] or b"").decode(errors="replace").strip()
                for fact in ("shape", "logical", "physical")
            }
            log.parameters[match["path"].decode()] = told
        begin, end = text.find(b" Logical: "), text.rfind(b" Physical: ") + _MAX_LAYOUT
        for match in _ACTIVATION.finditer(text, max(0, begin - 100), end) if begin >= 0 else ():
            layout = log.activations.setdefault(match["name"].decode(), {})
            layout["shape"] = match["shape"].decode()
            layout[match["what"].decode().lower()] = match["axes"].decode(errors="replace")
        self._read_total_memory(block)
        log.has_ended = log.has_ended or _END.search(text) is not None

    def _read_total_memory(self, block: Block) -> None:
        for match in _TOTAL_MEMORY.finditer(block.text):
            parts = [(match["label"], match["total"]), *_PART.findall(match["parts"])]
            for what, gb in parts:
                self._log.memory.append(
                    Memory(
                        label="XLA's estimate of the step",
                        device="each device",
                        quantity=what.decode().lower(),
                        num_bytes=float(gb) * _GIB,
                        limit_bytes=None,
                        percent=None,
                        line=block.line(match.start()),
                    )
                )


_FACTS_BYTES = 1 << 24


def _device_kind(text: bytes) -> dict[str, str]:
    kind = text.decode(errors="replace").strip()
    if kind in ("cuda", "rocm", "cpu"):
        return {"platform": "cpu" if kind == "cpu" else "gpu"}
    return {"device_kind": kind, "platform": "tpu" if kind.startswith("TPU") else "gpu"}


def _mesh_told(text: bytes, devices: re.Match[bytes]) -> str:
    axes = {m["axis"].decode(): int(m["size"]) for m in _AXIS.finditer(text)}
    told = ", ".join(f"{axis}: {size}" for axis, size in axes.items())
    return told or devices["shape"].decode(errors="replace")
