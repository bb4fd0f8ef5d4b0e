"""The files of goldens: the one writer and the one reader. The format is in docs/golden.md.

A variant stores what differs from its base, so that an edit of the base changes the base's files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from axl_exp.config import ConfigError
from axl_exp.config.delta import delta_text, parse_delta
from axl_exp.config.diff import apply, diff
from axl_exp.config.parse import parse_text
from axl_exp.config.text import flat_text
from axl_exp.golden.golden import Golden, Goldens, MeshGolden, base_of

CONFIG_FILE = "config.txt"
PARAMS_FILE = "params.txt"
MESH_FOLDER = "mesh"

Tree = dict[str, str]
"""Path of a golden file below the golden folder -> its text."""

_FACT = re.compile(r"# ([A-Za-z_][\w.-]*): (.*)")
_BASE = re.compile(r"base: (\S+)\n")


def write_goldens(goldens: Goldens) -> Tree:
    """Return the files of `goldens`, paths sorted."""
    tree = {}
    for name, golden in goldens.items():
        base_name = base_of(name, goldens)
        base = goldens[base_name] if base_name else None
        for file, text in _files(golden):
            tree[f"{name}/{file}"] = text
        if base is not None:
            head = f"base: {base_name}\n"
            tree |= {f"{name}/{file}": head + text for file, text in _variant(golden, base)}
    return dict(sorted(tree.items()))


def read_goldens(tree: Tree) -> tuple[Goldens, dict[str, str]]:
    """Return the goldens in `tree`, and file -> error of those that cannot be read.

    A config whose files cannot be read is left out, and so are its variants.
    """
    reader = _Reader(tree)
    names = sorted({file.split("/")[0] for file in tree})
    found = {name: reader.golden(name) for name in names}
    return {name: golden for name, golden in found.items() if golden}, reader.errors


def _files(golden: Golden) -> Iterator[tuple[str, str]]:
    """The files of a config that is no variant."""
    yield CONFIG_FILE, _facts_text(golden.facts) + flat_text(golden.config)
    yield PARAMS_FILE, flat_text(golden.params)
    for selector, mesh in golden.meshes.items():
        yield f"{MESH_FOLDER}/{selector}.txt", _facts_text(mesh.facts) + delta_text(mesh.changes)


def _variant(golden: Golden, base: Golden) -> Iterator[tuple[str, str]]:
    """The files of a variant that its base makes shorter, without the line that names the base."""
    facts = _facts_text(_changed_facts(base.facts, golden.facts))
    changes = delta_text(diff(base.config, golden.config))
    if len(changes) < len(flat_text(golden.config)):
        yield CONFIG_FILE, facts + changes
    changed = {p: text for p, text in golden.params.items() if base.params.get(p) != text}
    gone = [f"- {path}\n" for path in base.params if path not in golden.params]
    if len(changed) + len(gone) < len(golden.params):
        yield PARAMS_FILE, flat_text(changed) + "".join(gone)
    for selector, mesh in golden.meshes.items():
        of_base = base.meshes.get(selector)
        if of_base is not None and of_base.changes == mesh.changes:
            facts = _facts_text(_changed_facts(of_base.facts, mesh.facts))
            yield f"{MESH_FOLDER}/{selector}.txt", facts


def _changed_facts(base: Mapping[str, str], facts: Mapping[str, str]) -> dict[str, str]:
    new = {name: text for name, text in facts.items() if base.get(name) != text}
    return {**new, **{name: "gone" for name in base if name not in facts}}


class _Reader:
    """Reads the goldens of a tree, each once."""

    def __init__(self, tree: Tree):
        self._tree = tree
        self._goldens: dict[str, Golden | None] = {}
        self.errors: dict[str, str] = {}

    def golden(self, name: str) -> Golden | None:
        if name not in self._goldens:
            self._goldens[name] = None  # A base that leads back here is no base.
            self._goldens[name] = self._read(name)
        return self._goldens[name]

    def _read(self, name: str) -> Golden | None:
        files = {PurePosixPath(f): f for f in self._tree if f.startswith(f"{name}/")}
        parts: dict[str, tuple] = {}
        for path, file in files.items():
            try:
                parts[str(path.relative_to(name))] = self._read_file(file)
            except (ConfigError, ValueError) as error:
                said = str(error)
                self.errors[file] = said if said.startswith(file) else f"{file}: {said}"
        if any(file in self.errors for file in files.values()) or CONFIG_FILE not in parts:
            return None
        config, facts = parts.pop(CONFIG_FILE)
        params, _ = parts.pop(PARAMS_FILE, ({}, {}))
        meshes = {
            PurePosixPath(file).stem: MeshGolden(changes, facts)
            for file, (changes, facts) in parts.items()
        }
        return Golden(config, facts, params, meshes)

    def _read_file(self, file: str) -> tuple:
        """The content of a file, its base filled in, and its facts."""
        name, kind = file.split("/", 1)
        text = self._tree[file]
        base = self._base(file, text)
        text = _BASE.sub("\n", text, count=1) if base else text
        mesh = base.meshes[PurePosixPath(kind).stem] if base and _is_mesh(kind) else None
        of_base = mesh.facts if mesh else base.facts if base and kind == CONFIG_FILE else {}
        facts = {**of_base, **_read_facts(text)}
        facts = {fact: said for fact, said in facts.items() if said != "gone"}
        if kind == CONFIG_FILE:
            if base is None:
                return dict(parse_text(text, source=file).texts), facts
            return apply(parse_delta(text, source=file), base.config), facts
        if kind == PARAMS_FILE:
            return _read_params(text, base.params if base else {}, file), facts
        changes = tuple(parse_delta(text, source=file))
        return (*(mesh.changes if mesh else ()), *changes), facts

    def _base(self, file: str, text: str) -> Golden | None:
        match = _BASE.match(text)
        if match is None:
            return None
        base = self.golden(match[1])
        if base is None:
            raise ValueError(f"{file}:1: its base {match[1]} cannot be read")
        kind = file.split("/", 1)[1]
        if _is_mesh(kind) and PurePosixPath(kind).stem not in base.meshes:
            raise ValueError(f"{file}:1: its base {match[1]} has no {kind}")
        return base


def _is_mesh(kind: str) -> bool:
    return kind.startswith(f"{MESH_FOLDER}/")


def _facts_text(facts: Mapping[str, str]) -> str:
    return "".join(f"# {name}: {text}\n" for name, text in facts.items())


def _read_facts(text: str) -> dict[str, str]:
    found = (_FACT.fullmatch(line) for line in text.splitlines())
    return {match[1]: match[2] for match in found if match}


def _read_params(text: str, base: Mapping[str, str], file: str) -> dict[str, str]:
    params = dict(base)
    for number, line in enumerate(text.splitlines(), start=1):
        path, separator, said = line.partition(": ")
        if separator:
            params[path] = said
        elif line.startswith("- "):
            params.pop(line.removeprefix("- "), None)
        elif line:
            raise ValueError(f"{file}:{number}: expected `path: what is said of the parameter`")
    return dict(sorted(params.items()))
