"""The code of a stage: the files of this package that it imports, directly or through others."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# not code of a stage, because they hold no part of a result: DVC tracks the values of parameters and the outputs, and
# a file of a hub's commit is what its hash says
UNTRACKED = frozenset(
    f"pipeline/{name}.py"
    for name in ("cli", "errors", "hub", "imports", "locks", "log", "memory", "names", "params", "paths", "progress")
)


def code(module: str) -> list[Path]:
    """The files that a module's results depend on, relative to the root, sorted; its own among them.

    Args:
        module: dotted, such as `pipeline.stages.train`.
    """
    found: set[Path] = set()
    remaining = [module]
    while remaining:
        path = source(remaining.pop())
        if path and path not in found:
            found.add(path)
            remaining += imported(path)
    return sorted(path.relative_to(ROOT) for path in found if path.relative_to(ROOT).as_posix() not in UNTRACKED)


def code_digest(module: str) -> bytes:
    """A hash of the names and contents of the files in `code`."""
    digest = hashlib.sha256()
    for path in code(module):
        digest.update(hashlib.sha256(path.as_posix().encode()).digest())
        digest.update(hashlib.sha256((ROOT / path).read_bytes()).digest())
    return digest.digest()


def imported(path: Path) -> Iterator[str]:
    """The modules of this package that a file imports, inside functions too.

    Raises:
        ValueError: it has a relative import.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise ValueError(f"{path} has a relative import")
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.startswith("pipeline.") and source(name))


def source(module: str) -> Path | None:
    """The file of a module; None if it is a folder or something in a module."""
    path = ROOT / (module.replace(".", "/") + ".py")
    return path if path.is_file() else None
