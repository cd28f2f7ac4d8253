"""Where spans go and which exchanges get them: the config file and the OTEL_* environment, made into one value.

Owns: precedence. An OTEL_* variable that is set wins over the config file, since it belongs to this one process; that is what
operators of containers expect. Must not touch the SDK: without an endpoint it is never imported.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

log = logging.getLogger("edgeproxy.telemetry")

_TRACES_PATH: Final = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which exchanges are recorded. `ratio` is 0 to 1 of those that nobody decided for; with `follow_parent` a caller's
    traceparent decides where there is one."""

    ratio: float
    follow_parent: bool = True

    @property
    def never(self) -> bool:
        return self.ratio <= 0 and not self.follow_parent


NEVER: Final = Sampling(0.0, follow_parent=False)


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """`endpoint` is the whole URL that spans are posted to, None when tracing is off."""

    endpoint: str | None
    sampling: Sampling
    service_name: str
    node: str
    resource: Mapping[str, str]
    """Resource attributes of the environment (OTEL_RESOURCE_ATTRIBUTES), without `service.name`."""


def tracing_settings(
    *,
    endpoint: str | None,
    sample_ratio: float,
    node: str,
    environ: Mapping[str, str],
    service_name: str = "edgeproxy",
) -> TracingSettings:
    """What the config (`[telemetry]`: `endpoint` is a base URL or ends in /v1/traces) and the environment together ask for."""
    resource = _resource_attributes(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    named = resource.pop("service.name", None)
    return TracingSettings(
        endpoint=None if _switched_off(environ) else _endpoint(endpoint, environ),
        sampling=_sampling(sample_ratio, environ),
        service_name=environ.get("OTEL_SERVICE_NAME") or named or service_name,
        node=node,
        resource=resource,
    )


def _switched_off(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return True
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter not in ("", "otlp", "none"):
        log.warning("OTEL_TRACES_EXPORTER is not supported, spans go out as OTLP (value=%s)", exporter)
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol != "http/protobuf":
        log.warning("the OTLP protocol is not supported, spans go out as http/protobuf (value=%s)", protocol)
    return exporter == "none"


def _endpoint(configured: str | None, environ: Mapping[str, str]) -> str | None:
    """In order: the variable for traces, taken as it is; the variable for all signals, a base; the config, either."""
    if exact := environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return exact
    if base := environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return base.rstrip("/") + _TRACES_PATH
    if not configured:
        return None
    base = configured.rstrip("/")
    return base if base.endswith(_TRACES_PATH) else base + _TRACES_PATH


def _sampling(ratio: float, environ: Mapping[str, str]) -> Sampling:
    """OTEL_TRACES_SAMPLER by the names of the OpenTelemetry specification; without it the config's ratio, parent-based.

    A ratio of 0 in the config switches sampling off whatever a caller's traceparent says, so that an operator can refuse to
    be traced by strangers; `parentbased_always_off` is the sampler that follows the caller and nobody else.
    """
    argument = _ratio(environ.get("OTEL_TRACES_SAMPLER_ARG"))
    sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    match sampler:
        case "always_on":
            return Sampling(1.0, follow_parent=False)
        case "always_off":
            return NEVER
        case "traceidratio":
            return Sampling(argument, follow_parent=False)
        case "parentbased_always_on":
            return Sampling(1.0)
        case "parentbased_always_off":
            return Sampling(0.0)
        case "parentbased_traceidratio":
            return Sampling(argument)
        case "":
            pass
        case _:
            log.warning("OTEL_TRACES_SAMPLER is not a known sampler, the config decides (value=%s)", sampler)
    return Sampling(min(ratio, 1.0)) if ratio > 0 else NEVER


def _ratio(text: str | None) -> float:
    """OTEL_TRACES_SAMPLER_ARG as a ratio; 1 when unset or not one, as the specification says."""
    if text is None:
        return 1.0
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if 0 <= ratio <= 1:
        return ratio
    log.warning("OTEL_TRACES_SAMPLER_ARG is not a ratio from 0 to 1, taken as 1 (value=%s)", text)
    return 1.0


def _resource_attributes(text: str) -> dict[str, str]:
    """`key=value` pairs separated by commas, percent-decoded; what is not a pair is left out."""
    pairs = (item.partition("=") for item in text.split(",") if "=" in item)
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs if key.strip()}
