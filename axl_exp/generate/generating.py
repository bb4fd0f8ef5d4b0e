"""What the command does: prompts in, text out as it comes."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from axl_exp.errors import UserError
from axl_exp.generate.decoding import Decoder, Decoding
from axl_exp.generate.placement import place
from axl_exp.generate.prompt_text import PromptText
from axl_exp.generate.sampling import Sampling
from axl_exp.train.checkpoint_params import CheckpointParams
from axl_exp.train.devices import describe_devices
from axl_exp.train.state import Params
from axl_exp.trained_run import TrainedRun

# New tokens of each row between two looks at them: often enough to read along.
_TOKENS_AT_A_TIME = 8


class PromptError(UserError):
    """A prompt that nothing can follow."""


@dataclasses.dataclass(frozen=True)
class Continuation:
    """What came of a prompt.

    Attributes:
        prompt: The prompt.
        text: What follows it, without the end of the document.
        tokens: The new tokens, the one that ends the document among them.
        stop: Why it ends: `eos`, `max_tokens`, or `context` where rows are no longer.
    """

    prompt: str
    text: str
    tokens: tuple[int, ...]
    stop: str


@dataclasses.dataclass(frozen=True)
class Generated:
    """What came of all prompts.

    Attributes:
        step: The checkpoint's step.
        continuations: In the order of the prompts.
        tokens_per_second: New tokens of all rows over the time after the first of each; None where
            one was all.
        compile_seconds: What compiling took, and taking the prompts in.
    """

    step: int
    continuations: tuple[Continuation, ...]
    tokens_per_second: float | None
    compile_seconds: float


def generate(
    run: TrainedRun,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    sampling: Sampling,
    step: int | None = None,
    ema: bool = False,
    say: Callable[[str], None],
    on_text: Callable[[int, str], None] = lambda row, text: None,
) -> Generated:
    """Go on with all prompts at once, on all devices that JAX shows.

    On a CPU the numbers are float32, elsewhere of the run's `train_dtype`.

    Args:
        run: The run.
        prompts: Texts that are not empty.
        max_tokens: The most new tokens of each.
        sampling: How they are chosen.
        step: The checkpoint; None for the newest that is whole.
        ema: Use the running means of the parameters.
        say: Told what is used.
        on_text: Told every new piece of text and the number of its prompt.

    Raises:
        PromptError: A prompt is empty or leaves no room in the context.
        CheckpointError: The checkpoint is missing or damaged.
        DataError: The vocabulary is not there.
        ShardingError: The model does not divide over the devices.
    """
    text = PromptText(run.config.input, run.open_vocabulary())
    params_reader = run.open_params(step=step, ema=ema)
    start_id = text.first_token(is_imported=params_reader.is_imported)
    context = run.config.input.max_sequence_length
    rows_of_tokens = [
        _tokens(text, start_id, prompt, number=i, context=context)
        for i, prompt in enumerate(prompts, start=1)
    ]
    limits = [min(len(tokens) + max_tokens, context) for tokens in rows_of_tokens]
    mesh = place(run.model, jax.devices())
    is_cpu = jax.default_backend() == "cpu"
    dtype = jnp.dtype(jnp.float32 if is_cpu else run.config.train_dtype)
    say(f"step {params_reader.step} of {run.run_dir.path}, {dtype.name} on {_named(mesh)}")
    params = _load(params_reader, dtype, run.model.param_shardings(mesh))
    decoder = Decoder(run.model, mesh=mesh, sampling=sampling, eos_id=text.eos_id)

    started = time.perf_counter()
    rows = decoder.start(params, rows_of_tokens, limits)
    rows = decoder.go_on(params, rows, limits, num_steps=0)  # Compiles, and does nothing else.
    reader = _Reader(text, rows_of_tokens, on_text)
    reader.read(rows)
    before = reader.num_new
    compiled = time.perf_counter()
    while not np.all(rows.is_done):
        rows = decoder.go_on(params, rows, limits, num_steps=_TOKENS_AT_A_TIME)
        reader.read(rows)
    seconds = time.perf_counter() - compiled
    continuations = tuple(
        Continuation(
            prompt,
            reader.texts[row],
            tuple(new),
            text.stop(new, at_context=limits[row] == context and max_tokens > len(new)),
        )
        for row, (prompt, new) in enumerate(zip(prompts, reader.new_tokens, strict=True))
    )
    num_steady = reader.num_new - before
    rate = num_steady / seconds if num_steady else None
    return Generated(params_reader.step, continuations, rate, compiled - started)


def _tokens(
    text: PromptText, start_id: int, prompt: str, *, number: int, context: int
) -> list[int]:
    if not prompt:
        raise PromptError(f"prompt {number} is empty; begin a text with --prompt=...")
    tokens = [start_id, *text.encode(prompt)]
    if len(tokens) >= context:
        raise PromptError(
            f"prompt {number} has {len(tokens)} tokens with the one that begins a document; the "
            f"model was trained on rows of {context} (input.max_sequence_length), which leaves "
            "none for an answer. Shorten it."
        )
    return tokens


def _named(mesh: Mesh) -> str:
    devices = mesh.devices.ravel().tolist()
    if len(devices) == 1:
        return devices[0].device_kind
    sizes = (f"{axis}={size}" for axis, size in mesh.shape.items() if size > 1)
    return ", ".join([describe_devices(devices), *sizes])


def _load(reader: CheckpointParams, dtype: jnp.dtype, shardings: Params) -> Params:
    """Return the parameters on the devices, in `dtype`; one is on the host at a time."""
    of_path = nnx.traversals.flatten_mapping(shardings, sep="/")
    flat: dict[str, Any] = {
        path: jax.device_put(reader.read([path])[path].astype(dtype), of_path[path])
        for path in reader.shapes
    }
    return nnx.traversals.unflatten_mapping(flat, sep="/")


class _Reader:
    """Turns the tokens that have come so far into text, and hands on what is new of it."""

    def __init__(
        self,
        text: PromptText,
        prompts: Sequence[Sequence[int]],
        on_text: Callable[[int, str], None],
    ):
        self._text = text
        self._prompts = prompts
        self._on_text = on_text
        self.new_tokens: list[list[int]] = [[] for _ in prompts]
        self.texts = ["" for _ in prompts]

    @property
    def num_new(self) -> int:
        return sum(map(len, self.new_tokens))

    def read(self, rows: Decoding) -> None:
        tokens, lengths, is_done = (
            np.asarray(x) for x in (rows.tokens, rows.lengths, rows.is_done)
        )
        for row, prompt in enumerate(self._prompts):
            new = tokens[row, len(prompt) : lengths[row]].tolist()
            if len(new) == len(self.new_tokens[row]):
                continue
            self.new_tokens[row] = new
            whole = self._text.after(prompt, new, is_whole=bool(is_done[row]))
            self._on_text(row, whole[len(self.texts[row]) :])
            self.texts[row] = whole
