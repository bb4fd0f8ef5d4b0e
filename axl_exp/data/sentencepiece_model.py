"""What is in a sentencepiece model file, and how one is trained."""

import io
from collections.abc import Iterable, Sequence

import numpy as np
import sentencepiece

from axl_exp.data.errors import DataError

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2

# Sentencepiece writes a space as this character, so that a real one in the text would be read back
# as a space.
_SPACE_MARK = "\u2581"


class SentencePieceModel:
    """A sentencepiece model.

    Attributes:
        size: Number of pieces.
        num_bytes: int32 [size], UTF-8 bytes of text that each id stands for; 0 for control ids.
    """

    def __init__(self, content: bytes, *, path: str):
        """Load the bytes of the file at `path`.

        Raises:
            DataError: They are no sentencepiece model.
        """
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            raise DataError(
                f"{path} is not a sentencepiece model ({error}). Put the *.model file that "
                "sentencepiece's trainer wrote there."
            ) from error
        self.size: int = self._processor.get_piece_size()
        self.num_bytes = np.array([self._num_bytes(i) for i in range(self.size)], np.int32)
        self._space_mark_ids = self._find_space_mark_ids()

    def default_eos(self) -> int | None:
        """Return the id that ends a document, None if the model was trained without."""
        found = self._processor.eos_id()
        return None if found < 0 else found

    def bos(self) -> int | None:
        """Return the id that begins a document, None if the model was trained without."""
        found = self._processor.bos_id()
        return None if found < 0 else found

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a piece, None if there is none of that name."""
        found = self._processor.piece_to_id(token)
        return found if self._processor.id_to_piece(found) == token else None

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`."""
        if not self._space_mark_ids:
            return self._processor.encode(text)
        first, *others = text.split(_SPACE_MARK)
        ids = self._processor.encode(first)
        for part in others:
            ids += self._space_mark_ids + self._processor.encode(part)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`."""
        return self._processor.decode(list(ids))

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
