"""What a person sees of generated text."""

import io
from collections.abc import Sequence
from typing import TextIO

from axl_exp.generate.generating import Generated
from axl_exp.report.text import format_seconds, printable

_BOLD, _PLAIN = "\033[1m", "\033[0m"


class Shower:
    """Writes prompts and what follows them: one as it comes, several one after the other.

    On a terminal the prompt is bold, and what a model might say to the terminal is spelled out. In
    a pipe the text is as it is.
    """

    def __init__(self, out: TextIO, prompts: Sequence[str]):
        self._out = out
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="replace")  # An encoding that lacks a character is no error.
        self._prompts = prompts
        self._is_terminal = out.isatty()
        self._has_begun = False

    def on_text(self, row: int, text: str) -> None:
        """Write new text of the only prompt; of several nothing is written before the end."""
        if len(self._prompts) == 1:
            if not self._has_begun:
                self._write_prompt(0)
                self._has_begun = True
            self._write(text)

    def end(self, texts: Sequence[str]) -> None:
        """Write what is left."""
        if len(self._prompts) == 1:
            self._write("\n")
            return
        for row, text in enumerate(texts):
            self._write(f"--- {row + 1}/{len(texts)} ---\n")
            self._write_prompt(row)
            self._write(f"{text}\n")

    def _write_prompt(self, row: int) -> None:
        prompt = self._prompts[row]
        if self._is_terminal:
            self._out.write(f"{_BOLD}{printable(prompt)}{_PLAIN}")
        else:
            self._out.write(prompt)

    def _write(self, text: str) -> None:
        self._out.write(printable(text) if self._is_terminal else text)
        self._out.flush()


def facts_line(generated: Generated) -> str:
    """Return one line: how much came, why it ended, how fast."""
    continuations = generated.continuations
    stops = [continuation.stop for continuation in continuations]
    ends = ", ".join(f"{stops.count(stop)} by {stop}" for stop in dict.fromkeys(stops))
    if len(stops) == 1:
        ends = f"ended by {stops[0]}"
    num_tokens = sum(len(continuation.tokens) for continuation in continuations)
    rate = generated.tokens_per_second
    speed = "" if rate is None else f"; {rate:,.0f} tokens/s"
    return (
        f"{num_tokens:,} new tokens, {ends}{speed} "
        f"(compiled, and prompts read, in {format_seconds(generated.compile_seconds)})"
    )
