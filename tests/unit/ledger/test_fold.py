"""What the blocks add up to."""

from edgeproxy.caching.model import Height, Mark
from edgeproxy.ledger.block import Place, seal
from edgeproxy.ledger.chunks import ref_of
from edgeproxy.ledger.digests import ZERO
from edgeproxy.ledger.drafts import Draft, EraseDraft, EvictDraft, PurgeDraft, StoredNames, names_of
from edgeproxy.ledger.fold import Fold, Version
from tests.support.ledgers import NOW, SITE, store_draft

SALT = bytes(range(32))
URL = f"http://{SITE}/"
GERMAN, ENGLISH = (("accept-language", "de"),), (("accept-language", "en"),)


def _fold(*drafts: Draft) -> tuple[Fold, list[Version | None]]:
    fold = Fold(SALT)
    made = [
        fold.apply(seal(Place(Height(height), ZERO, NOW, "n"), draft, SALT), names_of(draft))
        for height, draft in enumerate(drafts, start=1)
    ]
    return fold, made


def test_versions_are_kept_by_url_and_variant_newest_last() -> None:
    fold, _ = _fold(
        store_draft(1, url=URL, selecting=GERMAN),
        store_draft(2, url=URL, selecting=ENGLISH),
        store_draft(3, url=URL, selecting=GERMAN, op="refresh", body=ref_of(b"body 1")),
        store_draft(4),
    )
    assert {key: [version.height for version in versions] for key, versions in fold.by_url[URL].items()} == {
        GERMAN: [1, 3],
        ENGLISH: [2],
    }
    assert [version.height for version in fold.newest(URL)] == [3, 2]
    assert [(version.height, version.op) for version in fold.history(URL)] == [(1, "store"), (2, "store"), (3, "refresh")]
    assert [fold.version(URL, height) for height in range(5)] == [None, *fold.history(URL), None]
    assert fold.version("http://unknown/", 1) is None
    assert fold.newest("http://unknown/") == fold.history("http://unknown/") == []


def test_a_version_says_what_its_block_says_and_keeps_its_leaf() -> None:
    draft = store_draft(1, url=URL, selecting=GERMAN)
    block = seal(Place(Height(1), ZERO, NOW, "n"), draft, SALT)
    version = Fold(SALT).apply(block, names_of(draft))
    assert version is not None
    assert (version.height, version.leaf, version.site, version.url) == (1, block.leaf, SITE, URL)
    assert (version.selecting, version.status, version.body, version.time) == (GERMAN, 200, draft.body, NOW)


def test_no_block_counts_twice() -> None:
    fold, _ = _fold(store_draft(1, url=URL))
    draft = store_draft(2, url=URL)
    assert fold.apply(seal(Place(Height(1), ZERO, NOW, "n"), draft, SALT), names_of(draft)) is None
    assert len(fold.history(URL)) == 1


def test_a_block_whose_names_are_lost_makes_no_version_but_counts() -> None:
    fold = Fold(SALT)
    assert fold.apply(seal(Place(Height(1), ZERO, NOW, "n"), store_draft(1), SALT), None) is None
    assert fold.height == 1
    assert not fold.by_url
    assert not fold.bodies()


def test_purges_become_rules() -> None:
    fold, _ = _fold(store_draft(1, url=URL), PurgeDraft(SITE, "url", URL, "hard", NOW))
    assert fold.rules.mark(Height(1), site=SITE, url=URL) is Mark.GONE


def test_an_evicted_body_is_gone_until_it_is_stored_again() -> None:
    body = ref_of(b"shared")
    first, evict, again = store_draft(1, url=URL, body=body), EvictDraft(body.digest, body.length, NOW), store_draft(2, body=body)
    fold, made = _fold(first, store_draft(3), evict)
    assert made[0] is not None
    assert not fold.has_body(made[0])
    assert set(fold.bodies()) == {ref_of(b"body 3").digest}
    assert fold.gone == {body.digest: 3}
    fold, made = _fold(first, evict, again)
    assert made[0] is not None
    assert fold.has_body(made[0])
    assert fold.bodies() == {body.digest: body}


def test_an_erased_url_has_no_versions_and_its_bodies_are_gone_until_they_are_stored_again() -> None:
    body = ref_of(b"secret")
    fold, _ = _fold(
        store_draft(1, url=URL, body=body), store_draft(2), EraseDraft(SITE, URL, (body.digest,), NOW), store_draft(4, url=URL)
    )
    assert [version.height for version in fold.history(URL)] == [4]
    assert fold.erased_at([f"{URL}x", URL], [SITE]) == 3
    assert (fold.erased_at([URL], ["other"]), fold.erased_at([f"{URL}x"], [SITE])) == (None, None)
    assert body.digest in fold.erased_bodies
    assert body.digest not in fold.bodies()
    again = seal(Place(Height(5), ZERO, NOW, "n"), store_draft(5, url=URL, body=body), SALT)
    version = fold.apply(again, names_of(store_draft(5, url=URL, body=body)))
    assert version is not None
    assert fold.has_body(version)
    assert fold.erased_bodies == set()
    assert fold.erasable(URL, SITE) == ({body.digest, ref_of(b"body 4").digest}, 2)


def test_who_else_has_a_body_is_known_for_named_and_blind_versions() -> None:
    body = ref_of(b"shared")
    fold, _ = _fold(store_draft(1, url=URL, body=body), store_draft(2, body=body))
    blind = seal(Place(Height(3), ZERO, NOW, "n"), store_draft(3, body=body), SALT)
    fold.apply_blind(blind)
    users = fold.users({body.digest}, {URL})[body.digest]
    assert users == {f"http://{SITE}/page/2", blind.entry.url}  # type: ignore[union-attr]
    assert fold.users({body.digest}, {URL, f"http://{SITE}/page/2", f"http://{SITE}/page/3"}) == {}


def test_blind_versions_are_adopted_in_their_order_among_the_others() -> None:
    fold, _ = _fold(store_draft(1))
    drafts = [store_draft(2, url=URL), store_draft(3, url=URL, selecting=GERMAN)]
    for height, draft in enumerate(drafts, start=2):
        fold.apply_blind(seal(Place(Height(height), ZERO, NOW, "n"), draft, SALT))
    newer = store_draft(4, url=URL)
    fold.apply(seal(Place(Height(4), ZERO, NOW, "n"), newer, SALT), names_of(newer))
    ((digest, blinds),) = fold.blind.items()
    fold.adopt(digest, [blinds[0].named(StoredNames(SITE, URL, ()))])
    assert [version.height for version in fold.by_url[URL][()]] == [2, 4]
    assert [each.entry.height for each in fold.blind[digest]] == [3]
    fold.adopt(digest, [blinds[1].named(StoredNames(SITE, URL, GERMAN))])
    assert fold.blind == {}
    assert fold.erasable(URL, SITE)[1] == 3
