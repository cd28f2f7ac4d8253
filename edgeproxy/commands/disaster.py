"""`ledger erase`, `ledger export` and `restore`: what an operator does before and after the worst.

Owns: their flags and how the answers look. What is erased, written and rebuilt is the business of `exchange.erasure` and
`recovery`.
"""

from typing import Annotated

import typer

from edgeproxy.admin.client import AdminClient
from edgeproxy.commands.options import AsJson, Config, Data, data_folder
from edgeproxy.commands.printing import bytes_text, complain, count_text, print_json, print_line, wrong_usage


def erase(
    url: Annotated[str, typer.Argument(metavar="URL", help="Absolute URL; every variant of it is meant.", show_default=False)],
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Also bodies that other URLs have: those lose their versions too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and erase nothing.")] = False,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Delete what is stored of a page for good: heads, bodies, names. The chain stays whole, and a block says so. Not undone."""
    if not url.startswith(("http://", "https://")):
        wrong_usage(f"{url!r} is not an absolute URL; allowed: http://HOST/PATH or https://HOST/PATH")
    order = {"url": url, "everywhere": everywhere, "dry_run": dry_run}
    answer = AdminClient.of_folder(data_folder(data, config), timeout=300.0).ledger_erase(order)
    if json:
        print_json(answer)
        return
    what = f"{count_text(answer['versions'], 'version')}, {answer['bodies']} of their bodies ({bytes_text(answer['bytes'])})"
    if dry_run:
        print_line(f"would erase {what}")
    else:
        heights = ", ".join(str(height) for height in answer["heights"])
        print_line(f"erased {what}; said in block {heights}")
    if answer["kept"]:
        print_line(f"{answer['kept']} bodies stay, since other URLs have them too (--everywhere erases them)")
    if answer["others"]:
        lose = "would lose" if dry_run else "lost"
        print_line(f"{count_text(answer['others'], 'other URL')} {lose} versions with these bodies")
    for name in answer["left"]:
        complain(f"{name} is a damaged database that was kept, and may hold what was erased: delete it by hand")
    if not dry_run:
        print_line("the origin still has it? Then the next visitor brings it back: take it away there first, and erase again")
