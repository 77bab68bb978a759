"""The code that a method is made of, as hashes that records keep, and a note where it has changed since.

A run id names a method and its version, and whoever edits a method rarely raises its version. So a record keeps a hash
of every file of the method's code, and old results never pass for those of the edited method without a word. Comments,
docstrings and blank lines don't count. Imports nothing of a method; `method_code` comes first.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.registry.lookup import find_declaration
from bench.system.cache import cached_json
from bench.system.code_version import HOME, git_revision, package_versions
from bench.system.errors import UsageError
from bench.system.own_code import name_from_here
from bench.system.text import list_first

FORM = 1
"""Raised whenever equal code gets another hash."""
FILES_STORED = 1024
"""Files whose hashes the cache folder keeps."""
NO_CODE = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields of Python's syntax tree that say nothing of what is computed."""
METHODS_NAMED = 5
MOST_FILES = 200
"""A method of more files is known by the first of them: enough for any that one person edits."""
INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Names of folders that hold installed packages, which have versions."""

FileHashes = Mapping[str, str]
"""File -> hash of its code, the method's own file first: of ours from the folder that holds them, else absolute."""
Record = Mapping[str, Any]


@functools.cache
def method_code(name: str) -> FileHashes:
    """The hashes of a method's file and of all that it imports of ours, of its package or of files beside it.

    As they were at the first call in this process, which has imported the method by then and keeps what it imported.
    """
    try:
        entry = find_declaration("method", name)
    except UsageError:  # a plugin's, and this command was typed without it
        return {}
    if entry["file"] is not None:
        return _hash_files(Path(entry["file"]), _plugin_roots(Path(entry["file"])), None)
    top = entry["module"].partition(".")[0]
    if top == "methods":
        return _hash_files(HOME.joinpath(*entry["module"].split(".")).with_suffix(".py"), [HOME], top)
    found = importlib.util.find_spec(top)
    if found is None or found.origin is None:
        return {}
    origin = Path(found.origin)
    root = origin.parent.parent if origin.name == "__init__.py" else origin.parent
    start = next(_files_of_module(root, entry["module"].split(".")), None)
    return {} if start is None else _hash_files(start, [root], top)


def present_code(files: Iterable[str]) -> FileHashes:
    """The hashes of those of a record's files that are on this machine."""
    paths = {file: HOME / file for file in files}  # an absolute path stays as it is
    return {file: _read_code(path)["hash"] for file, path in paths.items() if path.is_file()}


def note_changed_methods(
    records: Iterable[Record],
    find_code: Callable[[str, FileHashes], FileHashes] = lambda name, files: method_code(name),
    train_anew: str = "type the command with {methods}--when always",
) -> str | None:
    """A note on the records whose method's code has changed since; None where there are none.

    `find_code` returns the present code of a method, given the files of a record; `train_anew` says what to type. What
    two released revisions of our own files differ by doesn't count: a release that changes what a method computes
    raises the method's version.
    """
    changed_files: dict[str, None] = {}
    methods: dict[str, None] = {}
    count = 0
    for record in records:
        recorded = record["provenance"].get("method_code")
        if not recorded:
            continue
        name = record["spec"]["method"]
        changed = _changed_files(recorded, find_code(name, recorded))
        if changed and _are_releases(record["provenance"]):
            changed = [file for file in changed if Path(file).is_absolute()]
        if changed:
            count += 1
            methods[name] = None
            changed_files |= dict.fromkeys(map(name_from_here, (HOME / file for file in changed)))
    if not count:
        return None
    files = list_first(changed_files, 2)
    names = f"--methods {','.join(methods)} " if len(methods) <= METHODS_NAMED else ""
    advice = train_anew.replace("{methods}", names)
    return (
        f"note: {files} {'has' if len(changed_files) == 1 else 'have'} changed since {count} of these runs "
        f"{'was' if count == 1 else 'were'} made ({list_first(methods, METHODS_NAMED)}), so their results are the old "
        f"code's. To train them anew, {advice}; to keep both, raise the method's version"
    )


