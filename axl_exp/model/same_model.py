"""Whether two model configs are the same function of the same parameters, and where not."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from axl_exp.errors import UserError

# What decides how a model is drawn, trained, laid out or computed, and not which function it is.
_NOT_THE_FUNCTION = re.compile(
    r"z_loss_scale|loss_chunk_tokens|logical_axis_rules\[.*|decoder\.(dropout_rate|pad_token_id)"
    r"|(.*\.)?(param_init|\w*dropout|stochastic_depth|remat_spec)([.\[].*)?"
    r"|(.*\.)?(unroll|drop_output|add_\w+_summary|backend|splash|quantization)([.\[].*)?"
)
# How queries and keys lie in the parameters: another layout is the same function of others.
_LAYOUT = re.compile(r".*\.rope_pos_emb_layer\.layout")


class OtherModelError(UserError):
    """Parameters that are another model's."""


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


def differences(
    ours: Mapping[str, str], theirs: Mapping[str, str], *, any_layout: bool = False
) -> Iterator[Difference]:
    """Yield the fields by which the two compute something else from the same parameters.

    Args:
        ours: What `flatten` returns of a model config.
        theirs: The same of another.
        any_layout: Whoever hands the parameters over turns them into the layout that is wanted.
    """
    for path in sorted({*ours, *theirs}):
        one, other = ours.get(path, "None"), theirs.get(path, "None")
        is_free = _NOT_THE_FUNCTION.fullmatch(path) or (any_layout and _LAYOUT.fullmatch(path))
        if one != other and not is_free:
            yield Difference(f"model.{path}", one, other)


def check_same_model(
    ours: Mapping[str, str], theirs: Mapping[str, str], *, source: str, any_layout: bool = False
) -> None:
    """Raise OtherModelError unless there is no difference; it names fields, values and overrides.

    Args:
        ours: What the parameters of `theirs` are wanted for.
        theirs: The model in `source`.
        source: What the message calls it: a directory.
        any_layout: See `differences`.
    """
    found = list(differences(ours, theirs, any_layout=any_layout))
    if not found:
        return
    told = shown([f"{d.path} is {d.ours}, there {d.theirs}" for d in found])
    flags = [d.flag for d in found if d.flag is not None]
    ways = [f"with {' '.join(flags)}"] if flags else []
    if len(flags) < len(found):
        ways.append("with that model in a config file of your own")
    raise OtherModelError(f"{source} is another model: {told}. It would fit {', and '.join(ways)}")


def shown(texts: Sequence[str], *, most: int = 4) -> str:
    """Return the first few of `texts` as one, and how many more there are."""
    more = f"; and {len(texts) - most} more" if len(texts) > most else ""
    return "; ".join(texts[:most]) + more
