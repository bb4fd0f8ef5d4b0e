"""Which subtrees of a flat text moved or were renamed, values unchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from axl_exp.config.flat_path import split_path

# What a node holds: (path relative to the node, text of the value) of every line at or below it.
Content = tuple[tuple[str, str], ...]

# Values that say nothing about where they came from.
_COMMON = frozenset({"None", "True", "False", "REQUIRED", "0", "1", "0.0", "1.0", "[]", "()", "{}"})


def find_moves(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (path in `a`, path in `b`) of nodes that moved whole, the largest first.

    A node moved if none of its lines is at its old place in `b` nor was at its new place in `a`,
    and its content is the same. A node of one line must besides be told from all others: its value
    stands once in each text, and its name or its parent stayed or it is a long string or symbol.
    """
    if a.keys() <= b.keys() or b.keys() <= a.keys():
        return  # Nothing is gone, or nothing is new: the common case, and the rest takes a while.
    contents_a, contents_b = _contents(a, without=b), _contents(b, without=a)
    places: dict[Content, list[str]] = {}
    for node, content in contents_b.items():
        places.setdefault(content, []).append(node)
    count_a, count_b = Counter(a.values()), Counter(b.values())
    taken_a: set[str] = set()
    taken_b: set[str] = set()

    def moved_line(before: str, after: str, text: str) -> bool:
        unique = count_a[text] == count_b[text] == 1 and text not in _COMMON
        return unique and (text[0] in '"@' and len(text) > 8 or _closeness(before, after) > 0)

    largest_first = sorted(contents_a, key=lambda n: (-len(contents_a[n]), len(split_path(n))))
    for before in largest_first:
        content = contents_a[before]
        if before + content[0][0] in taken_a:
            continue
        free = [after for after in places.get(content, ()) if after + content[0][0] not in taken_b]
        if len(content) == 1:
            free = [after for after in free if moved_line(before, after, content[0][1])]
        if free:
            after = max(free, key=lambda node: _closeness(before, node))
            taken_a.update(before + below for below, _ in content)
            taken_b.update(after + below for below, _ in content)
            yield before, after


def _contents(texts: Mapping[str, str], *, without: Mapping[str, str]) -> dict[str, Content]:
    """The content of every node that has no line in `without`, by path."""
    lines: dict[str, list[tuple[str, str]]] = {}
    shared = set()
    for path, text in texts.items():
        node = ""
        for step in split_path(path):
            node += step
            lines.setdefault(node, []).append((path[len(node) :], text))
            if path in without:
                shared.add(node)
    return {node: tuple(content) for node, content in lines.items() if node not in shared}


def _closeness(before: str, after: str) -> float:
    """How alike two places are: whether the last step, and how many of the first, are the same."""
    steps, others = split_path(before), split_path(after)
    same = [s == o for s, o in zip(steps, others, strict=False)]
    num_common = same.index(False) if False in same else len(same)
    parent_stayed = num_common == len(steps) - 1 == len(others) - 1
    return (steps[-1] == others[-1]) + parent_stayed + 0.01 * num_common
