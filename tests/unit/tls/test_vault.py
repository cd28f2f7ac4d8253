"""The vault: what is stored is found again, whatever happened to the newest version, and nobody else can read it."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.clock import ManualClock
from edgeproxy.errors import CertificateFault
from edgeproxy.tls.certificate import Certificate
from edgeproxy.tls.snapshot import Snapshot, Version
from edgeproxy.tls.vault import KEPT, Vault, slug
from tests.support.local_authority import DAY, LocalAuthority

NAMES = ("a.example", "b.example")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def authority(clock: ManualClock) -> LocalAuthority:
    return LocalAuthority(clock)


@pytest.fixture
def vault(tmp_path: Path, clock: ManualClock) -> Vault:
    vault = Vault(tmp_path / "tls", clock)
    vault.open()
    return vault


def again(vault: Vault, clock: ManualClock) -> Vault:
    """The same vault as another process finds it."""
    return Vault(vault.folder, clock)


def files(vault: Vault) -> list[Path]:
    return sorted(vault.certificates.rglob("*.pem"))


async def test_what_is_stored_is_found_under_any_spelling_of_its_names(vault, authority, clock):
    stored = authority.certificate(*NAMES)
    await vault.store(stored)
    for names in (NAMES, ("B.Example.", "a.EXAMPLE"), ("a.example", "a.example", "b.example")):
        assert again(vault, clock).load(names) == stored
    assert vault.load(("a.example",)) is None
    assert vault.find(("a.example",)) == stored


async def test_only_the_owner_may_read(vault, authority):
    await vault.store(authority.certificate(*NAMES))
    await vault.save_state(NAMES, b"{}")
    await vault.request(NAMES)
    for path in (vault.folder, *vault.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_a_folder_that_others_may_read_is_closed_when_opened(vault, clock):
    vault.certificates.chmod(0o755)
    again(vault, clock).open()
    assert stat.S_IMODE(vault.certificates.stat().st_mode) == 0o700


async def test_three_older_versions_are_kept_and_used_from_the_newest_on(vault, authority, clock):
    stored = []
    for _ in range(6):
        stored.append(authority.certificate(*NAMES))
        await vault.store(stored[-1])
    assert len(files(vault)) == 1 + KEPT
    for expected in reversed(stored[-1 - KEPT :]):
        assert again(vault, clock).load(NAMES) == expected
        files(vault)[-1].unlink()
    assert again(vault, clock).load(NAMES) is None


async def test_a_damaged_newest_version_is_passed_over_and_reported(vault, authority, clock):
    older, newer = authority.certificate(*NAMES), authority.certificate(*NAMES)
    await vault.store(older)
    await vault.store(newer)
    files(vault)[-1].write_bytes(files(vault)[-1].read_bytes()[:700])
    fresh = again(vault, clock)
    assert fresh.load(NAMES) == older
    assert [damage.what for damage in fresh.damages.values()] == ["the file does not match its checksum"]
    newest = authority.certificate(*NAMES)
    await fresh.store(newest)
    assert again(vault, clock).load(NAMES) == newest


async def test_damaged_versions_do_not_push_out_good_ones(vault, authority, clock):
    good = authority.certificate(*NAMES)
    await vault.store(good)
    for _ in range(KEPT + 3):
        await vault.store(authority.certificate(*NAMES))
        files(vault)[-1].write_bytes(b"half")
    assert again(vault, clock).load(NAMES) == good


@pytest.mark.parametrize("part", [0.0, 0.02, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("length", [1, 40, 4096])
async def test_any_damaged_range_of_bytes_is_found_out(vault, authority, clock, part, length):
    await vault.store(authority.certificate(*NAMES))
    path = files(vault)[0]
    content = bytearray(path.read_bytes())
    start = int(len(content) * part)
    for position in range(start, min(start + length, len(content))):
        content[position] ^= 0x01
    path.write_bytes(content)
    fresh = again(vault, clock)
    assert fresh.load(NAMES) is None
    assert fresh.damages


async def test_a_file_that_is_a_folder_or_endless_is_damaged_and_not_an_error(vault, authority, clock):
    await vault.store(authority.certificate(*NAMES))
    folder = files(vault)[0].parent
    (folder / "00000002.pem").mkdir()
    (folder / "00000003.pem").write_bytes(b"x" * 2_000_000)
    (folder / "state.json").mkdir()
    fresh = again(vault, clock)
    assert fresh.load(NAMES) is not None
    assert fresh.load_state(NAMES) is None
    assert len(fresh.damages) == 3


async def test_a_certificate_for_trials_never_takes_the_place_of_a_valid_one(vault, authority, clock):
    good = authority.certificate(*NAMES, lifetime=30 * DAY)
    trial = authority.certificate(*NAMES, directory="https://acme-staging-v02.api.letsencrypt.org/directory")
    await vault.store(good)
    with pytest.raises(CertificateFault, match="for trials"):
        await vault.store(trial)
    assert vault.load(NAMES) == good
    clock.advance(31 * DAY)
    await vault.store(trial)
    assert vault.load(NAMES) == trial
    real = authority.certificate(*NAMES)
    await vault.store(real)
    assert vault.load(NAMES) == real


async def test_what_could_not_be_read_again_is_not_written(vault, authority):
    one, other = authority.certificate(*NAMES), authority.certificate(*NAMES)
    mixed = Certificate(**{**{field: getattr(one, field) for field in Certificate.__slots__}, "key": other.key})
    with pytest.raises(CertificateFault, match="does not belong"):
        await vault.store(mixed)
    assert files(vault) == []


async def test_followers_see_that_something_changed(vault, authority, clock):
    other = again(vault, clock)
    seen = {other.stamp()}
    for _ in range(3):
        await vault.store(authority.certificate(*NAMES))
        assert other.stamp() not in seen
        seen.add(other.stamp())
        assert other.load(NAMES) == vault.load(NAMES)
    await vault.request(("c.example",))
    assert other.stamp() not in seen


async def test_requests_of_all_processes_are_taken_once(vault, clock):
    await again(vault, clock).request(("b.example", "a.example"))
    await again(vault, clock).request(("c.example",))
    assert sorted(vault.take_requests()) == [("a.example", "b.example"), ("c.example",)]
    assert vault.take_requests() == []


async def test_state_is_kept_and_a_damaged_one_counts_as_none(vault, clock):
    assert vault.load_state(NAMES) is None
    await vault.save_state(NAMES, b'{"failures":3}')
    assert again(vault, clock).load_state(NAMES) == b'{"failures":3}'
    path = vault.certificates / slug(NAMES) / "state.json"
    path.write_bytes(path.read_bytes().replace(b"3}", b"9}"))
    assert vault.load_state(NAMES) is None


async def test_other_programs_can_read_the_file(vault, authority, tmp_path):
    import ssl

    await vault.store(authority.certificate(*NAMES))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files(vault)[0])


# -- which one is best ---------------------------------------------------------------------------------------------------------


async def test_the_best_of_several_that_cover_a_name(authority, clock):
    now = clock.seconds()
    exact = authority.certificate("a.example")
    wider = authority.certificate("a.example", "b.example")
    wild = authority.certificate("*.example")
    imported = authority.certificate("*.example", directory="")
    staging = authority.certificate("a.example", directory="https://staging.lab/")
    expired = authority.certificate("a.example", begins=now - 10 * DAY, lifetime=9 * DAY)
    for versions, best in (
        ([(exact, 1), (wider, 2)], exact),
        ([(exact, 1), (wild, 2)], exact),
        ([(exact, 1), (imported, 2)], imported),
        ([(imported, 1), (exact, 2)], exact),
        ([(wider, 1), (staging, 2)], wider),
        ([(staging, 1), (expired, 2)], staging),
        ([(wild, 1), (expired, 2)], wild),
        ([(expired, 1)], expired),
    ):
        snapshot = Snapshot(Version(certificate, float(stored)) for certificate, stored in versions)
        assert snapshot.find(("a.example",), now) == best
    assert Snapshot([Version(wild, 1.0)]).find(("a.b.example",), now) is None
    assert Snapshot([Version(wild, 1.0)]).find(("example",), now) is None
    assert Snapshot([]).find((), now) is None


@given(st.sets(st.text(st.characters(codec="utf-8"), max_size=300), min_size=1, max_size=5))
def test_any_name_set_has_a_folder_of_its_own_that_stays_inside(names: set[str]) -> None:
    folder = slug(names)
    assert "/" not in folder
    assert not folder.startswith((".", "..")) or len(folder) > 17
    assert len(folder.encode()) <= 120
    assert folder == slug(sorted(names, reverse=True))


async def test_an_operators_pair_is_imported_when_it_is_of_use(vault, authority, clock):
    issued = authority.sign(NAMES)
    imported = await vault.import_pair("A.example", issued.chain, issued.key)
    assert again(vault, clock).find(("a.example",)) == imported
    assert imported.directory == ""
    with pytest.raises(CertificateFault, match="for other names"):
        await vault.import_pair("c.example", issued.chain, issued.key)
    with pytest.raises(CertificateFault, match="does not belong"):
        await vault.import_pair("a.example", issued.chain, authority.sign(NAMES).key)


async def test_notes_for_all_certificates_together(vault, clock):
    await vault.save_note("counts", b"{}")
    assert again(vault, clock).load_note("counts") == b"{}"
    (vault.folder / "counts.json").write_bytes(b"{}")
    assert vault.load_note("counts") is None
    assert vault.damages
