"""The pages for operators say of each block whether it is run, and the extraction loses none."""

from pathlib import Path

import pytest

from tests.e2e.operations_pages import (
    EXAMPLES,
    FIRST_PAGE,
    FOLDER,
    RUN,
    SHOWN,
    TRIED,
    blocks_of,
    pages,
    script_of,
    section_of,
)

PAGE = "# Page\n\n```sh\nfirst\nsecond\n```\n\n```text\nshown\n```\n\n```sh\nthird\n```\n"


def test_the_blocks_of_a_page_are_run_in_order_and_what_is_shown_is_not() -> None:
    script = script_of(PAGE)

    assert [line for line in script.splitlines() if line in {"first", "second", "third"}] == [
        "first",
        "second",
        "third",
    ]
    assert "shown" not in script
    assert "== line 12" in script


def test_a_failing_command_ends_the_script() -> None:
    assert script_of(PAGE).startswith("set -euo pipefail\n")


@pytest.mark.parametrize(
    "page", [*pages(), EXAMPLES], ids=lambda page: f"{page.parent.name}/{page.name}"
)
def test_every_block_says_whether_it_is_run(page: Path) -> None:
    text = page.read_text()
    languages = {block.language for block in blocks_of(text)}

    assert languages <= {RUN, *SHOWN}
    assert text.count("```") == 2 * len(blocks_of(text))


def test_a_section_ends_where_the_next_one_begins() -> None:
    page = (
        PAGE + "## Second\n\n```sh\nfourth\n```\n\n### Below it\n\n## Third\n\n```sh\nfifth\n```\n"
    )

    assert [block.text for block in blocks_of(section_of(page, "Second"))] == ["fourth\n"]


def test_the_section_that_a_newcomer_tries_has_commands_that_are_run() -> None:
    blocks = blocks_of(section_of(FIRST_PAGE.read_text(), TRIED))

    assert [block.language for block in blocks] == [RUN, RUN]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_page_is_linked_from_the_first(page: Path) -> None:
    index = FOLDER / "README.md"

    assert page == index or f"]({page.name})" in index.read_text()
