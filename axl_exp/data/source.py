"""Documents of a prepared TFDS dataset."""

import hashlib
import re
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from axl_exp.config import REQUIRED, Configurable, Required, config_class
from axl_exp.data.errors import DataError

_OR_EMBEDDED = "or leave out --data_dir to use the embedded corpus"


class TextDocument(NamedTuple):
    """A document as it is tokenized."""

    text: str

    num_bytes: int
    """UTF-8 bytes of the document in the dataset, before newlines were replaced."""


class TokenDocument(NamedTuple):
    """A document that was tokenized when its dataset was built."""

    ids: np.ndarray
    """Integers [L], without an end-of-sentence id."""

    num_bytes: int
    """UTF-8 bytes of the text that it was made from."""


class TfdsTextSource(Configurable):
    """One split of a TFDS dataset in array_record format: `len(source)`, `source[i]`.

    Nothing is downloaded or prepared here, and no code of the dataset is imported: the files say
    what they are. A feature of integers is taken for token ids, as `axl_exp.build_dataset` writes
    them: `num_bytes` then stands beside it, and what made them in the metadata.

    Attributes:
        path: Directory of the dataset.
        holds_tokens: Whether documents are TokenDocuments.
        vocabulary_sha256: Hash of the vocabulary that made the tokens; None for text.
    """

    @config_class
    class Config(Configurable.Config):
        # As TFDS writes it, with the version: `c4/en:3.0.1`.
        dataset_name: Required[str] = REQUIRED
        # A split, or a slice of one: `train`, `validation[:5000]`.
        split: Required[str] = REQUIRED
        # Name of the feature that is read: text, or token ids (`tokens` in a dataset that was built
        # with a vocabulary).
        text_key: str = "text"
        # Replaces every newline before tokenizing, for vocabularies without one.
        replace_newlines_with: str | None = None

    def __init__(self, cfg: Config, *, data_dir: epath.PathLike):
        """Open the dataset.

        Raises:
            DataError: The directory, the dataset, its version, the split, or the text feature is
                not there, or the format has no random access.
        """
        super().__init__(cfg)
        self.path = _dataset_path(cfg.dataset_name, epath.Path(data_dir))
        builder = _open_dataset(self.path)
        self._metadata = dict(builder.info.metadata or {})
        self._records = _open_split(builder, cfg, self.path)
        self.holds_tokens = _is_integer(builder.info.features[cfg.text_key])
        self.vocabulary_sha256: str | None = self._metadata.get("vocabulary_sha256")
        if self.holds_tokens:
            _check_tokens(builder, self._metadata, cfg)
        self._text_key = cfg.text_key
        self._newline = cfg.replace_newlines_with
        self._name = f"{cfg.dataset_name} {cfg.split}"

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> TextDocument | TokenDocument:
        try:
            record = self._records[index]
            if self.holds_tokens:
                return TokenDocument(record[self._text_key], int(record["num_bytes"]))
            content = record[self._text_key]
            text = content.decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"Document {index} of {self._name} in {self.path} is not UTF-8 ({error}). "
                "Prepare the dataset from decoded text."
            ) from error
        except Exception as error:  # What array_record and protobuf raise over damaged bytes.
            raise DataError(
                f"Document {index} of {self._name} in {self.path} cannot be read: its shard is "
                f"damaged ({_first_line(error)}). Copy or prepare the dataset again."
            ) from error
        if self._newline is not None:
            text = text.replace("\n", self._newline)
        return TextDocument(text, len(content))

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the dataset: name, path, number of documents and a SHA-256.

        The hash covers every document of the embedded corpus. Of another dataset, which may have
        terabytes, it covers TFDS's own description: features, splits, bytes and shard lengths.
        """
        sha256 = self._metadata.get("documents_sha256")
        return {
            "dataset": self._config.dataset_name,
            "split": self._config.split,
            "num_documents": len(self),
            "fingerprint": sha256 or _description_sha256(self.path),
            "fingerprint_of": "documents" if sha256 else "description",
            "source": str(self.path),
        }


def _dataset_path(name: str, data_dir: epath.Path) -> epath.Path:
    """Return the directory of the dataset `name`, found without asking TFDS's registry."""
    path = data_dir / name.replace(":", "/")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?:\d+\.\d+\.\d+", name):
        raise DataError(
            f"source.dataset_name {name!r} is not of the form name[/config]:major.minor.patch. "
            f"Name the version, as in 'c4/en:3.0.1'.{_versions(path)}"
        )
    if not data_dir.is_dir():
        raise DataError(
            f"There is no data directory {data_dir}. Name the one that TFDS datasets were prepared "
            f"in, {_OR_EMBEDDED}."
        )
    if not (path / "dataset_info.json").is_file():
        raise DataError(
            f"No dataset {name!r}: there is none at {path}.{_versions(path.parent)} Prepare it "
            f"(needs TensorFlow: tfds build {name} --data_dir={data_dir} "
            f"--file_format=array_record), {_OR_EMBEDDED}."
        )
    return path


