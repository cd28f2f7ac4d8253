"""A raw origin that serves one case of `broken_origins`, and its own, correct answer on every other path."""

import asyncio

from tests.support.broken_origins import BrokenAnswer
from tests.support.raw_origin import RawConnection, RawOrigin, answer


class BrokenOrigin(RawOrigin):
    """`/broken` gets the case, or `good` while that is set; another path gets a body of "path connection-number". Set `taken`
    once the broken answer was read, to get `late` sent."""

    def __init__(self, case: BrokenAnswer, *, port: int = 0) -> None:
        super().__init__(self._play, port=port)
        self.case = case
        self.good = b""
        self.taken = asyncio.Event()
        self.late_sent = asyncio.Event()

    async def _play(self, connection: RawConnection) -> None:
        while head := await connection.read_head():
            target = head.split(b" ")[1]
            if target != b"/broken":
                await connection.send(answer(b"%b %d" % (target, connection.number), b"Cache-Control: no-store"))
                continue
            if self.good:
                await connection.send(self.good)
                continue
            await connection.send(self.case.raw)
            if self.case.after == "reset":
                await asyncio.sleep(0.05)  # a reset overtakes bytes that the client has not read
                connection.reset()
                return
            if self.case.after == "close":
                return
            if self.case.late:
                await self.taken.wait()
                await connection.send(self.case.late)
                self.late_sent.set()
