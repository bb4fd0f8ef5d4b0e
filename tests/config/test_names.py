"""The nearest names."""

import pytest

from axl_exp.config import similar_names


@pytest.mark.parametrize(
    ("name", "candidates", "similar"),
    [
        ("num_layer", ["num_layers", "num_heads", "dim"], ["num_layers"]),
        (
            "learning_rate",
            ["learning_rate_b", "learning_rate_a"],
            ["learning_rate_a", "learning_rate_b"],
        ),
        ("dmi", ["dim", "eps"], ["dim"]),
        ("b1", ["b2", "eps"], ["b2"]),
        ("x", ["y", "z"], []),
        ("", ["a"], []),
        ("fuji-1b", ["fuji-1B", "fuji-7B", "honeycrisp-3B"], ["fuji-1B", "fuji-7B"]),
        ("anything", [], []),
    ],
)
def test_the_nearest_names_come_first(name, candidates, similar):
    assert similar_names(name, candidates) == similar
