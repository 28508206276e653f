"""What is counted: read by a real parser of Prometheus, and by the OpenTelemetry SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import httpx2
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families
from tests.serving.authorized import AUDIENCE, INITIALIZE, Client, guarded, instances, until

from jackfield.serving import Backend, InMemorySessionStore, RunningCall, ServingLimits, StoreUnavailableError
from jackfield.serving.metrics import Counter, Histogram, ServingMetrics

Read = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Read:
    """All samples by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Read, name: str, **labels: str) -> float:
    """One sample; 0 where there is none."""
    return samples.get((f"jackfield_{name}", tuple(sorted(labels.items()))), 0)


async def scraped(http: httpx2.AsyncClient, url: str) -> Read:
    """What an instance has counted."""
    answer = await http.get(url.removesuffix("/mcp") + "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return read(answer.text)


OLD, NEW = "2025-11-25", "2026-07-28"


async def test_requests_are_counted_by_era_method_and_outcome() -> None:
    async with guarded(1, metrics=True, limits=ServingLimits(requests_per_session=1)) as made:
        [url], ann, http = made.urls, made.client("ann"), made.http
        gate = made.instances.gate
        await ann.initialize(url)
        await ann.call(url, "whoami")
        await ann.modern(url, "tools/call", {"name": "whoami", "arguments": {}})
        assert (await ann.request(url, "tools/call", {"name": "nothing", "arguments": {}})).status_code == 200
        await ann.request(url, "made/up")
        await ann.modern(url, "made/up")
        await Client(http, "eve").request(url, "tools/call", {"name": "whoami", "arguments": {}})
        await made.client("bob").post(url, {"id": 1, "method": "tools/list"}, mcp_session_id=ann.session or "")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ann.call, url, "wait", 7)
            await until(lambda: gate.running == 1)
            assert (await ann.request(url, "tools/list")).status_code == 429
            during = await scraped(http, url)
            gate.opened.set()
        async with ann.stream(url):
            streaming = await scraped(http, url)
        assert (await http.delete(url, headers=ann.headers())).status_code == 200
        # Its GET stream ends with it.
        await until(lambda: not made.instances.served[0].host.instance.open_streams)
        after = await scraped(http, url)

        def counted(era: str, method: str, outcome: str) -> float:
            return value(after, "requests_total", era=era, method=method, outcome=outcome)

        assert counted(OLD, "initialize", "ok") == 1
        assert counted(OLD, "notifications/initialized", "ok") == 1
        assert counted(OLD, "tools/call", "ok") == 2
        assert counted(OLD, "tools/call", "tool_error") == 1
        assert counted(NEW, "tools/call", "ok") == 1
        assert counted(OLD, "other", "error") == counted(NEW, "other", "error") == 1
        assert counted(OLD, "other", "unauthenticated") == 1
        assert counted(OLD, "tools/list", "unknown_session") == 1
        assert counted(OLD, "tools/list", "limited") == 1
        assert counted(OLD, "GET", "ok") == counted(OLD, "DELETE", "ok") == 1
        assert value(after, "limits_reached_total", bound="requests_per_session") == 1
        assert value(after, "request_seconds_count", era=OLD, method="tools/call") == 3
        assert value(after, "request_seconds_bucket", era=OLD, method="tools/call", le="+Inf") == 3
        assert value(after, "request_seconds_count", era=OLD, method="GET") == 0
        assert (value(during, "running"), value(streaming, "streams")) == (1, 1)
        assert (value(after, "running"), value(after, "streams")) == (0, 0)
        assert (value(during, "sessions"), value(after, "sessions")) == (1, 0)
        assert value(after, "store_seconds_count", op="claim") >= 4
        assert value(after, "orphans_total") == 0


async def test_no_label_is_of_clients() -> None:
    async with guarded(1, metrics=True) as made:
        [url], ann = made.urls, made.client("ann")
        await ann.initialize(url)
        for number in range(20):
            await ann.request(url, f"invented/{number}")
            await ann.modern(url, f"invented/{number}")
            await ann.request(url, "tools/list", mcp_protocol_version=f"invented-{number}")
        text = (await made.http.get(url.removesuffix("/mcp") + "/metrics")).text
        for secret in ("ann", "invented", "app", ann.token or "", ann.session or "", AUDIENCE):
            assert secret not in text.replace("whoami", "")
        eras = {dict(labels).get("era") for _, labels in read(text)}
        assert eras <= {OLD, NEW, None}


