"""An order to service workers is durable when the command returns, whatever ends the edge then."""

import asyncio
import urllib.request
from pathlib import Path

from edgeproxy.ledger.control import Control, open_control
from edgeproxy.storage.ledger_key import read_key
from tests.support.edge import EdgeProcess, command, json_of, write_config


def control(base: str, data: Path) -> Control:
    with urllib.request.urlopen(f"{base}/.edge/api/v1/control", timeout=10) as answer:
        signer = read_key(data)
        assert signer is not None
        return open_control(answer.read(), signer.verifier)


async def test_an_order_outlives_sigkill_and_a_reload_applies_the_configuration(tmp_path: Path) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:9", site='[site.service_worker]\nmode = "on"\n')
    edge = EdgeProcess(config)
    flags = ("--config", str(config))
    try:
        base = await asyncio.to_thread(edge.start)
        first = control(base, edge.data)
        assert first.mode == "on"
        ordered = json_of(await asyncio.to_thread(command, "sw", "kill", "--json", *flags))
        assert ordered["serial"] > first.serial  # type: ignore[operator]
        edge.kill()
        base = await asyncio.to_thread(edge.start)
        second = control(base, edge.data)
        assert second.mode == "kill"
        assert second.serial > ordered["serial"]  # type: ignore[operator]
        text = config.read_text()
        config.write_text(text.replace('mode = "on"', 'mode = "on"\npercent = 5'))
        assert (await asyncio.to_thread(command, "reload", *flags)).returncode == 0
        third = control(base, edge.data)
        assert (third.percent, third.mode) == (5, "kill")
        config.write_text(text.replace('mode = "on"', 'mode = "off"'))
        assert (await asyncio.to_thread(command, "reload", *flags)).returncode == 0
        assert (await asyncio.to_thread(command, "sw", "config", *flags)).returncode == 0
        shown = json_of(await asyncio.to_thread(command, "status", "--json", *flags))
        (site,) = shown["service_workers"]["sites"]  # type: ignore[index]
        assert (site["mode"], site["configured"], site["ordered"]) == ("kill", "off", None)
        assert (await asyncio.to_thread(command, "sw", "on", "--site", "", *flags)).returncode == 1
    finally:
        if edge.process is not None and edge.process.poll() is None:
            edge.kill()