def _versions(folder: epath.Path) -> str:
    if not folder.is_dir():
        return ""
    found = sorted(p.name for p in folder.iterdir() if (p / "dataset_info.json").is_file())
    return f" Versions there: {', '.join(found)}." if found else ""


def _open_dataset(path: epath.Path) -> Any:
    try:
        return tfds.builder_from_directory(path)
    except Exception as error:  # TFDS lets through what json, protobuf and its features raise.
        raise DataError(
            f"TFDS cannot read its description of the dataset in {path} "
            f"({type(error).__name__}: {_first_line(error)}). Prepare the dataset again."
        ) from error


def _open_split(builder: Any, cfg: TfdsTextSource.Config, path: epath.Path) -> Any:
    info = builder.info
    if cfg.text_key not in info.features:
        raise DataError(
            f"{cfg.dataset_name} has no feature {cfg.text_key!r} (source.text_key): "
            f"its features are {', '.join(sorted(info.features))}."
        )
    try:
        split = info.splits[cfg.split]
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{cfg.dataset_name} has no split {cfg.split!r} (source.split): its splits are "
            f"{', '.join(sorted(info.splits))}; a slice is written train[:5000]."
        ) from error
    if not split.num_examples:
        raise DataError(f"Split {cfg.split!r} of {cfg.dataset_name} has no document.")
    missing = sorted(set(split.filenames) - {p.name for p in path.iterdir()})
    if missing:
        raise DataError(
            f"{path} lacks {len(missing)} of {len(split.filenames)} shards of split "
            f"{cfg.split!r}: {missing[0]}{', ...' if missing[1:] else ''}. Copy them there."
        )
    try:
        return builder.as_data_source(cfg.split)
    except NotImplementedError as error:
        raise DataError(
            f"{path} is in {info.file_format.value} format, which cannot be read at any position. "
            "Convert it (needs TensorFlow): tfds convert_format "
            f"--dataset_version_dir={path} --out_file_format=array_record"
        ) from error


def _is_integer(feature: Any) -> bool:
    return feature.np_dtype is not None and np.issubdtype(feature.np_dtype, np.integer)


def _check_tokens(builder: Any, metadata: dict[str, Any], cfg: TfdsTextSource.Config) -> None:
    name = cfg.dataset_name
    if "num_bytes" not in builder.info.features or "vocabulary_sha256" not in metadata:
        raise DataError(
            f"{name} has token ids in {cfg.text_key!r} (source.text_key), but not with what they "
            "were made. Build the dataset with python -m axl_exp.build_dataset --vocabulary=..."
        )
    newline = metadata.get("replace_newlines_with")
    if newline != cfg.replace_newlines_with:
        raise DataError(
            f"{name} was tokenized with newlines replaced by {newline!r}, but "
            f"source.replace_newlines_with is {cfg.replace_newlines_with!r}. Set it to {newline!r}."
        )


def _first_line(error: Exception) -> str:
    return str(error.args[0] if error.args else error).split("\n")[0]


def _description_sha256(path: epath.Path) -> str:
    digest = hashlib.sha256()
    for file in ("dataset_info.json", "features.json"):
        digest.update((path / file).read_bytes())
    return digest.hexdigest()
