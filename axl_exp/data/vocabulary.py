"""Text to token ids and back, with sentencepiece."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import sentencepiece
from etils import epath

from axl_exp.config import REQUIRED, Configurable, Required, config_class
from axl_exp.data.errors import DataError

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2

# Sentencepiece writes a space as this character, so that a real one in the text would be read back
# as a space.
_SPACE_MARK = "\u2581"


class SentencePieceVocabulary(Configurable):
    """A sentencepiece model file under the data directory.

    Attributes:
        size: Number of token ids.
        eos_id: Id that ends a document.
        num_bytes: int32 [size], UTF-8 bytes of text that each id stands for; 0 for control ids.
        sha256: Hash of the model file.
        path: The model file.
    """

    @config_class
    class Config(Configurable.Config):
        # Name of the model file in <data_dir>/tokenizers/sentencepiece/.
        model_name: Required[str] = REQUIRED

    def __init__(self, cfg: Config, *, data_dir: epath.PathLike):
        """Load the model.

        Raises:
            DataError: There is no such file, it is no sentencepiece model, or it has no
                end-of-sentence piece.
        """
        super().__init__(cfg)
        self.path = vocabulary_path(data_dir, cfg.model_name)
        if not self.path.is_file():
            raise DataError(
                f"No vocabulary {cfg.model_name!r}: there is no file {self.path}. Put the "
                f"sentencepiece model there, or name another in vocabulary.model_name{self._near()}"
            )
        model = self.path.read_bytes()
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise DataError(
                f"{self.path} is not a sentencepiece model ({error}). Put the *.model file that "
                "sentencepiece's trainer wrote there."
            ) from error
        self.sha256 = hashlib.sha256(model).hexdigest()
        self.size: int = self._processor.get_piece_size()
        self.eos_id: int = self._processor.eos_id()
        if self.eos_id < 0:
            raise DataError(
                f"{self.path} has no end-of-sentence piece, which separates packed documents. "
                "Train the model without --eos_id=-1."
            )
        self.num_bytes = np.array([self._num_bytes(i) for i in range(self.size)], np.int32)
        self._space_mark_ids = self._find_space_mark_ids()

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without an end-of-sentence id."""
        if not self._space_mark_ids:
            return self._processor.encode(text)
        first, *others = text.split(_SPACE_MARK)
        ids = self._processor.encode(first)
        for part in others:
            ids += self._space_mark_ids + self._processor.encode(part)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`; control ids stand for no text."""
        return self._processor.decode([int(i) for i in ids])

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the vocabulary: name, size and the SHA-256 of its file."""
        return {
            "vocabulary": self._config.model_name,
            "vocabulary_size": self.size,
            "vocabulary_sha256": self.sha256,
        }

    def _num_bytes(self, token_id: int) -> int:
        processor = self._processor
        if processor.is_byte(token_id):
            return 1
        if processor.is_control(token_id) or processor.is_unknown(token_id):
            return 0
        return len(processor.id_to_piece(token_id).replace(_SPACE_MARK, " ").encode())

    def _find_space_mark_ids(self) -> list[int]:
        """The byte ids of the space mark itself; empty for a model that does not keep text exact.

        A model that normalizes the text or drops spaces is somebody's choice: it stays as it is.
        """
        probe = "  two  spaces\n\tand a tab "
        bytes_ids = [self._processor.piece_to_id(f"<0x{b:02X}>") for b in _SPACE_MARK.encode()]
        if not all(self._processor.is_byte(i) for i in bytes_ids):
            return []
        return bytes_ids if self._processor.decode(self._processor.encode(probe)) == probe else []

    def _near(self) -> str:
        folder = self.path.parent
        found = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        return f" (there are: {', '.join(found)})." if found else "."


def vocabulary_path(data_dir: epath.PathLike, model_name: str) -> epath.Path:
    """Return where a vocabulary lies in a data directory, as in AXLearn."""
    return epath.Path(data_dir) / "tokenizers" / "sentencepiece" / model_name


def train_vocabulary(texts: Iterable[str], *, size: int) -> bytes:
    """Return a sentencepiece BPE model file of `size` ids, for text in which whitespace counts.

    Every text comes back exactly: nothing is normalized, runs of spaces are kept (and are pieces of
    their own), a newline is a piece, and what has no piece is spelled in bytes. Ids: padding 0, end
    of sentence 1, unknown 2 (never used), no begin of sentence. The same texts give the same file.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in texts for line in text.split("\n") if line),
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        pad_id=PAD_ID,
        eos_id=EOS_ID,
        unk_id=UNK_ID,
        bos_id=-1,
        user_defined_symbols=["\n"],
        byte_fallback=True,
        character_coverage=0.9999,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        num_threads=1,  # The number is written into the file.
        minloglevel=2,
    )
    return model.getvalue()
