import pytest
from hypothesis import given

from axl_exp.config.diff import diff
from axl_exp.config.text import flatten
from axl_exp.golden.golden import Golden, MeshGolden, base_of
from axl_exp.golden.layout import read_goldens, write_goldens
from tests.config.flat_strategies import edited, property_settings

CONFIG = {"klass": "@m:Trainer", "max_step": "300", "mesh_shape.data": "-1", "seed": "0"}
PARAMS = {"decoder/emb": "float32[8, 4], axes (v, e), init 1, decay 0, scale 1", "head": "x"}
MESH = MeshGolden(tuple(diff(CONFIG, {**CONFIG, "mesh_shape.data": "8"})), {"devices": "8"})


def golden(*, facts=None, params=None, meshes=None, **fields: str) -> Golden:
    return Golden(
        config={**CONFIG, **fields},
        facts={"steps": "300", "params": "1,000"} if facts is None else facts,
        params=PARAMS if params is None else params,
        meshes={"cpu-8": MESH} if meshes is None else meshes,
    )


def test_a_config_has_three_kinds_of_files():
    assert write_goldens({"own": golden()}) == {
        "own/config.txt": (
            "# steps: 300\n# params: 1,000\n"
            "klass: @m:Trainer\nmax_step: 300\nmesh_shape.data: -1\nseed: 0\n"
        ),
        "own/mesh/cpu-8.txt": "# devices: 8\nmesh_shape.data: -1 -> 8\n",
        "own/params.txt": (
            "decoder/emb: float32[8, 4], axes (v, e), init 1, decay 0, scale 1\nhead: x\n"
        ),
    }


def test_a_variant_has_only_what_differs_from_its_base():
    variant = golden(
        facts={"steps": "300", "layers": "2"}, params={"decoder/emb": "y", "tail": "z"}, seed="7"
    )
    tree = write_goldens({"own": golden(), "own-x": variant})
    assert {file: text for file, text in tree.items() if file.startswith("own-x/")} == {
        "own-x/config.txt": "base: own\n# layers: 2\n# params: gone\nseed: 0 -> 7\n",
        "own-x/mesh/cpu-8.txt": "base: own\n",
        # Written whole: two lines that differ and one that is gone would be longer.
        "own-x/params.txt": "decoder/emb: y\ntail: z\n",
    }
    assert read_goldens(tree) == ({"own": golden(), "own-x": variant}, {})


def test_of_a_mesh_that_its_base_has_too_a_variant_says_the_facts_that_differ():
    there = MeshGolden(MESH.changes, {"devices": "8", "planned_step_seconds": "2", "old": "1"})
    faster = MeshGolden(MESH.changes, {"devices": "8", "planned_step_seconds": "1"})
    goldens = {
        "own": golden(meshes={"cpu-8": there}),
        "own-x": golden(meshes={"cpu-8": faster}, seed="7"),
    }
    tree = write_goldens(goldens)
    assert tree["own-x/mesh/cpu-8.txt"] == "base: own\n# planned_step_seconds: 1\n# old: gone\n"
    assert read_goldens(tree) == (goldens, {})


def test_an_edit_of_the_base_leaves_the_files_of_its_variants_alone():
    def tree(**edit):
        variant = golden(seed="7", facts={"steps": "300", "params": "1,000"}, **edit)
        return write_goldens({"own": golden(**edit), "own-x": variant})

    before, after = tree(), tree(params={**PARAMS, "head": "larger"}, max_step="77")
    changed = {file for file in after if before[file] != after[file]}
    assert changed == {"own/config.txt", "own/params.txt"}


def test_the_base_of_a_variant_is_the_longest_name_that_it_begins_with():
    names = ["fuji-1B-v3", "fuji-1B-v3-tiktoken", "fuji-1B"]
    assert base_of("fuji-1B-v3-tiktoken-single-host", names) == "fuji-1B-v3-tiktoken"
    assert base_of("fuji-1B-v3", names) == "fuji-1B"
    assert base_of("fuji-1B-v30", ["fuji-1B-v3"]) is None
    assert base_of("fuji-1B", names) is None


@property_settings
@given(edited())
def test_what_is_written_is_read_again_for_any_config_and_variant(pair):
    a, b = map(flatten, pair)
    there = MeshGolden(tuple(diff(a, b)), {})
    goldens = {
        "own": Golden(a, {"steps": "1"}, {}, {"cpu-1": there}),
        "own-x": Golden(b, {"steps": "2"}, {}, {}),
        "own-x-y": Golden(a, {}, {}, {"cpu-1": there}),
    }
    assert read_goldens(write_goldens(goldens)) == (goldens, {})


@pytest.mark.parametrize(
    ("files", "errors"),
    [
        (
            {"own-x/config.txt": "base: own\n"},
            {"own-x/config.txt": "own-x/config.txt:1: its base own cannot be read"},
        ),
        (
            {"own/config.txt": "base: own\n"},
            {"own/config.txt": "own/config.txt:1: its base own cannot be read"},
        ),
        (
            {"own/config.txt": "seed: 0\n", "own/params.txt": "head float32[2]\n"},
            {
                "own/params.txt": (
                    "own/params.txt:1: expected `path: what is said of the parameter`"
                )
            },
        ),
        (
            {
                "own/config.txt": "seed: 0\n",
                "own-x/config.txt": "base: own\nseed: 1 -> 2\n",
                "own-x/mesh/cpu-1.txt": "base: own\n",
            },
            {
                "own-x/config.txt": (
                    "own-x/config.txt: seed was 1 when the change was made, and the text it is "
                    "applied to has 0; make the change anew from this text"
                ),
                "own-x/mesh/cpu-1.txt": (
                    "own-x/mesh/cpu-1.txt:1: its base own has no mesh/cpu-1.txt"
                ),
            },
        ),
        (
            {"own/config.txt": "seed = 0\n"},
            {"own/config.txt": 'own/config.txt:1: expected `: ` at column 5, found " = 0"'},
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(files, errors):
    assert read_goldens(files)[1] == errors