class Failing(InMemorySessionStore):
    """A store that can be away."""

    is_away = False

    async def claim(self, *given: Any, **named: Any) -> Any:
        if self.is_away:
            raise StoreUnavailableError("The store is away.")
        return await super().claim(*given, **named)

    async def count(self) -> int:
        if self.is_away:
            raise StoreUnavailableError("The store is away.")
        return await super().count()


async def test_a_store_that_is_away_is_counted() -> None:
    store = Failing()
    async with httpx2.AsyncClient(timeout=30) as http, instances(1, metrics=True, sessions=store) as one:
        [url], client = one.urls, Client(http, None)
        await client.initialize(url)
        store.is_away = True
        assert (await client.request(url, "ping")).status_code == 503
        samples = await scraped(http, url)
        assert value(samples, "requests_total", era=OLD, method="ping", outcome="unavailable") == 1
        assert value(samples, "store_errors_total", op="claim") == 1
        # Not known: no number is better than a wrong one.
        assert ("jackfield_sessions", ()) not in samples


async def test_requests_of_dead_instances_are_counted() -> None:
    backend = Backend()
    async with httpx2.AsyncClient(timeout=30) as http, instances(1, metrics=True, backend=lambda: backend) as one:
        [url], client, host = one.urls, Client(http, None), one.served[0].host
        session = await client.initialize(url)
        dead = RunningCall("1", "gone", "stream")
        await backend.sessions.claim(session, None, dead, ServingLimits())
        found = ["gone"]

        async def dead_ones() -> list[str]:
            return found

        async def bury(instance: str) -> None:
            found.clear()

        backplane: Any = backend.sessions.backplane
        backplane.dead, backplane.bury = dead_ones, bury
        await until(lambda: not found)
        assert value(await scraped(http, url), "orphans_total") == 1
        assert not await host.sessions.running_on("gone")


async def test_without_the_setting_nothing_is_served() -> None:
    async with httpx2.AsyncClient() as http, instances(1) as one:
        assert (await http.get(one.urls[0].removesuffix("/mcp") + "/metrics")).status_code == 404


async def test_stateless_servers_count_too() -> None:
    async with httpx2.AsyncClient(timeout=30) as http, instances(1, metrics=True, stateless=True) as one:
        [url], client = one.urls, Client(http, None)
        await client.request(url, "initialize", INITIALIZE)
        await client.request(url, "tools/call", {"name": "whoami", "arguments": {}})
        samples = await scraped(http, url)
        for method in ("initialize", "tools/call"):
            assert value(samples, "requests_total", era=OLD, method=method, outcome="ok") == 1


def test_labels_and_numbers_are_written_as_the_format_wants() -> None:
    counted = ServingMetrics()
    counted.store_errors.add('a "b" \\ \n c')
    counted.store_seconds.observe(0.0003, "find")
    samples = read(counted.text())
    assert value(samples, "store_errors_total", op='a "b" \\ \n c') == 1
    assert value(samples, "store_seconds_bucket", op="find", le="0.00025") == 0
    assert value(samples, "store_seconds_bucket", op="find", le="0.0005") == 1
    assert value(samples, "store_seconds_sum", op="find") == 0.0003


async def test_opentelemetry_gets_the_same(monkeypatch: Any) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr("jackfield.serving.metrics._meter", provider.get_meter("jackfield"))
    counted = ServingMetrics()
    counted.requests.add(OLD, "ping", "ok")
    counted.request_seconds.observe(0.2, OLD, "ping")
    data = reader.get_metrics_data()
    assert data is not None
    exported = {
        metric.name: [(dict(point.attributes or {}), point) for point in metric.data.data_points]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    [(labels, point)] = exported["jackfield.requests"]
    assert labels == {"era": OLD, "method": "ping", "outcome": "ok"}
    assert point.value == 1  # type: ignore[union-attr]
    [(labels, point)] = exported["jackfield.request"]
    assert labels == {"era": OLD, "method": "ping"}
    assert (point.count, point.sum) == (1, 0.2)  # type: ignore[union-attr]
    provider.shutdown()


def test_what_is_counted_costs_little() -> None:
    counter, histogram = Counter("tests", "Of this test.", ("op",)), Histogram("test", "Of this test.", ("op",), (1.0,))
    for _ in range(3):
        counter.add("a")
        histogram.observe(2.0, "a")
    assert [one[2] for one in counter.samples()] == [3]
    assert [(suffix, labels.get("le"), number) for suffix, labels, number in histogram.samples()] == [
        ("_bucket", "1", 0),
        ("_bucket", "+Inf", 3),
        ("_sum", None, 6.0),
        ("_count", None, 3),
    ]
