"""Between a person's text and the tokens of a run, as its training data has them."""

from collections.abc import Sequence
from typing import Any

# What a decoder writes for bytes that are no whole character (yet).
_INCOMPLETE = "\ufffd"


class PromptText:
    """The vocabulary of a run, and what its data does to text before that."""

    def __init__(self, input_cfg: Any, vocabulary: Any):
        """Args:
        input_cfg: The config of the run's training input.
        vocabulary: Its vocabulary, opened.
        """
        self._vocabulary = vocabulary
        self._newline = _newline_of(input_cfg.source)
        self.eos_id: int = vocabulary.eos_id

    def first_token(self, *, is_imported: bool) -> int:
        """Return what a document begins with: in our data what ends the one before it.

        Weights of others were trained on the vocabulary's own beginning, if it has one.
        """
        bos_id = getattr(self._vocabulary, "bos_id", None)
        return bos_id if is_imported and bos_id is not None else self.eos_id

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return self._vocabulary.encode(
            text if self._newline is None else text.replace("\n", self._newline)
        )

    def after(self, prompt: Sequence[int], new: Sequence[int], *, is_whole: bool) -> str:
        """Return the text of `new`, which follow `prompt`.

        A character of which bytes are missing is left out, unless nothing more comes (`is_whole`).
        The end of the document is no text.
        """
        before = self._vocabulary.decode(prompt)
        text = self._vocabulary.decode([*prompt, *new])[len(before) :]
        if self._newline is not None:
            text = text.replace(self._newline, "\n")
        return text if is_whole else text.rstrip(_INCOMPLETE)

    def stop(self, new: Sequence[int], *, at_context: bool) -> str:
        """Return why a row ended: `eos`, `context` or `max_tokens`."""
        if new and new[-1] == self.eos_id:
            return "eos"
        return "context" if at_context else "max_tokens"


def _newline_of(source: Any) -> str | None:
    """Return what stands for a newline in the texts of a source, or of the first of a mixture."""
    if "components" in source:
        source = next(iter(source.components.values())).source
    return source.replace_newlines_with if "replace_newlines_with" in source else None
