"""What the service worker must take and what it must refuse, made by the ledger's own code; nothing here is random.

`ledger_vectors` is for the units of the worker, `site_vectors` for a browser: a small site whose every answer has its proof.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeproxy.caching.key import KeyRules, primary_key
from edgeproxy.caching.model import Digest, Selecting
from edgeproxy.clock import Instant
from edgeproxy.ledger.block import Block, Place, seal, seal_genesis
from edgeproxy.ledger.checkpoint import Checkpoint, sign_checkpoint
from edgeproxy.ledger.chunks import ref_of
from edgeproxy.ledger.digests import sha256, site_salt, url_digest
from edgeproxy.ledger.drafts import Draft, PurgeDraft, StoreDraft
from edgeproxy.ledger.evidence import Clear, encode_clear
from edgeproxy.ledger.merkle import root_of
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from edgeproxy.ledger.notes import SignatureLine, parse_note, sign_note
from edgeproxy.ledger.proof_file import ProofFile
from edgeproxy.ledger.proofs import inclusion_proof
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import encode_stored_head
from tests.support.trees import nodes_of

NOW = Instant(1_764_000_000_000)
SITE = "www.example.org"
ORIGIN = "www.example.org/.edge/ledger"
LOG = Signer(ORIGIN, bytes([1]) * 32)
NEXT = Signer(ORIGIN, bytes([2]) * 32)
STRANGER = Signer(ORIGIN, bytes([9]) * 32)
VALIDATORS = [Signer(f"validator-{number}.example", bytes([10 + number]) * 32, COSIGNATURE) for number in range(3)]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass
class Log:
    """A log in memory."""

    genesis_salt: bytes = bytes([7]) * 32
    blocks: list[Block] = field(default_factory=list)
    heads: dict[int, tuple[StoreDraft, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.blocks.append(seal_genesis(NOW, "edge-1", self.genesis_salt))

    @property
    def salt(self) -> Digest:
        return site_salt(self.genesis_salt, SITE)

    def append(self, draft: Draft) -> int:
        last = self.blocks[-1]
        block = seal(Place(last.height + 1, last.leaf, max(last.time, draft.time), "edge-1"), draft, self.genesis_salt)
        self.blocks.append(block)
        return block.height

    def store(self, url: str, body: bytes, head: Mapping[str, str] | None = None, **fields: Any) -> int:
        """A response is stored; the height of its block."""
        lines = {"Content-Type": "text/plain", "Cache-Control": "max-age=60", "Age": "3", **(head or {})}
        values: dict[str, Any] = {"status": 200, "selecting": (), "time": Instant(NOW + len(self.blocks)), "trace": "", **fields}
        encoded = encode_stored_head(values["status"], Fields(list(lines.items())))
        draft = StoreDraft(op="store", site=SITE, url=url, head=encoded, body=ref_of(body), **values)
        height = self.append(draft)
        self.heads[height] = (draft, body)
        return height

    def checkpoint(self, size: int = 0, signer: Signer = LOG) -> bytes:
        size = size or len(self.blocks)
        root = root_of(block.leaf for block in self.blocks[:size])
        return sign_checkpoint(Checkpoint(signer.name, size, root), signer)

    def proof(self, height: int, size: int = 0, note: bytes | None = None) -> ProofFile:
        size = size or len(self.blocks)
        path = inclusion_proof(nodes_of([block.leaf for block in self.blocks]), height, size)
        draft, _ = self.heads[height]
        extra = encode_clear(Clear(draft.url, draft.selecting, self.salt))
        return ProofFile(height, path, note or self.checkpoint(size), extra)

    def answer(self, height: int, proof: ProofFile | None = None) -> dict[str, Any]:
        """What the block API says of a block."""
        draft, body = self.heads[height]
        return {
            "block": b64(self.blocks[height].raw),
            "proof": (proof or self.proof(height)).encode().decode(),
            "head": b64(draft.head),
            "body": sha256(body).hex(),
            "length": len(body),
            "height": height,
        }


def cosigned(note: bytes, count: int, timestamp: int = NOW // 1000) -> bytes:
    """A checkpoint with the signatures of the first `count` validators."""
    parsed = parse_note(note)
    lines = [SignatureLine(each.name, each.key_id, each.sign(parsed.message, timestamp)) for each in VALIDATORS[:count]]
    return note + "".join(str(line) for line in lines).encode()


def control(serial: int, *, signer: Signer = LOG, **changed: Any) -> str:
    """A control document."""
    said = {
        "serial": serial,
        "issued": NOW + serial,
        "mode": "on",
        "percent": 100,
        "site": SITE,
        "salt": b64(Log().salt),
        "max_stale": 604_800,
        "mirrors": ["https://mirror.example"],
        "validators": None,
        **changed,
    }
    text = f"{signer.name}/control\nedgeproxy-control/v1\n{json.dumps(said, separators=(',', ':'))}\n"
    return sign_note(text, (signer,)).encode().decode()


def _swap(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


def _flip(encoded: str, at: int) -> str:
    data = bytearray(base64.b64decode(encoded))
    data[at] ^= 1
    return b64(bytes(data))


PAGE = f"https://{SITE}/news"


def _log() -> Log:
    log = Log()
    log.store(PAGE, b"the first news")
    log.store(f"https://{SITE}/style.css", b"p { color: teal }", {"Content-Type": "text/css"})
    log.append(PurgeDraft(site=SITE, kind="url", value=PAGE, mode="soft", time=Instant(NOW + 3)))
    log.store(PAGE, b"the second news")
    log.store(f"https://{SITE}/lang", b"auf deutsch", selecting=(("accept-language", "de"),))
    log.store(f"https://{SITE}/mine", b"my own page", selecting=(("cookie", "id=7"),))
    log.store(f"https://{SITE}/gone", b"not found", status=404)
    log.store(f"https://{SITE}/large", bytes(range(256)) * 1100)
    log.store(f"https://{SITE}/zipped", b"\x1f\x8b...", {"Content-Encoding": "gzip"})
    return log


def _answer(log: Log, height: int, answer: dict[str, Any] | None = None) -> dict[str, Any]:
    draft, body = log.heads[height]
    # A body of several hundred kilobytes is told by what it repeats.
    told = {"body": b64(body)} if len(body) < 10_000 else {"body": b64(body[:256]), "times": len(body) // 256}
    return {"key": draft.url, "answer": answer or log.answer(height), **told}


def _accepted(log: Log) -> dict[str, Any]:
    note = cosigned(log.checkpoint(), 2)
    later = _log()
    later.store(f"https://{SITE}/more", b"more")
    rotated = log.proof(4, note=log.checkpoint(signer=NEXT))
    return {
        "page": _answer(log, 4),
        "page, earlier version": _answer(log, 1),
        "page, earlier checkpoint": _answer(log, 4, log.answer(4, log.proof(4, size=6))),
        "page, later checkpoint": _answer(log, 4, later.answer(4)),
        "page, two validators": _answer(log, 4, log.answer(4, log.proof(4, note=note))),
        "page, next key": _answer(log, 4, log.answer(4, rotated)),
        "style": _answer(log, 2),
        "one of several variants": _answer(log, 5),
        "with chunks": _answer(log, 8),
        "no clear values": _answer(log, 4, log.answer(4, ProofFile(4, log.proof(4).path, log.checkpoint()))),
    }


def _refused(log: Log) -> list[dict[str, Any]]:
    good = log.answer(4)
    proof = log.proof(4)
    lines = good["proof"].split("\n")
    cases: list[dict[str, Any]] = []

    def case(name: str, code: str, *, height: int = 4, body: bytes | None = None, key: str = "", **changed: Any) -> None:
        told = _answer(log, height, {**log.answer(height), **changed})
        cases.append(
            {
                "name": name,
                "code": code,
                **told,
                **({"body": b64(body)} if body is not None else {}),
                **({"key": key} if key else {}),
            }
        )

    def proved(**changed: Any) -> str:
        values = {"index": proof.index, "path": proof.path, "note": proof.note, "extra": proof.extra, **changed}
        return ProofFile(**values).encode().decode()

    def forged(text: Callable[[str], str]) -> str:
        return proved(note=sign_note(text(parse_note(proof.note).text), (LOG,)).encode())

    case("body of another version", "body", body=b"the first news")
    case("body with a byte flipped", "body", body=b"the second newt")
    case("body cut off", "body", body=b"the second")
    case("head with a byte changed", "head", head=_flip(good["head"], 40))
    case("head of another block", "head", head=log.answer(2)["head"])
    case("answer for another URL", "url", key=f"https://{SITE}/other")
    case("answer for the same path elsewhere", "url", key="https://elsewhere.example/news")
    case("answer for another query", "url", key=f"{PAGE}?page=2")
    case("block with a byte changed", "path", block=_flip(good["block"], 60))
    case("block of another place", "path", block=log.answer(2)["block"])
    case("index of another place", "path", proof=proved(index=3))
    case("index outside the tree", "path", proof=proved(index=len(log.blocks)))
    case("path cut short", "path", proof=proved(path=proof.path[:-1]))
    case("path too long", "path", proof=proved(path=(*proof.path, proof.path[0])))
    case("path swapped", "path", proof=proved(path=(proof.path[1], proof.path[0], *proof.path[2:])))
    case("signed by a stranger under our name", "unsigned", proof=proved(note=log.checkpoint(signer=STRANGER)))
    case("signature with a byte flipped", "signature", proof=_swap(good["proof"], lines[-2], _spoiled(lines[-2])))
    case(
        "size changed after signing",
        "signature",
        proof=_swap(good["proof"], f"\n{len(log.blocks)}\n", f"\n{len(log.blocks) + 1}\n"),
    )
    case("another log's checkpoint under our key", "origin", proof=forged(lambda text: _swap(text, ORIGIN, "other.example/log")))
    case("extension line", "checkpoint", proof=forged(lambda text: f"{text}more\n"))
    case(
        "size with a leading zero",
        "form",
        proof=forged(lambda text: _swap(text, f"\n{len(log.blocks)}\n", f"\n0{len(log.blocks)}\n")),
    )
    case("root of 31 bytes", "form", proof=forged(lambda text: _swap(text, text.split("\n")[2], b64(bytes(31)))))
    case("root without padding", "form", proof=forged(lambda text: text.replace("=\n", "\n")))
    case("signature line twice", "note", proof=good["proof"] + lines[-2] + "\n")
    case("carriage returns", "form", proof=good["proof"].replace("\n", "\r\n"))
    case("no last line feed", "form", proof=good["proof"][:-1])
    case("not a proof", "proof", proof="c2sp.org/tlog-proof@v2\n" + good["proof"].split("\n", 1)[1])
    case("index with a plus", "form", proof=_swap(good["proof"], "index 4", "index +4"))
    case("hash with idle bits", "form", proof=_swap(good["proof"], lines[3], lines[3][:-2] + _idle(lines[3][-2]) + "="))
    case("block in sloppy base64", "form", block=good["block"] + "\n")
    case("variant of another language", "variant", height=5, proof=log.proof(4).encode().decode().replace("index 4", "index 5"))
    cases[-1]["answer"]["proof"] = _with_extra(log, 5, (("accept-language", "en"),))
    case("another site's salt", "url", proof=proved(extra=encode_clear(Clear(PAGE, (), bytes(32)))))
    case("salt of 31 bytes", "form", proof=proved(extra=encode_clear(Clear(PAGE, (), bytes(31)))))
    case("extra that is no JSON", "variant", proof=proved(extra=b"{"))
    case("selected by a cookie", "private", height=6)
    case("not found, stored", "status", height=7)
    case("a coded body", "status", height=9)
    case("no validators", "quorum")
    cases[-1]["quorum"] = 2
    case("one validator of two", "quorum", proof=proved(note=cosigned(proof.note, 1)))
    cases[-1]["quorum"] = 2
    case("a validator's clock a day ahead", "quorum", proof=proved(note=cosigned(proof.note, 2, NOW // 1000 + 86_400)))
    cases[-1]["quorum"] = 2
    case("a validator's signature of another checkpoint", "signature", proof=proved(note=_borrowed(log, proof.note)))
    cases[-1]["quorum"] = 2
    case("signed by a validator only", "unsigned", proof=proved(note=_only_validators(proof.note)))
    cases[-1]["quorum"] = 1
    return cases


def _spoiled(line: str) -> str:
    name, encoded = line.rsplit(" ", 1)
    return f"{name} {_flip(encoded, 20)}"


def _idle(character: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return alphabet[alphabet.index(character) | 1]


def _with_extra(log: Log, height: int, selecting: Selecting) -> str:
    made = log.proof(height)
    return (
        ProofFile(made.index, made.path, made.note, encode_clear(Clear(log.heads[height][0].url, selecting, log.salt)))
        .encode()
        .decode()
    )


def _borrowed(log: Log, note: bytes) -> bytes:
    other = cosigned(log.checkpoint(size=5), 1).decode().split("\n")[-2]
    return note + f"{other}\n".encode()


def _only_validators(note: bytes) -> bytes:
    parsed = parse_note(note)
    line = SignatureLine(VALIDATORS[0].name, VALIDATORS[0].key_id, VALIDATORS[0].sign(parsed.message, NOW // 1000))
    return f"{parsed.text}\n{line}".encode()


def _following(log: Log) -> list[dict[str, Any]]:
    """Checkpoints one after the other: what was seen, what comes, and what of it."""
    fork = Log()
    for number in range(len(log.blocks) - 1):
        fork.store(f"https://{SITE}/fork/{number}", b"fork")
    notes = {"at 6": log.checkpoint(6), "at 10": log.checkpoint(10), "forked at 10": fork.checkpoint()}
    cases = [
        ("at 6", "at 10", True, ""),
        ("at 10", "at 10", True, ""),
        ("at 10", "at 6", True, "rolled-back"),
        ("at 10", "at 6", False, ""),
        ("at 10", "forked at 10", True, "equivocation"),
        ("at 10", "forked at 10", False, "equivocation"),
        ("at 6", "forked at 10", False, ""),
    ]
    return [
        {"seen": notes[seen].decode(), "next": notes[comes].decode(), "edge": edge, "code": code}
        for seen, comes, edge, code in cases
    ]


def _controls() -> dict[str, Any]:
    good = control(7)
    text = parse_note(good.encode()).text
    return {
        "good": good,
        "newer": control(8, mode="kill"),
        "with validators": control(9, validators={"quorum": 2, "keys": [str(each.verifier) for each in VALIDATORS]}),
        "half": control(10, percent=50),
        "older": control(6, mode="bypass"),
        "same serial, other orders": control(7, mode="kill"),
        "another site": control(8, site="other.example"),
        "refused": {
            "a stranger's": [control(8, signer=STRANGER), "unsigned"],
            "changed after signing": [_swap(good, '"mode":"on"', '"mode":"kill"'), "signature"],
            "unknown mode": [control(8, mode="explode"), "control"],
            "spaces": [sign_note(text.replace(":", ": "), (LOG,)).encode().decode(), "control"],
            "another first line": [sign_note(_swap(text, "/control", "/kontrol"), (LOG,)).encode().decode(), "control"],
            "another version": [sign_note(_swap(text, "/v1", "/v2"), (LOG,)).encode().decode(), "control"],
            "a fourth line": [sign_note(f"{text}more\n", (LOG,)).encode().decode(), "control"],
            "a key more": [sign_note(_swap(text, "}", ',"more":1}'), (LOG,)).encode().decode(), "control"],
            "a key less": [sign_note(_swap(text, '"percent":100,', ""), (LOG,)).encode().decode(), "control"],
            "serial in writing": [sign_note(_swap(text, '"serial":7', '"serial":"7"'), (LOG,)).encode().decode(), "control"],
            "short salt": [sign_note(_swap(text, b64(Log().salt), "AAAA"), (LOG,)).encode().decode(), "form"],
        },
    }


_URLS = (
    "https://WWW.Example.org/",
    "https://www.example.org",
    "http://www.example.org:80/a",
    "https://www.example.org:443/a",
    "https://www.example.org:8443/a",
    "https://www.example.org/a?",
    "https://www.example.org/a?b=1#part",
    "https://www.example.org/%c3%a9?x=%2f",
    "https://www.example.org/a?utm_source=x&b=2&utm_medium=y&fbclid=1",
    "https://www.example.org/a?utm_source=x",
    "https://www.example.org/a?utm=x&&b",
    "https://[2001:db8::1]:8443/a",
    "https://www.example.org/a;b=c/d,e?f=g+h",
)
_IGNORED = ("utm_*", "fbcl?d")


def ledger_vectors() -> dict[str, Any]:
    """For the units."""
    log = _log()
    return {
        "about": "Made by tests/support/sw_vectors.py from the ledger's code; UPDATE=1 pytest tests/unit/serviceworker.",
        "now": NOW + 1000,
        "site": SITE,
        "origin": ORIGIN,
        "salt": b64(log.salt),
        "keys": [str(LOG.verifier), str(NEXT.verifier)],
        "validators": [str(each.verifier) for each in VALIDATORS],
        "accepted": _accepted(log),
        "refused": _refused(log),
        "following": _following(log),
        "controls": _controls(),
        "digests": {draft.url: url_digest(log.salt, draft.url).hex() for draft, _ in log.heads.values()},
        "urls": [
            {"url": url, "ignore": list(ignore), "key": key, "digest": url_digest(log.salt, key).hex()}
            for url in _URLS
            for ignore in ((), _IGNORED)
            for key in (primary_key(url, KeyRules(ignore)),)
        ],
    }


SITE_URL = "http://site.localhost"
_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<h1>{title}</h1>
<p id="said">The script has not run.</p>
<img src="/picture.svg" alt="A lighthouse" width="120" height="120">
<audio id="tone" controls preload="metadata" src="/tone.wav"></audio>
<p><a id="next" href="/second">The second page</a></p>
<script src="/page.js"></script>
</body>
</html>
"""
# Page, its policy as the origin sent it, and as the edge amends it for its two scripts.
_POLICIES = {
    "/strict": (
        f"default-src 'self'; script-src {SITE_URL}/page.js; object-src 'none'",
        f"default-src 'self'; script-src {SITE_URL}/page.js {SITE_URL}/.edge/ui/; object-src 'none'; "
        f"worker-src {SITE_URL}/.edge/sw.js",
    ),
    "/nonce": (
        "script-src 'nonce-r4nd0m'; require-trusted-types-for 'script'",
        "script-src 'nonce-r4nd0m'; require-trusted-types-for 'script'; worker-src 'self'",
    ),
}
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">'
    '<path fill="#136f63" d="M4 9 4.4 3h1.2L6 9z"/><circle cx="5" cy="2" r="1" fill="#e0a100"/></svg>'
)


