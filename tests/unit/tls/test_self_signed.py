"""For which names this edge signs, and what it signs."""

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from edgeproxy.clock import ManualClock
from edgeproxy.tls.schedule import DAY
from edgeproxy.tls.self_signed import make_certificate, signs_itself

PUBLIC = ("https://acme-v02.api.letsencrypt.org/directory",)
OWN = ("https://localhost:14000/dir",)


@pytest.mark.parametrize(
    ("name", "by_default", "beside_public", "beside_own"),
    [
        ("localhost", True, True, True),
        ("app.localhost", True, True, True),
        ("app.internal", True, True, False),
        ("printer.local", True, True, False),
        ("www.made-up.test", True, True, False),
        ("*.made-up.test", True, True, False),
        ("intranet", True, True, False),
        ("127.0.0.1", True, True, False),
        ("::1", True, True, False),
        ("10.1.2.3", True, True, False),
        ("fd00::1", True, True, False),
        ("192.168.0.1", True, True, False),
        ("9.9.9.9", False, False, False),
        ("2620:fe::fe", False, False, False),
        ("www.example.com", False, False, False),
        ("*.example.com", False, False, False),
        ("internal.example.com", False, False, False),
        ("notlocalhost.com", False, False, False),
    ],
)
def test_who_signs_for_a_name(name, by_default, beside_public, beside_own):
    assert signs_itself(name, ()) is by_default
    assert signs_itself(name, PUBLIC) is beside_public
    assert signs_itself(name, OWN) is beside_own
    assert signs_itself(name, PUBLIC + OWN) is beside_own


def test_what_is_signed_can_be_verified_by_whoever_trusts_it(tmp_path):
    now = ManualClock().seconds()
    certificate = make_certificate(("localhost", "127.0.0.1", "::1", "*.a.test"), now)
    assert set(certificate.names) == {"localhost", "127.0.0.1", "::1", "*.a.test"}
    assert certificate.not_before < now < certificate.not_after
    assert certificate.not_after - now == pytest.approx(90 * DAY, abs=1)
    leaf = x509.load_pem_x509_certificate(certificate.chain)
    assert isinstance(leaf.public_key().curve, ec.SECP256R1)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    pair = tmp_path / "pair.pem"
    pair.write_bytes(certificate.key + certificate.chain)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair)
    ssl.create_default_context(cafile=pair)


def test_each_has_a_key_of_its_own_and_long_names_fit():
    name = ".".join(["x" * 60] * 4) + ".test"
    one, other = make_certificate((name,), 1e9), make_certificate((name,), 1e9)
    assert one.key != other.key
    assert one.names == (name,)
