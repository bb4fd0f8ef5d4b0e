"""Whether two model configs are the same function of the same parameters, and where not."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from axl_exp.config.text import flatten
from axl_exp.hugging_face.errors import HuggingFaceError
from axl_exp.model import CausalLM

# What decides how a model is drawn, trained, laid out or computed, and not which function it is.
# The layout of pairs is of the parameters: whoever reads or writes them turns it.
_NOT_THE_FUNCTION = re.compile(
    r"z_loss_scale|loss_chunk_tokens|logical_axis_rules\[.*|decoder\.(dropout_rate|pad_token_id)"
    r"|(.*\.)?(param_init|\w*dropout|stochastic_depth|remat_spec)([.\[].*)?"
    r"|(.*\.)?(unroll|drop_output|add_\w+_summary|layout)([.\[].*)?"
)


class Difference(NamedTuple):
    """One field, by its path in a trainer config, and its two texts."""

    path: str
    ours: str
    theirs: str

    @property
    def flag(self) -> str | None:
        """The override that makes ours theirs; None where no flag can."""
        is_config = "None" in (self.ours, self.theirs) or self.path.endswith(".klass")
        return None if is_config else f"--config.{self.path}={self.theirs}".replace(" ", "")


def differences(ours: CausalLM.Config, theirs: CausalLM.Config) -> Iterator[Difference]:
    """Yield the fields by which the two compute something else."""
    our_texts, their_texts = flatten(ours), flatten(theirs)
    for path in sorted({*our_texts, *their_texts}):
        one, other = our_texts.get(path, "None"), their_texts.get(path, "None")
        if one != other and not _NOT_THE_FUNCTION.fullmatch(path):
            yield Difference(f"model.{path}", one, other)


def check_same_model(ours: CausalLM.Config, theirs: CausalLM.Config, *, source: str) -> None:
    """Raise HuggingFaceError unless both are one function; it names fields, values and overrides.

    Args:
        ours: What the parameters of `theirs` are wanted for.
        theirs: The model in `source`.
        source: What the message calls it: a directory.
    """
    found = list(differences(ours, theirs))
    if not found:
        return
    told = shown([f"{d.path} is {d.ours}, there {d.theirs}" for d in found])
    flags = [d.flag for d in found if d.flag is not None]
    ways = ["with " + " ".join(flags)] if flags else []
    if len(flags) < len(found):
        ways.append("with cfg.model of axl_exp.hugging_face.model_config in a config file")
    raise HuggingFaceError(f"{source} is another model: {told}. It would fit {', or '.join(ways)}")


def shown(texts: Sequence[str], *, most: int = 4) -> str:
    """Return the first few of `texts` as one, and how many more there are."""
    more = f"; and {len(texts) - most} more" if len(texts) > most else ""
    return "; ".join(texts[:most]) + more