def _wav(seconds: int = 6, rate: int = 4_000) -> bytes:
    samples = bytes((128 + 60 * ((count * 440 // rate) % 2)) & 255 for count in range(seconds * rate))
    head = b"RIFF" + (36 + len(samples)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = b"".join(number.to_bytes(size, "little") for number, size in ((1, 2), (1, 2), (rate, 4), (rate, 4), (1, 2), (8, 2)))
    return head + form + b"data" + len(samples).to_bytes(4, "little") + samples


def site_vectors() -> dict[str, Any]:
    """For a browser: what a small site answers, and the proof of each answer."""
    log = Log()
    parts = {
        "/": ("text/html; charset=utf-8", _HTML.format(title="The lighthouse").encode()),
        "/second": ("text/html; charset=utf-8", _HTML.format(title="The second page").encode()),
        "/style.css": ("text/css", b"h1 { color: rgb(19, 111, 99) }"),
        "/page.js": ("text/javascript", b'document.getElementById("said").textContent = "The script has run."'),
        "/picture.svg": ("image/svg+xml", _SVG.encode()),
        "/tone.wav": ("audio/wav", _wav()),
    }
    heights = {path: log.store(SITE_URL + path, body, {"Content-Type": kind}) for path, (kind, body) in parts.items()}
    for path, (policy, _) in _POLICIES.items():
        page = _HTML.format(title=path).replace('src="/page.js"', 'src="/page.js" nonce="r4nd0m"').encode()
        parts[path] = ("text/html; charset=utf-8", page)
        heights[path] = log.store(SITE_URL + path, page, {"Content-Type": "text/html", "Content-Security-Policy": policy})
    return {
        "about": "Made by tests/support/sw_vectors.py; see ledger.json.",
        "url": SITE_URL,
        "edge": {
            "keys": [str(LOG.verifier)],
            "origin": ORIGIN,
            "site": SITE,
            "salt": b64(log.salt),
            "version": "test",
            "max_stale": 2_000_000_000,
        },
        "controls": {
            mode: control(serial, mode=mode, salt=b64(log.salt), mirrors=["http://mirror.localhost"], max_stale=2_000_000_000)
            for serial, mode in enumerate(("on", "observe", "bypass", "kill"), start=1)
        },
        "parts": {
            path: {
                "type": kind,
                "body": b64(body),
                "policy": _POLICIES[path][1] if path in _POLICIES else None,
                "digest": url_digest(log.salt, SITE_URL + path).hex(),
                "answer": log.answer(heights[path]),
            }
            for path, (kind, body) in parts.items()
        },
    }
