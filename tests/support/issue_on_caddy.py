"""Certificates from Caddy's acme_server, asked for inside its namespace: prints, as JSON, what was asked and what came."""

import asyncio
import json
import os
import sys
from pathlib import Path

from cryptography import x509

from edgeproxy.clock import SystemClock
from edgeproxy.tls.acme.chains import names_of
from edgeproxy.tls.acme.dns_hook import DnsHook
from edgeproxy.tls.acme.issuer import Authority, Issuer
from tests.support.challenge_servers import alpn_answers, dns_hook_script, http_answers
from tests.support.pebble import DnsServer

ASKED = [
    ("http-01", ["www.made-up.test", "made-up.test"]),
    ("http-01", ["127.0.0.1"]),
    ("tls-alpn-01", ["alpn.made-up.test", "made-up.test"]),
    ("tls-alpn-01", ["127.0.0.1"]),
    ("dns-01", ["*.wild.test"]),
]


async def main(folder: Path) -> None:
    root = x509.load_pem_x509_certificate(Path(os.environ["CADDY_CA_FILE"]).read_bytes())
    hook = DnsHook([str(dns_hook_script(folder, DnsServer(int(os.environ["DNS_MANAGEMENT"]))))])
    came = []
    async with http_answers(80) as http, alpn_answers(443, folder) as alpn:
        presenters = {"http-01": http, "tls-alpn-01": alpn, "dns-01": hook}
        for challenge, names in ASKED:
            authority = Authority(os.environ["CADDY_DIRECTORY"], Path(os.environ["CADDY_CA_FILE"]), challenges=(challenge,))
            issuer = Issuer(authority, folder / "data", presenters, SystemClock())
            issued = await issuer.obtain(names)
            chain = x509.load_pem_x509_certificates(issued.chain)
            chain[-1].verify_directly_issued_by(root)
            info = await issuer.renewal_info(issued.chain)
            await issuer.close()
            came.append({"challenge": challenge, "names": sorted(names_of(chain[0])), "renewal_info": info})
    print(json.dumps(came))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
