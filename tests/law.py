"""The law of the rooms (docs/architecture.md), as a checker that reads imports and executes nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ORDER = (
    ("errors", "settings", "timeline"),
    ("frames",),
    ("media", "detect", "identity", "framing", "compose", "models", "hardware", "demo"),
    ("report", "backends"),
    ("actors",),
    ("api", "bench", "cli", "request", "door", "main", "submission"),
)
"""Lowest first; a room may import lower ones. The door is the package's own __init__, main its __main__."""

SAME_HEIGHT = {
    "settings": {"errors"},
    "timeline": {"errors"},
    "detect": {"media"},  # a slot's pixels are a media type
    "framing": {"identity"},  # it frames tracked persons
    "compose": {"framing", "media"},  # it executes frame plans into canvases
    "report": {"backends"},  # pictures of results need pixels
    "api": {"request"},
    "bench": {"api"},
    "cli": {"api", "bench", "door", "submission"},
    "door": {"api", "submission"},
    "main": {"cli"},
}
"""The allowances among rooms of one height; a test shows that they form no circle."""

INNER_DOORS = {"dualface_ray.backends.pyav", "dualface_ray.backends.storage"}
"""Packages inside a room that have a door of their own: files and their places, the same for every backend."""

RAY_ROOMS = {"actors", "api", "bench", "cli", "submission"}
VENDORS = {
    "PyNvVideoCodec",
    "av",
    "cupy",
    "cupy_backends",
    "cv2",
    "fsspec",
    "gcsfs",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "pynvml",
    "s3fs",
    "skimage",
    "tensorrt",
}
VENDOR_ROOMS = {"backends", "models", "hardware", "demo"}
_LIMIT = re.compile(r"\b(not|nothing|never)\b", re.IGNORECASE)
HEIGHT = {room: height for height, rooms in enumerate(ORDER) for room in rooms}


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement: who, whom, where, and whether importing the module executes it."""

    module: str
    target: str
    line: int
    executed: bool


def modules(root: Path) -> dict[str, Path]:
    """Every module of both packages by its dotted name."""
    found = {}
    for package in ("dualface_ray", "actors"):
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    """The room of a dotted name inside the project, or an empty string for a foreign one."""
    first, _, rest = module.partition(".")
    if first == "actors":
        return "actors"
    if first != "dualface_ray":
        return ""
    room = rest.partition(".")[0]
    return {"": "door", "__main__": "main"}.get(room, room)


def imports(root: Path) -> list[Import]:
    """Every import of every module, those inside functions and for type checkers included."""
    known = modules(root)
    return [found for name, path in known.items() for found in _imports_of(name, path, known)]


def _imports_of(name: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    executed = set(_executed(tree))
    for node in ast.walk(tree):
        for target in _targets(node, package, known):
            yield Import(name, target, getattr(node, "lineno", 0), node in executed)


def _targets(node: ast.AST, package: str, known: dict[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        handed_out = _handed_out(known[base]) if base in known else frozenset()
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in known and alias.name not in handed_out else base
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
            yield node.args[0].value


@cache
def _handed_out(path: Path) -> frozenset[str]:
    """The names in a package's ``__all__``; they hide modules of the same name."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not in functions, not under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for branch in child.orelse:
                yield branch
                yield from _executed(branch)
            continue
        yield child
        yield from _executed(child)


def violations(root: Path) -> list[str]:
    """Every breach of the law, one line each."""
    found = [f"{name}: this room has no place in the order" for name in modules(root) if room_of(name) not in HEIGHT]
    for item in imports(root):
        problem = _problem(item)
        if problem:
            found.append(f"{item.module}:{item.line} imports {item.target}: {problem}")
    return sorted(set(found))


def _problem(item: Import) -> str:
    room, foreign = room_of(item.module), item.target.partition(".")[0]
    if room not in HEIGHT:
        return ""
    if foreign == "ray" and room not in RAY_ROOMS:
        return "Ray belongs in actors and the face"
    if foreign in VENDORS and room not in VENDOR_ROOMS:
        return "vendor libraries belong in backends, models, hardware and demo"
    target = room_of(item.target)
    if not target or target == room:
        return ""
    if target not in HEIGHT:
        return "there is no such room"
    if HEIGHT[target] > HEIGHT[room]:
        return f"{target} lies above {room}"
    if HEIGHT[target] == HEIGHT[room] and target not in SAME_HEIGHT.get(room, set()):
        return f"{target} lies beside {room}, with no allowance"
    if target != "actors" and item.target.count(".") > 1 and item.target not in INNER_DOORS:
        return f"the inside of {target}; import what its __init__ hands out"
    return ""


def cycles(root: Path) -> list[list[str]]:
    """Modules that import one another in a circle when they are imported."""
    return circles(_edges(root))


def reached(root: Path, name: str) -> set[str]:
    """Every module that importing this one brings along, without the packages they lie in."""
    return _reachable(name, _edges(root))


@cache
def _edges(root: Path) -> dict[str, set[str]]:
    known = modules(root)
    edges: dict[str, set[str]] = {name: set() for name in known}
    for item in imports(root):
        if item.executed and item.target in known and item.target != item.module:
            edges[item.module].add(item.target)
    return edges


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach one another (strongly connected components of more than one node)."""
    reach = {node: _reachable(node, edges) for node in edges}
    groups = {
        tuple(sorted(other for other in reach[node] if node in reach.get(other, set())))
        for node in edges
        if node in reach[node]
    }
    return sorted(list(group) for group in groups)


def _reachable(start: str, edges: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = list(edges[start])
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo.extend(edges.get(node, set()))
    return seen


def poor_introductions(root: Path) -> list[str]:
    """Rooms whose __init__ does not draw its flow in a few lines and say what the room may not know."""
    found = []
    for name, path in modules(root).items():
        is_room = path.name == "__init__.py" and name.count(".") == (0 if name.startswith("actors") else 1)
        if not is_room:
            continue
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if len(text.splitlines()) < 4 or "►" not in text or not _LIMIT.search(text):
            found.append(name)
    return found
