"""The step lines of Megatron-LM, of its versions and forks: iterations and evaluations."""

from __future__ import annotations

import re

from axl_exp.compare.logs.clock import stamp_clock
from axl_exp.compare.logs.dialect import Dialect, Name
from axl_exp.compare.logs.numbers import NUMBER

FORMAT = "Megatron-LM"
# Between two bars: a number under its name, with what a fork adds to it (a unit, a mean over the
# steps before), a number whose unit is its name, or text. The last one may end at the line's end.
_GIB = rb"\s*Gi?B/"
_FIELD = re.compile(
    rb"[ \t]*(?!samples/sec:[^|\n]*\|\s*iteration)(?!(?:Total n|N)umber of parameters )(?:"
    rb"(?:hip|rocm) mem usage/free/total/usage_ratio:\s*(?P<memory_gib>" + NUMBER + rb")" + _GIB
    + rb"(?P<memory_free_gib>" + NUMBER + rb")" + _GIB + rb"(?P<memory_total_gib>" + NUMBER + rb")"
    + _GIB + rb"(?P<memory_percent>" + NUMBER + rb")%"
    rb"|(?P<tflops_per_device>" + NUMBER + rb")\s*(?:MODEL_)?TFLOP/s/GPU"
    rb"|(?P<name>[A-Za-z\[][\w /().%\[\]-]{0,60}?)[ \t]*[:=][ \t]*(?P<value>" + NUMBER
    + rb")[ \t]*(?P<unit>[KMGTP](?:FLOPS|i?B)|[mu]?s|[kKMB]|[A-Za-z%/]{1,14}(?=[ \t]*[|\n]))?"
    rb"(?![\w.:-])[^|\n]{0,80}?"
    rb"|[A-Za-z][\w /().%-]{0,60}:[^|\n\[\]]{0,80}?"
    rb")[ \t]*(?:\||(?=\n|[ \t]iteration\s))"
)  # fmt: skip
ITERATION = Dialect(
    format=FORMAT,
    anchor=re.compile(
        rb"(?<![\w-])(?<!\d, )iteration(?:\s+|\s*[:=]\s*)(?P<step>\d+)\s*/\s*\d+\s*\|"
    ),
    field=_FIELD,
    names={
        "elapsed time per iteration (ms)": Name("printed/seconds", 1000),
        "elapsed time per iteration ms": Name("printed/seconds", 1000),
        "elapsed time per iteration (s)": Name("printed/seconds"),
        "elapsed time per iteration": Name("printed/seconds", 1000),
        "throughput per GPU (TFLOP/s/GPU)": Name("perf/tflops_per_device"),
        "compute per GPU (TFLOP/s/GPU)": Name("perf/tflops_per_device"),
        "tflops_per_device": Name("perf/tflops_per_device"),
        "approx flops per GPU": Name("perf/tflops_per_device"),
        "model TFLOPs": Name("perf/tflops_per_device"),
        "TFLOPs": Name("perf/tflops_per_device"),
        "[LM]TFLOPs": Name("perf/tflops_per_device"),
        "[LM]-TFLOPs": Name("perf/tflops_per_device"),
        "tflops": Name("perf/tflops_per_device"),
        "throughput (tokens/s)": Name("perf/tokens_per_second"),
        "throughput (token/sec)": Name("perf/tokens_per_second"),
        "tokens per gpu per second (tgs)": Name("printed/tokens_per_second_per_device"),
        "tokens per gpu per second(tgs)": Name("printed/tokens_per_second_per_device"),
        "tokens per gpu per second tgs": Name("printed/tokens_per_second_per_device"),
        "throughput (token/sec/GPU)": Name("printed/tokens_per_second_per_device"),
        "tokens per GPU (tokens/s/GPU)": Name("printed/tokens_per_second_per_device"),
        "tokens/s/GPU inst/harmonic mean": Name("printed/tokens_per_second_per_device"),
        "tokens/sec/gpu": Name("printed/tokens_per_second_per_device"),
        "samples per second": Name("perf/samples_per_second"),
        "samples_per_second": Name("perf/samples_per_second"),
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
        "gloabl batch size": Name("train/global_batch_size"),  # As one fork spells it.
        "consumed samples": Name("train/consumed_samples"),
        "consumed tokens": Name("train/num_tokens_seen"),
        "skipped samples": Name("train/skipped_samples"),
        "number of skipped iterations": Name("train/num_skipped_iterations"),
        "number of nan iterations": Name("train/num_nan_iterations"),
        "load_balancing_loss": Name("train/moe_load_balance_loss"),
        "energy per GPU (J/iter/GPU)": Name("perf/joules_per_step_per_device"),
        "power per GPU (W/GPU)": Name("perf/watts_per_device"),
        "mem usages": Name("perf/memory_percent", 0.01),
        "memory(GiB)": Name("perf/memory_gib"),
        "memory_gib": Name("perf/memory_gib"),
        "memory_percent": Name("perf/memory_percent"),
        "memory_free_gib": Name("perf/memory_free_gib"),
        "memory_total_gib": Name("perf/memory_total_gib"),
    },
    prefix="megatron",
    needles=(b"iteration",),
    clock=stamp_clock,
    # GPT-NeoX tells its speed in front of the record, Megatron-Bridge on a line of its own.
    before=re.compile(
        rb"(?:samples/sec:\s*(?P<samples_per_second>" + NUMBER + rb")\s*\|\s*"
        rb"|GPU utilization:\s*(?P<tflops_per_device>" + NUMBER + rb")\s*MODEL_TFLOP/s/GPU[^|]*)\Z"
    ),
)
_EVAL_NAMES = {
    "lm loss value": "loss",
    "lm loss PPL": "perplexity",
    "lm_loss_ppl value": "perplexity",
    "lm loss": "loss",
    "PPL": "perplexity",
}


def _evaluation(anchor: bytes, name: str) -> Dialect:
    return Dialect(
        format=FORMAT,
        anchor=re.compile(anchor),
        field=_FIELD,
        names={theirs: Name(f"eval/{name}/{ours}") for theirs, ours in _EVAL_NAMES.items()},
        prefix=f"eval/{name}",
        needles=(b" loss at ", b" results at "),
    )


# The last evaluation tells no step.
_AT = rb" (?:loss|results) at (?:iteration[\s=:]+(?P<step>\d+)|the end of training)[^|\n]{0,60}\|"
VALIDATION = _evaluation(rb"\bvalidation(?![^|\n]{0,90} test)" + _AT, "validation")
TEST = _evaluation(rb"\b(?:test|validation(?=[^|\n]{0,90} test))" + _AT, "test")
