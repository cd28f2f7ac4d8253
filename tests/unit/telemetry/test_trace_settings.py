"""Config and OTEL_* environment together: what wins, and what is refused."""

import logging

import pytest

from edgeproxy.telemetry.trace_settings import NEVER, Sampling, TracingSettings, tracing_settings


def settings(environ: dict[str, str], endpoint: str | None = None, ratio: float = 0.25) -> TracingSettings:
    return tracing_settings(endpoint=endpoint, sample_ratio=ratio, node="edge-1", environ=environ)


@pytest.mark.parametrize(
    ("environ", "configured", "expected"),
    [
        pytest.param({}, None, None, id="nothing named, tracing is off"),
        pytest.param({}, "http://c:4318", "http://c:4318/v1/traces", id="config names a base"),
        pytest.param({}, "http://c:4318/", "http://c:4318/v1/traces", id="a base with a slash"),
        pytest.param({}, "http://c/x/v1/traces", "http://c/x/v1/traces", id="config names the whole"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://e:1/"}, "http://c", "http://e:1/v1/traces", id="environment over config"
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://e:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/in"},
            None,
            "http://t/in",
            id="the traces variable is taken as it is",
        ),
        pytest.param({"OTEL_SDK_DISABLED": "true"}, "http://c", None, id="OTEL_SDK_DISABLED"),
        pytest.param(
            {"OTEL_SDK_DISABLED": "no"}, "http://c", "http://c/v1/traces", id="OTEL_SDK_DISABLED is only true when true"
        ),
        pytest.param({"OTEL_TRACES_EXPORTER": "none"}, "http://c", None, id="OTEL_TRACES_EXPORTER none"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "http://c", "http://c/v1/traces", id="an empty variable is unset"),
    ],
)
def test_endpoint(environ: dict[str, str], configured: str | None, expected: str | None) -> None:
    assert settings(environ, configured).endpoint == expected


@pytest.mark.parametrize(
    ("environ", "ratio", "expected"),
    [
        pytest.param({}, 0.25, Sampling(0.25), id="the config's ratio, parent-based"),
        pytest.param({}, 0.0, NEVER, id="ratio 0 is never"),
        pytest.param({}, 7.0, Sampling(1.0), id="above 1 is 1"),
        pytest.param({"OTEL_TRACES_SAMPLER": "always_on"}, 0.0, Sampling(1.0, follow_parent=False), id="always_on"),
        pytest.param({"OTEL_TRACES_SAMPLER": "always_off"}, 1.0, NEVER, id="always_off"),
        pytest.param(
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
            1.0,
            Sampling(0.5, follow_parent=False),
            id="traceidratio",
        ),
        pytest.param({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 0.1, Sampling(1.0), id="parentbased_always_on"),
        pytest.param({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 1.0, Sampling(0.0), id="parentbased_always_off"),
        pytest.param(
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
            1.0,
            Sampling(0.5),
            id="parentbased_traceidratio",
        ),
        pytest.param({"OTEL_TRACES_SAMPLER": "traceidratio"}, 0.1, Sampling(1.0, follow_parent=False), id="no argument is 1"),
    ],
)
def test_sampling(environ: dict[str, str], ratio: float, expected: Sampling) -> None:
    assert settings(environ, ratio=ratio).sampling == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, Sampling(0.25)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, Sampling(1.0)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "many"}, Sampling(1.0)),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, Sampling(0.25)),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, Sampling(0.25)),
    ],
)
def test_what_is_not_understood_is_said(environ: dict[str, str], expected: Sampling, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert settings(environ).sampling == expected
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "edgeproxy"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop"}, "shop"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop", "OTEL_SERVICE_NAME": "front"}, "front"),
    ],
)
def test_service_name(environ: dict[str, str], name: str) -> None:
    assert settings(environ).service_name == name


def test_resource_attributes_are_decoded_and_faulty_pairs_left_out() -> None:
    given = settings({"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=a%2Cb, host.name=h ,broken,=x,service.name=n"})
    assert given.resource == {"deployment.environment.name": "a,b", "host.name": "h"}


def test_only_what_can_never_sample_is_never() -> None:
    assert NEVER.never
    assert not Sampling(0.0).never
    assert not Sampling(0.1, follow_parent=False).never
