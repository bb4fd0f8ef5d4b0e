"""A mixture: several sources, each with a share of the rows of training."""

import hashlib
import json
from typing import Any

from etils import epath

from axl_exp.config import (
    REQUIRED,
    ConfigBase,
    Configurable,
    InstantiableConfig,
    Required,
    config_class,
)
from axl_exp.data.errors import DataError
from axl_exp.data.source import TfdsTextSource


@config_class
class Component(ConfigBase):
    """One source of a mixture."""

    # Where its documents come from.
    source: InstantiableConfig = TfdsTextSource.default_config()
    # Its share of the rows, over the sum of all weights.
    weight: Required[float] = REQUIRED


class TextMixture(Configurable):
    """Sources with weights, for training: a row holds text of one source.

    Attributes:
        sources: (source, weight) by name.
    """

    @config_class
    class Config(Configurable.Config):
        # By name.
        components: dict[str, Component] = {}

    def __init__(self, cfg: Config, *, data_dir: epath.PathLike):
        """Open every source.

        Raises:
            DataError: There is none, a weight is not above 0, or a source cannot be opened.
        """
        super().__init__(cfg)
        if not cfg.components:
            raise DataError("source.components is empty: name at least one source with a weight.")
        for name, component in cfg.components.items():
            if not component.weight > 0:
                raise DataError(
                    f"source.components[{name!r}].weight is {component.weight}: it must be above "
                    "0. Leave the component out instead."
                )
        self.sources: dict[str, tuple[Any, float]] = {
            name: (component.source.instantiate(data_dir=data_dir), component.weight)
            for name, component in sorted(cfg.components.items())
        }

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the mixture: the weights, and the fingerprint of each source."""
        own = {name: source.fingerprint() for name, (source, _) in self.sources.items()}
        weights = {name: weight for name, (_, weight) in self.sources.items()}
        content = {name: [each["fingerprint"], each["split"]] for name, each in own.items()}
        digest = hashlib.sha256(json.dumps([content, weights], sort_keys=True).encode())
        return {
            "dataset": dataset_text(self._config),
            "split": ", ".join(dict.fromkeys(each["split"] for each in own.values())),
            "num_documents": sum(each["num_documents"] for each in own.values()),
            "fingerprint": digest.hexdigest(),
            "fingerprint_of": "mixture",
            "source": ", ".join(each["source"] for each in own.values()),
        }


def dataset_text(cfg: ConfigBase) -> str:
    """Return the name of a source's dataset, or of a mixture's: `0.9 c4/en:3.0.1, 0.1 mine:1.0.0`.

    A source of another class is named by it.
    """
    if isinstance(cfg, TextMixture.Config):
        parts = sorted(cfg.components.items())
        return ", ".join(f"{part.weight} {dataset_text(part.source)}" for _, part in parts)
    if "dataset_name" in cfg:
        return cfg.get_recursively(["dataset_name"])
    return cfg.klass.__name__ if "klass" in cfg else type(cfg).__name__  # pyright: ignore
