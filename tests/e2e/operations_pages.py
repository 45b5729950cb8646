"""Pages with commands as scripts: their `sh` blocks, in order, one shell per page."""

import re
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
FOLDER = _ROOT / "docs" / "operations"
# What a newcomer types; of the first page one section, since the others build this very environment.
EXAMPLES, FIRST_PAGE, TRIED = (
    _ROOT / "docs" / "examples" / "README.md",
    _ROOT / "README.md",
    "Try it",
)
_BLOCK = re.compile(r"^```(?P<language>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
# What a block may say it is. A block without a language is neither run nor said to be shown: nobody decided.
# `sql` needs a stopped program and another login: an integration test takes it from the page.
RUN, SHOWN = "sh", frozenset({"text", "json", "yaml", "sql"})


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    text: str
    line: int


def pages() -> list[Path]:
    return sorted(FOLDER.glob("*.md"))


def blocks_of(page: str) -> list[Block]:
    return [
        Block(
            language=found["language"],
            text=found["text"],
            line=page.count("\n", 0, found.start()) + 1,
        )
        for found in _BLOCK.finditer(page)
    ]


def section_of(page: str, heading: str) -> str:
    """What stands below this heading, to the next of its kind."""
    [_, section] = f"\n{page}".split(f"\n## {heading}\n")
    return section.split("\n## ")[0] + "\n"


def script_of(page: str) -> str:
    """Ends at the first command that fails; stderr names the line of the block that was begun last."""
    parts = ["set -euo pipefail"]
    for block in blocks_of(page):
        if block.language == RUN:
            parts += [f"echo '== line {block.line}' >&2", block.text]
    return "\n".join(parts) + "\n"
