"""The table of mutants in `docs/testing.md`, made from the catalogue; a test holds the page to it."""

from pathlib import Path

from tests.simulation.mutants.catalogue import CATALOGUE

PAGE = Path(__file__).parents[3] / "docs" / "testing.md"
_BEGIN = "<!-- mutants: written by `python -m tests.simulation --document` -->\n"
_END = "<!-- end of mutants -->\n"


def table() -> str:
    lines = ["| mutant | what it breaks | found by | seed |\n", "|---|---|---|---|\n"]
    for mutant in CATALOGUE.values():
        rules = ", ".join(f"`{rule.name}`" for rule in sorted(mutant.rules))
        lines.append(f"| `{mutant.name}` | {mutant.breaks} | {rules} | {mutant.seed} |\n")
    return "".join(lines)


def page_with_table(page: str) -> str:
    """The page as it should be."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + table() + _END + after


def write() -> None:
    PAGE.write_text(page_with_table(PAGE.read_text()))