def _are_releases(provenance: Mapping[str, Any]) -> bool:
    """Whether a record and this code are of two different revisions or releases, both without uncommitted changes."""
    head, dirty = git_revision()
    release = (provenance.get("versions") or {}).get("lnl-bench")
    other = (provenance.get("git_revision"), release) != (head, package_versions().get("lnl-bench"))
    return other and not dirty and not provenance.get("git_dirty")


def _changed_files(recorded: FileHashes, present: FileHashes) -> list[str]:
    """The files that differ. A file that only moved doesn't count."""
    if not present or sorted(recorded.values()) == sorted(present.values()):
        return []
    return [file for file, code in present.items() if recorded.get(file) != code]


def _hash_files(start: Path, roots: list[Path], top: str | None) -> FileHashes:
    """The hashes of a file and of what it imports from `roots`, directly or not; `top`: only of this package."""
    hashes: dict[str, str] = {}
    waiting = [start.resolve()]
    while waiting and len(hashes) < MOST_FILES:
        path = waiting.pop(0)
        ours = path.is_relative_to(HOME)
        key = path.relative_to(HOME).as_posix() if ours else str(path)
        if key in hashes:
            continue
        code = _read_code(path)
        hashes[key] = code["hash"]
        for level, words in code["imports"]:
            if level:
                waiting += _files_of_module(path.parents[level - 1], words, least=0)
            elif words[0] == "methods":
                waiting += _files_of_module(HOME, words)
            elif words[0] == top or (top is None and not ours and words[0] not in sys.stdlib_module_names):
                waiting += next((found for root in roots if (found := list(_files_of_module(root, words)))), [])
    return hashes


def _plugin_roots(file: Path) -> list[Path]:
    """The folders that a plugin may import its author's files from: its own, and those of the path but for packages."""
    installed = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    folders = [file.parent, *(Path(entry or ".") for entry in sys.path)]
    roots = dict.fromkeys(folder.resolve() for folder in folders if folder.is_dir())
    foreign = [root for root in roots if INSTALLED.intersection(root.parts) or installed & {root, *root.parents}]
    return [root for root in roots if root != HOME and root not in foreign]


def _files_of_module(root: Path, words: list[str], least: int = 1) -> Iterator[Path]:
    """The file of a module below a folder, if it is there; the last word may be a name in the module of the others."""
    for most in range(len(words), max(least, len(words) - 1) - 1, -1):
        base = root.joinpath(*words[:most])
        for path in (base.with_name(f"{base.name}.py") if most else base, base / "__init__.py"):
            if path.is_file():
                yield path.resolve()
                return


def _read_code(path: Path) -> dict[str, Any]:
    """A file's hash and imports, parsed once for each state of the file: a change gives another time or size."""
    state = path.stat()
    return _read_code_of(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=FILES_STORED)
def _read_code_of(path: Path, time: int, size: int) -> dict[str, Any]:
    question = {"form": FORM, "file": str(path), "time": time, "size": size}
    answer: dict[str, Any] = cached_json("code", question, lambda: parse_code(path.read_bytes()), FILES_STORED)
    return answer


def parse_code(source: bytes) -> dict[str, Any]:
    """`hash`: 16 hex digits of the code, equal for code that differs in comments, docstrings or layout alone.

    `imports`: [level, words] of each module or name that is imported.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return {"hash": hashlib.sha256(source).hexdigest()[:16], "imports": []}
    imports: dict[tuple[int, tuple[str, ...]], None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {(0, tuple(alias.name.split("."))): None for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".") if node.module else []
            imports |= {(node.level, (*module, alias.name)): None for alias in node.names}
    digest = hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()[:16]
    return {"hash": digest, "imports": [[level, list(words)] for level, words in imports]}


def _plain(node: object) -> object:
    """A syntax tree as nested lists, alike on every version of Python: no text that isn't a value, no empty field."""
    if isinstance(node, ast.AST):
        fields = [(name, _plain(child)) for name, child in ast.iter_fields(node) if name not in NO_CODE]
        return [type(node).__name__, *((name, value) for name, value in fields if value not in ("None", []))]
    if isinstance(node, list):
        return [_plain(child) for child in node if not _is_text_alone(child)]
    return repr(node)


def _is_text_alone(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
