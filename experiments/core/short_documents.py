"""Documents so short that several of them meet in one row of a small model."""

from axl_exp.config import config_class
from axl_exp.data.source import TextDocument, TfdsTextSource


class ShortDocuments(TfdsTextSource):
    """The beginnings of the documents of a dataset of text."""

    @config_class
    class Config(TfdsTextSource.Config):
        # Of each document; the rest is not read.
        max_characters: int = 160

    def __init__(self, cfg: Config, **kwargs):
        super().__init__(cfg, **kwargs)
        self._max_characters = cfg.max_characters

    def __getitem__(self, index: int) -> TextDocument:
        """Return the beginning of a document; its bytes are those of the beginning."""
        document = super().__getitem__(index)
        assert isinstance(document, TextDocument), "it holds token ids, and no text to cut"
        text = document.text[: self._max_characters]
        return TextDocument(text, len(text.encode()))
