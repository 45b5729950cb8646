"""Rules of the house that no linter knows, each a function from text to the findings in it.

They take text and names, not the tree, so that a test can show each one a broken example.
"""

import ast
import re
import tokenize
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO, StringIO
from pathlib import PurePosixPath

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
PACKAGES = ("schemas", "streams", "harbor", "gateway", "deploy")

# A shared drawer collects what nobody owns; what is a contract goes to `schemas`.
_DRAWERS = frozenset({"utils", "util", "common", "helpers", "helper", "core", "manager", "misc"})
_FAUST_MODULE = PurePosixPath("streams/runtime/agents.py")
# What ours is measured beside is the framework itself.
_STOCK_FAUST = PurePosixPath("tests/bench/stock_faust.py")
# Where the outside world may be read: once, at the edge.
_ENVIRONMENT_FILES = frozenset({"settings.py", "bootstrap.py", "shared_settings.py"})
_ENVIRONMENT_FOLDERS = ("deploy/", "tests/")
_CLOCK_FILES = frozenset({"clock.py"})
_CLOCK_FOLDERS = ("deploy/", "tests/")
_CLOCK_CALLS = frozenset({"now", "utcnow", "today"})
# Reads before a tenant is known, by SECURITY DEFINER functions that take the exact secret-bearing
# id and answer one row. A name in here is a decision: say in its block why.
QUERIES_WITHOUT_TENANT = frozenset({"set_tenant", "api_keys_by_id", "relay_lock", "relay_unlock"})

# Split, so that these rules do not find themselves.
_REGISTRY_HOSTS = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "repo.maven" + ".apache.org",
    "repo1." + "maven.org",
    "crates" + ".io",
    "registry." + "npmjs.org",
    "proxy." + "golang.org",
    "deb." + "debian.org",
)
_WORKPLACE = ("/wor" + "k/", "../sha" + "red", "find-" + "links=", "--index" + "-url ")
# Papers that the project was built from. What they say is in `docs/`, where a stranger can read it.
_OUR_PAPERS = ("DESI" + "GN", "DECISI" + "ONS", "STY" + "LE §", "TRE" + "E.md")

_TODO = re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))")
_BLOCK = re.compile(r"^-- name: *(\S+)", re.MULTILINE)


def file_length(_: PurePosixPath, text: str) -> Iterator[str]:
    lines = len(text.splitlines())
    if lines > FILE_LINES_MAX:
        yield f"{lines} lines, at most {FILE_LINES_MAX}: split it by what its parts are for"


def function_length(_: PurePosixPath, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield f"{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}"


def module_docstring(path: PurePosixPath, text: str) -> Iterator[str]:
    # A test folder's __init__.py exists only to make it a package.
    if path.name == "__init__.py" and path.parts[0] == "tests" and not text.strip():
        return
    if ast.get_docstring(ast.parse(text)) is None:
        yield "no docstring: say in 1-5 lines what it is for and the one thing to know"


def todo_without_issue(path: PurePosixPath, text: str) -> Iterator[str]:
    for line, comment in _comments(path, text):
        if _TODO.search(comment):
            yield f"{line}: a TODO needs its issue: TODO(#12)"


def annotations_future(_: PurePosixPath, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "__future__"
            and any(name.name == "annotations" for name in node.names)
        ):
            yield f"{node.lineno}: FastAPI and pydantic need annotations at run time"


def faust_by_name(path: PurePosixPath, text: str) -> Iterator[str]:
    if path in {_FAUST_MODULE, _STOCK_FAUST}:
        return
    for line, module in _imports(text):
        if module.split(".")[0] in {"faust", "mode"}:
            yield f"{line}: only {_FAUST_MODULE} names {module}"


def drawer_name(path: PurePosixPath, _: str) -> Iterator[str]:
    for part in (*path.parts[:-1], path.stem):
        if part in _DRAWERS:
            yield f"{part!r} says nothing about what is in it; name the concept"


def clock_read(path: PurePosixPath, text: str) -> Iterator[str]:
    if str(path).startswith(_CLOCK_FOLDERS) or path.name in _CLOCK_FILES:
        return
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr=attribute) | (
                ast.Attribute(value=ast.Attribute(attr="datetime" | "date"), attr=attribute)
            ) if attribute in _CLOCK_CALLS:
                yield f"{node.lineno}: take a Clock instead of {attribute}()"
            case _:
                pass


def environment_read(path: PurePosixPath, text: str) -> Iterator[str]:
    if str(path).startswith(_ENVIRONMENT_FOLDERS) or path.name in _ENVIRONMENT_FILES:
        return
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "getenv" | "putenv"):
                yield f"{node.lineno}: the environment is read once, in settings.py or bootstrap.py"
            case ast.ImportFrom(module="os", names=names) if any(
                name.name in {"environ", "getenv"} for name in names
            ):
                yield f"{node.lineno}: the environment is read once, in settings.py or bootstrap.py"
            case _:
                pass


def query_without_tenant(path: PurePosixPath, text: str) -> Iterator[str]:
    if path.suffix != ".sql" or path.parts[:2] != ("gateway", "queries"):
        return
    blocks = list(_BLOCK.finditer(text))
    if not blocks:
        yield "no `-- name:` block"
        return
    for block, end in zip(blocks, [*(b.start() for b in blocks[1:]), len(text)], strict=True):
        body = _without_sql_comments(text[block.end() : end])
        if "%(tenant_id)s" not in body and block[1] not in QUERIES_WITHOUT_TENANT:
            yield f"{block[1]} reads without %(tenant_id)s"


def workplace_trace(_: PurePosixPath, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        for trace in (*_REGISTRY_HOSTS, *_WORKPLACE, *_OUR_PAPERS):
            if trace in line:
                yield f"{number}: {trace!r} is nothing that a stranger's clone has"


PYTHON_RULES: Sequence[Callable[[PurePosixPath, str], Iterator[str]]] = (
    file_length,
    function_length,
    module_docstring,
    annotations_future,
    faust_by_name,
    drawer_name,
    clock_read,
    environment_read,
)
TEXT_RULES: Sequence[Callable[[PurePosixPath, str], Iterator[str]]] = (
    todo_without_issue,
    query_without_tenant,
    workplace_trace,
)


def test_folders_without_init(files: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Folders of tests with Python in them that are no packages: one would shadow a program."""
    folders = {path.parent for path in files if path.parts[0] == "tests" and path.suffix == ".py"}
    parents = {parent for folder in folders for parent in folder.parents if parent.parts}
    return sorted(folder for folder in folders | parents if folder / "__init__.py" not in files)


# Else pytest takes it for a test where it is imported.
test_folders_without_init.__test__ = False  # type: ignore[attr-defined]


def strangers_with_our_names(owners: dict[str, list[str]]) -> list[str]:
    """Distributions that install a top-level package of ours; `owners` as importlib.metadata has it."""
    return [
        f"{package} is also installed by {owner}"
        for package in PACKAGES
        for owner in sorted(set(owners.get(package, [])) - {"paybond"})
    ]


def _imports(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.lineno, node.module


def _comments(path: PurePosixPath, text: str) -> Iterator[tuple[int, str]]:
    """Comments of Python; every line of anything else, where a TODO is a TODO."""
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), start=1)
        return
    for token in tokenize.tokenize(BytesIO(text.encode()).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _without_sql_comments(text: str) -> str:
    return "\n".join(line.split("--", 1)[0] for line in StringIO(text))
