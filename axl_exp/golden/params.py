"""The lines of params.txt: one per parameter, from its shape to what an update does to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from axl_exp.golden.program import Programs

_LINE = re.compile(
    r"(?P<value>\w+\[.*?\]), axes \((?P<axes>.*?)\), init (?P<init>.*), "
    r"decay (?P<decay>\S+), scale (?P<scale>\S+)"
)


def params_text(cfg: Any, programs: Programs) -> dict[str, str]:
    """Return what is said of each parameter of a trainer config, by path.

    `decay` is what an update takes away of the parameter where the schedule is 1, `scale` what the
    update is multiplied with besides the learning rate; `?` where the optimizer does not say, `0`
    for a frozen parameter.
    """
    update = programs.update(cfg)
    lines = {}
    for path, param in sorted(programs.model(cfg).params.items()):
        shape = ", ".join(map(str, param.shape))
        decay, scale = update.weight_decay, update.update_scale
        lines[path] = (
            f"{param.dtype}[{shape}], axes ({', '.join(param.axes)}), init {param.init}, "
            f"decay {_number(decay, path)}, scale {_number(scale, path)}"
        )
    return lines


def param_changes(before: str, after: str) -> str:
    """Return what differs between two texts of one parameter, the rest left out."""
    parts = _LINE.fullmatch(before), _LINE.fullmatch(after)
    if parts[0] is None or parts[1] is None:
        return f"{before} -> {after}"
    old, new = parts[0].groupdict(), parts[1].groupdict()
    told = [
        f"{'' if part == 'value' else f'{part} '}{old[part]} -> {new[part]}"
        for part in old
        if old[part] != new[part]
    ]
    return ", ".join(told)


def _number(numbers: dict[str, float], path: str) -> str:
    if not numbers:
        return "?"
    return f"{numbers[path]:.6g}" if path in numbers else "0"
