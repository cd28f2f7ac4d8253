"""A process on a vault, to be killed: `write` stores certificate after certificate, `keep` keeps one with a local authority.

python -m tests.support.vault_process write FOLDER PAIRS STEP COUNT    kills itself at the COUNT-th time that STEP is reached
python -m tests.support.vault_process keep FOLDER COUNTER NAME DELAY   says "leads", "serves FINGERPRINT"; DELAY in seconds
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from edgeproxy.clock import SystemClock
from edgeproxy.tls.certificate import Certificate, parse_certificate
from edgeproxy.tls.keeper import Keeper, KeeperSettings, Wanted
from edgeproxy.tls.vault import Step, Vault
from tests.support.local_authority import LocalAuthority


def say(*words: object) -> None:
    print(*words, flush=True)


async def write(folder: Path, pairs: Path, step: str, count: int) -> None:
    left = count

    def at(reached: Step) -> None:
        nonlocal left
        if reached.name == step:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    vault = Vault(folder, SystemClock(), on_step=at)
    vault.open()
    for pair in sorted(pairs.iterdir()):
        content = pair.read_bytes()
        certificate = parse_certificate(content, content, directory="https://ca.lab/directory")
        await vault.store(certificate)
        say("stored", certificate.fingerprint)
        await vault.save_state(certificate.names, b'{"failures":1}')
        say("saved")


async def keep(folder: Path, counter: Path, name: str, delay: float) -> None:
    clock = SystemClock()
    authority = LocalAuthority(clock, counter=counter, delay=lambda: asyncio.sleep(delay))
    keeper = Keeper(Vault(folder, clock), [authority], clock, KeeperSettings(watch_seconds=0.05))

    def changed(certificate: Certificate) -> None:
        if certificate.directory == authority.directory:
            say("serves", certificate.fingerprint)

    async def leads() -> None:
        say("leads")

    keeper.on_change, keeper.on_lead = changed, leads
    keeper.want([Wanted((name,))])
    await keeper.start()
    say("started")
    await asyncio.Event().wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", folder, pairs, step, count]:
            asyncio.run(write(Path(folder), Path(pairs), step, int(count)))
        case ["keep", folder, counter, name, delay]:
            asyncio.run(keep(Path(folder), Path(counter), name, float(delay)))
