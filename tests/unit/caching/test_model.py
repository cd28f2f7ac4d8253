"""The words that the outside sees."""

import re
from pathlib import Path

from edgeproxy.caching.model import Reason

CACHING = Path(__file__).parents[3] / "docs" / "caching.md"


def test_the_documentation_explains_every_reason_and_no_other_in_the_same_order() -> None:
    table = CACHING.read_text().partition("## Every reason")[2]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == [reason.value for reason in Reason]
