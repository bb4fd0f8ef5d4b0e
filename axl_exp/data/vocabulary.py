"""Text to token ids and back, by a vocabulary file in the data directory."""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from etils import epath

from axl_exp.config import REQUIRED, Configurable, Required, config_class
from axl_exp.data.errors import DataError
from axl_exp.data.hugging_face_tokenizer import HuggingFaceTokenizer
from axl_exp.data.sentencepiece_model import SentencePieceModel


class Tokenizer(Protocol):
    """What is in a vocabulary file."""

    size: int
    num_bytes: np.ndarray

    def default_eos(self) -> int | None: ...

    def bos(self) -> int | None: ...

    def token_to_id(self, token: str) -> int | None: ...

    def encode(self, text: str) -> list[int]: ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class Vocabulary(Configurable):
    """A vocabulary file under the data directory, of the kind that its name says.

    `*.model` is a sentencepiece model in tokenizers/sentencepiece/, `*.json` a tokenizer.json of
    Hugging Face's `tokenizers` in tokenizers/hf/; the folders are AXLearn's.

    Attributes:
        size: Number of token ids: one more than the highest.
        eos_id: Id that ends a document.
        bos_id: Id that begins one in models that have it, else None; training does not use it.
        num_bytes: int32 [size], UTF-8 bytes of text that each id stands for; 0 for control ids.
        sha256: Hash of the file.
        path: The file.
    """

    @config_class
    class Config(Configurable.Config):
        # Name of the file: *.model or *.json.
        model_name: Required[str] = REQUIRED
        # The token that ends a document; None means the file's own: a sentencepiece model's EOS, or
        # the one of a tokenizer.json that has a usual name, such as <|end_of_text|>.
        eos_token: str | None = None

    def __init__(self, cfg: Config, *, data_dir: epath.PathLike):
        """Load the file.

        Raises:
            DataError: There is no such file, it is not what its name says, or nothing in it ends a
                document.
        """
        super().__init__(cfg)
        self.path = vocabulary_path(data_dir, cfg.model_name)
        if not self.path.is_file():
            raise DataError(self._nothing_there())
        content = self.path.read_bytes()
        self._tokenizer = _open(self.path, content)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.size = self._tokenizer.size
        self.num_bytes = self._tokenizer.num_bytes
        self.eos_id = self._find_eos()
        self.bos_id = self._tokenizer.bos()

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without one that begins or ends it.

        The name of a control token in the text is text: no document can end another one.
        """
        return self._tokenizer.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return what `encode` returns for each text; a tokenizer.json uses every core for it."""
        return self._tokenizer.encode_batch(texts)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`; control ids stand for no text."""
        return self._tokenizer.decode([int(i) for i in ids])

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the vocabulary: name, size and the SHA-256 of its file."""
        return {
            "vocabulary": self._config.model_name,
            "vocabulary_size": self.size,
            "vocabulary_sha256": self.sha256,
        }

    def _find_eos(self) -> int:
        name = self._config.eos_token
        if name is None:
            found = self._tokenizer.default_eos()
            if found is None:
                raise DataError(
                    f"{self.path} has no token that ends a document, which separates packed "
                    "documents. Name one of its tokens in vocabulary.eos_token."
                )
            return found
        found = self._tokenizer.token_to_id(name)
        if found is None:
            raise DataError(f"{self.path} has no token {name!r} (vocabulary.eos_token).")
        return found

    def _nothing_there(self) -> str:
        folder = self.path.parent
        found = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        near = f" (there are: {', '.join(found)})" if found else ""
        file, source = (
            ("tokenizer.json", ": it comes with a model on huggingface.co")
            if self.path.suffix == ".json"
            else ("sentencepiece model", "")
        )
        return (
            f"No vocabulary {self._config.model_name!r}: there is no file {self.path}. Put the "
            f"{file} there{source}, or name another in vocabulary.model_name{near}."
        )


def vocabulary_path(data_dir: epath.PathLike, model_name: str) -> epath.Path:
    """Return where a vocabulary lies in a data directory, as in AXLearn.

    Raises:
        DataError: The name ends in neither .model nor .json.
    """
    folder = {".model": "sentencepiece", ".json": "hf"}.get(epath.Path(model_name).suffix)
    if folder is None:
        raise DataError(
            f"vocabulary.model_name {model_name!r} is neither a sentencepiece model (*.model) nor "
            "a Hugging Face tokenizer (*.json)."
        )
    return epath.Path(data_dir) / "tokenizers" / folder / model_name


def _open(path: epath.Path, content: bytes) -> Tokenizer:
    if path.suffix == ".json":
        return HuggingFaceTokenizer(content, path=str(path))
    return SentencePieceModel(content, path=str(path))
