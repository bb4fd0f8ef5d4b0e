"""Who may import whom: layers, cycles, and what must load without JAX."""

from __future__ import annotations

from collections.abc import Iterator

from tools.check.source import Finding, Import, Module, module_of

# Commands load the rest below flag parsing, so that --help is instant.
COMMANDS = (
    "axl_exp.generate.__main__",
    "axl_exp.interop.__main__",
    "axl_exp.launch.__main__",
    "axl_exp.golden.__main__",
    "axl_exp.compare.__main__",
    "axl_exp.dryrun.__main__",
    "axl_exp.dryrun.diff.__main__",
    "axl_exp.dryrun.search.__main__",
    "axl_exp.build_dataset.__main__",
    "axl_exp.suite.__main__",
    "tools.bench.__main__",
)

# A module imports from its own room and from rooms of later rows, never from a neighbour or back.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("experiments",),
    ("mesh_rules",),
    (
        "axl_exp.launch",
        "axl_exp.generate",
        "axl_exp.interop",
        "axl_exp.golden",
        "axl_exp.suite",
        "axl_exp.compare.__main__",
    ),
    ("axl_exp.build_dataset",),
    ("axl_exp.dryrun",),
    ("axl_exp.resolve", "axl_exp.trained_run"),
    ("axl_exp.registry", "axl_exp.train", "axl_exp.compare"),
    ("axl_exp.hugging_face",),
    ("axl_exp.model", "axl_exp.optim", "axl_exp.data", "axl_exp.mesh"),
    ("axl_exp.run",),
    ("axl_exp.cli",),
    ("axl_exp.config", "axl_exp.report"),
    ("axl_exp.errors",),
)
# Outside the house: they may import all of it, and no room imports them.
OUTSIDE = ("tests", "tools")

HEAVY = ("jax", "jaxlib", "flax", "optax", "orbax", "tensorflow", "tensorflow_datasets", "grain")
# Rooms that load without any of HEAVY: the comparator and --help start at once on a laptop.
LIGHT = (
    "axl_exp.errors",
    "axl_exp.config",
    "axl_exp.report",
    "axl_exp.cli",
    "axl_exp.run",
    "axl_exp.compare",
    "axl_exp.mesh",
    "axl_exp.registry",
    "axl_exp.resolve",
    "axl_exp.generate.__main__",
    "axl_exp.interop.__main__",
    "axl_exp.launch.__main__",
    "axl_exp.golden.__main__",
    "axl_exp.dryrun.__main__",
    "axl_exp.dryrun.diff.__main__",
    "axl_exp.dryrun.search.__main__",
    "axl_exp.build_dataset.__main__",
    "mesh_rules",
)


def check_layers(modules: dict[str, Module]) -> Iterator[Finding]:
    """Yield imports that point left or sideways, and modules that no row of LAYERS names."""
    for module in modules.values():
        if is_within(module.name, OUTSIDE) or module.name == "axl_exp":
            continue
        room = room_of(module.name)
        if room is None:
            yield module.finding(
                line=1, rule="layer", text="has no room: give it a row of LAYERS in tools/check"
            )
            continue
        for imported in module.imports:
            target = module_of(imported.target, modules)
            if target is None or target == "axl_exp":
                continue
            if is_within(target, OUTSIDE):
                yield module.finding(
                    line=imported.line, rule="layer", text=f"{module.name} imports {target}"
                )
                continue
            target_room = room_of(target)
            if target_room and target_room != room and _row(target_room) <= _row(room):
                yield module.finding(
                    line=imported.line,
                    rule="layer",
                    text=f"{room} imports {target}, which is not to the right of it",
                )


def check_cycles(modules: dict[str, Module]) -> Iterator[Finding]:
    """Yield each import that closes a cycle of modules."""
    # Depth first; a module on the current path that is met again closes a cycle.
    done: set[str] = set()
    path: list[str] = []
    findings: list[Finding] = []

    def visit(name: str) -> None:
        path.append(name)
        for imported, target in _internal_imports(modules[name], modules):
            if imported.is_for_types:
                continue
            if target in path:
                cycle = [*path[path.index(target) :], target]
                findings.append(
                    modules[name].finding(line=imported.line, rule="cycle", text=" -> ".join(cycle))
                )
            elif target not in done:
                visit(target)
        done.add(path.pop())

    for name in modules:
        if name not in done:
            visit(name)
    yield from findings


def check_light(modules: dict[str, Module]) -> Iterator[Finding]:
    """Yield, for each room that must stay light, the import chain that ends in a heavy library."""
    for module in modules.values():
        if not is_within(module.name, LIGHT):
            continue
        chain = _heavy_chain(module, modules)
        if chain:
            yield module.finding(
                line=chain[0][0].line,
                rule="light",
                text="must load without JAX: "
                + " -> ".join([module.name, *(name for _, name in chain)]),
            )


def is_within(name: str, rooms: tuple[str, ...]) -> bool:
    """Return whether `name` is one of the packages or modules `rooms`, or inside one."""
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def room_of(name: str) -> str | None:
    """Return the innermost room of LAYERS that holds the module, or None."""
    rooms = [room for row in LAYERS for room in row if is_within(name, (room,))]
    return max(rooms, key=len, default=None)


def _row(room: str) -> int:
    return next(i for i, row in enumerate(LAYERS) if room in row)


def _internal_imports(module: Module, modules: dict[str, Module]) -> Iterator[tuple[Import, str]]:
    for imported in module.imports:
        target = module_of(imported.target, modules)
        if target is not None and target != module.name:
            yield imported, target


def _heavy_chain(module: Module, modules: dict[str, Module]) -> list[tuple[Import, str]]:
    """Return the shortest chain of imports from `module` to a heavy library, or nothing."""
    seen = {module.name}
    chains: list[tuple[str, list[tuple[Import, str]]]] = [(module.name, [])]
    for name, chain in chains:
        for imported in modules[name].imports:
            if imported.is_for_types or (imported.is_deferred and name in COMMANDS):
                continue
            if is_within(imported.target, HEAVY):
                return [*chain, (imported, imported.target)]
            target = module_of(imported.target, modules)
            while target:  # Importing a.b.c also runs a and a.b.
                if target in modules and target not in seen:
                    seen.add(target)
                    chains.append((target, [*chain, (imported, target)]))
                target = target.rpartition(".")[0]
    return []
