"""What is in a tokenizer.json, the format of Hugging Face's `tokenizers`."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from axl_exp.data.errors import DataError

try:
    import tokenizers
except ImportError:  # An extra of this package.
    tokenizers = None

# The file does not say which of its special tokens ends a document. These do in the published
# vocabularies: Llama 3, GPT-2 and tiktoken's, OLMo and Qwen, Llama 1 and 2 and Mistral, Gemma.
_EOS_NAMES = ("<|end_of_text|>", "<|endoftext|>", "</s>", "<eos>")
_BOS_NAMES = ("<|begin_of_text|>", "<s>", "<bos>")

# Sentencepiece's mark of a space, which tokenizer.json files made from such models keep.
_SPACE_MARK = "\u2581"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class HuggingFaceTokenizer:
    """A tokenizer.json.

    Attributes:
        size: One more than the highest id.
        num_bytes: int32 [size], UTF-8 bytes of text that each id stands for; 0 for special tokens
            and for ids that nothing has. Of a vocabulary that does not keep spaces, the bytes of
            the tokens' own letters.
    """

    def __init__(self, content: bytes, *, path: str):
        """Load the bytes of the file at `path`.

        Raises:
            DataError: The package `tokenizers` is not installed, or they are no tokenizer.json.
        """
        if tokenizers is None:
            raise DataError(
                f"{path} is read by the package tokenizers, which is not installed: "
                "pip install tokenizers (or axl_exp[tokenizers])"
            )
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(content.decode())
            description = json.loads(content)
        except Exception as error:  # The package raises Exception itself.
            raise DataError(
                f"{path} is not a tokenizer.json ({str(error).splitlines()[0]}). Put the file of "
                "that name there which comes with a model on huggingface.co."
            ) from error
        # The name of a special token in a document is text like any other.
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.size = max(self._ids.values()) + 1
        self.num_bytes = self._count_bytes(description)

    def default_eos(self) -> int | None:
        """Return the id of the first usual name of an end of document; None if none is there."""
        return self._first(_EOS_NAMES)

    def bos(self) -> int | None:
        """Return the id of the first usual name of a beginning; None if none is there."""
        return self._first(_BOS_NAMES)

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token, None if there is none of that name."""
        return self._ids.get(token)

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, made on all cores."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [each.ids for each in found]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, without special tokens."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def _first(self, names: Sequence[str]) -> int | None:
        return next((self._ids[name] for name in names if name in self._ids), None)

    def _count_bytes(self, description: dict[str, Any]) -> np.ndarray:
        # In a byte-level vocabulary each letter of a token's name stands for one byte.
        is_byte_level = _mentions(description, "ByteLevel")
        num_bytes = np.zeros(self.size, np.int32)
        for token, token_id in self._ids.items():
            if is_byte_level:
                num_bytes[token_id] = len(token)
            elif _BYTE.fullmatch(token):
                num_bytes[token_id] = 1
            else:
                num_bytes[token_id] = len(token.replace(_SPACE_MARK, " ").encode())
        for token_id, added in self._tokenizer.get_added_tokens_decoder().items():
            num_bytes[token_id] = 0 if added.special else len(added.content.encode())
        return num_bytes


def _mentions(description: dict[str, Any], kind: str) -> bool:
    """Whether the pre-tokenizer or the decoder is of `kind`, or a sequence with one."""
    for part in ("pre_tokenizer", "decoder"):
        stack = [description.get(part)]
        while stack:
            each = stack.pop()
            if isinstance(each, dict):
                if each.get("type") == kind:
                    return True
                stack += each.get("pretokenizers", []) + each.get("decoders", [])
    return False
