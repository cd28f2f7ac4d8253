"""Asks a running edge, for the command line.

Owns: the HTTP exchange with the admin side and the errors a person can act on. Must not print. Synchronous: a command asks once.
"""

import http.client
import ipaddress
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from edgeproxy.admin.presence import TOKEN_FILE, Running, find, read_token
from edgeproxy.errors import EdgeError, Fault

Query = Sequence[tuple[str, str]]


class NotRunning(EdgeError):
    """No edge answers for this data folder."""

    fault = Fault.OPERATOR


class AdminRefused(EdgeError):
    """The edge answered with an error. `answer` is its JSON."""

    fault = Fault.OPERATOR
    status: ClassVar[int] = 400

    def __init__(self, text: str, *, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.status = status  # type: ignore[misc]  # an instance may be more exact than its class
        self.answer = answer


class AdminClient:
    """The admin side of one running edge. Time-outs in seconds."""

    def __init__(self, running: Running, token: str, *, timeout: float = 30.0) -> None:
        host, _, port = running.address.rpartition(":")
        self._host = reachable(host.removeprefix("[").removesuffix("]"))
        self._port = int(port)
        self._token = token
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"AdminClient({self._host}:{self._port})"

    @classmethod
    def of_folder(cls, data: Path, *, timeout: float = 30.0) -> "AdminClient":
        """The client for the edge whose data folder is `data`. Raises `NotRunning`, also when its token may not be read."""
        folder = data.absolute()  # a command in the wrong folder must not look like an edge that is gone
        try:
            running = find(data)
            token = read_token(data)
            is_there = data.is_dir()
        except PermissionError:
            raise NotRunning(f"the data folder {folder} belongs to another user: run this as the user of the edge") from None
        if running is None:
            missing = "" if is_there else ": there is no such folder"
            raise NotRunning(
                f"no edge is running with data folder {folder}{missing}; --data DIR or --config FILE names that of the edge"
            )
        if token is None:
            raise NotRunning(f"{folder / TOKEN_FILE} is missing although an edge seems to run: it makes one at its next start")
        return cls(running, token, timeout=timeout)

    def status(self) -> dict[str, Any]:
        """`AdminBackend.status`."""
        return self._ask("GET", "/api/v1/status")

    def explain(self, url: str, fields: Query = ()) -> dict[str, Any]:
        """`AdminBackend.explain`; `fields` are request fields."""
        query = [("url", url), *(("field", f"{name}: {value}") for name, value in fields)]
        return self._ask("GET", f"/api/v1/explain?{urlencode(query)}")

    def purge(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """`AdminBackend.purge`; `order` has the keys of `PurgeOrder`."""
        return self._ask("POST", "/api/v1/purge", order)

    def rollback(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """`AdminBackend.rollback`; `order` has the keys of `RollbackOrder`."""
        return self._ask("POST", "/api/v1/rollback", order)

    def release(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """`AdminBackend.release`; `order` has the keys of `ReleaseOrder`."""
        return self._ask("POST", "/api/v1/release", order)

    def reload(self) -> dict[str, Any]:
        """`AdminBackend.reload`: {"applied", "faults", "restart"}."""
        try:
            return self._ask("POST", "/api/v1/reload", {})
        except AdminRefused as error:
            if "faults" in error.answer:
                return dict(error.answer)
            raise

    def certificates(self) -> list[dict[str, Any]]:
        """`AdminBackend.certificates`."""
        return list(self._ask("GET", "/api/v1/certificates")["certificates"])

    def renew(self, name: str) -> dict[str, Any]:
        """`AdminBackend.renew`."""
        return self._ask("POST", "/api/v1/certificates/renew", {"name": name})

    def service_workers(self) -> dict[str, Any]:
        """`AdminBackend.service_workers`."""
        return self._ask("GET", "/api/v1/service-worker")

    def order_workers(self, mode: str, site: str | None) -> dict[str, Any]:
        """`AdminBackend.order_workers`."""
        return self._ask("POST", "/api/v1/service-worker", {"mode": mode, "site": site})

    def ledger_head(self) -> dict[str, Any]:
        """`AdminBackend.ledger_head`."""
        return self._ask("GET", "/api/v1/ledger/head")

    def ledger_rotate(self) -> dict[str, Any]:
        """`AdminBackend.ledger_rotate`."""
        return self._ask("POST", "/api/v1/ledger/rotate", {})

    def ledger_erase(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """`AdminBackend.ledger_erase`; `order` has "url", "everywhere", "dry_run"."""
        return self._ask("POST", "/api/v1/ledger/erase", order)

    def ledger_show(self, height: int) -> dict[str, Any] | None:
        """`AdminBackend.ledger_show`; None when there is no such block."""
        try:
            return self._ask("GET", f"/api/v1/ledger/blocks/{height}")
        except AdminRefused as error:
            if error.status == 404:
                return None
            raise

    def ledger_history(self, url: str, limit: int = 100) -> dict[str, Any]:
        """`AdminBackend.ledger_history`."""
        return self._ask("GET", f"/api/v1/ledger/history?url={quote(url, safe='')}&limit={limit}")

    def _ask(self, method: str, target: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        fields = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            fields["Content-Type"] = "application/json"
        try:
            connection.request(method, target, payload, fields)
            answer = connection.getresponse()
            status, data = answer.status, answer.read()
        except ConnectionRefusedError:
            raise NotRunning(f"no edge answers at {self._host}:{self._port}: it is not running, or it was killed") from None
        except TimeoutError:
            # An order that was sent is obeyed by an edge that was only slow, long after nobody waits for its answer.
            still = "; what was asked may still be carried out: ask `edgeproxy status` before you repeat it"
            raise NotRunning(
                f"the edge at {self._host}:{self._port} did not answer within {self._timeout:g} seconds"
                + (still if method == "POST" else "")
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise NotRunning(f"no edge answers at {self._host}:{self._port}: {error}") from None
        finally:
            connection.close()
        return self._judge(status, data)

    def _judge(self, status: int, data: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise NotRunning(f"something else than an edge answers at {self._host}:{self._port}")
        if status == 401:
            raise NotRunning(
                f"the edge at {self._host}:{self._port} does not know the token of this data folder: it is another edge"
            )
        if status >= 400:
            raise AdminRefused(str(answer.get("error", "refused")), status=status, answer=answer)
        return answer


def reachable(host: str) -> str:
    """The address to connect to for one that listens: every interface includes loopback."""
    if not host:
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
