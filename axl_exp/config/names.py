"""Nearest names, for error messages."""

import difflib
from collections.abc import Iterable


def similar_names(name: str, candidates: Iterable[str]) -> list[str]:
    """Return the candidates that look like `name`, best first, ties in alphabetical order.

    A candidate counts if it contains more than half of the three-letter pieces of `name`; where
    none does (short names have no such pieces), `difflib`'s close matches are returned instead.
    """
    candidates = sorted(set(candidates))
    pieces = [name[i : i + 3] for i in range(len(name) - 2)]
    overlap = {c: sum(p in c for p in pieces) / max(len(pieces), 1) for c in candidates}
    similar = [c for c in candidates if overlap[c] > 0.5]
    if similar:
        return sorted(similar, key=lambda c: (-overlap[c], c))
    close = difflib.get_close_matches(name, candidates, n=3, cutoff=0.6)
    # `b1` and `b2` have half of their letters in common.
    return close or difflib.get_close_matches(name, candidates, n=3, cutoff=0.5)
