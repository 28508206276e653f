"""The metrics of a gateway besides those of the sessions that it serves: what it asks of the servers behind it.

Labels name servers and outcomes, never a user or a session.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from ..serving.metrics import Counter, Histogram, ServingMetrics
from ..session.statistics import SessionInfo
from .activity import Activity, Call, SessionIncident

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Readings:
    """A number for each combination of labels, read when it is asked for."""

    kind: ClassVar[str] = "gauge"

    def __init__(self, name: str, about: str, read: Callable[[], Iterator[tuple[Mapping[str, str], float]]]) -> None:
        self.name: str = f"jackfield_{name}"
        self.about: str = about
        self._read = read

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """See `Counter.samples`."""
        for labels, value in self._read():
            yield "", labels, value


class GatewayMetrics:
    """Counts what an activity tells.

    Args:
        activity: Tells it.
        sessions: The sessions with servers, whenever it is called.
        served: The metrics of the sessions that the gateway serves, with which these are shown.
    """

    def __init__(self, activity: Activity, sessions: Callable[[], list[SessionInfo]], served: ServingMetrics) -> None:
        self._activity = activity
        self._sessions = sessions
        self._calls = Counter("upstream_calls", "Completed calls, by server.", ("server", "outcome"))
        self._seconds = Histogram(
            "upstream", "Duration of calls, from the gateway to the server and back.", ("server",), _BOUNDS
        )
        self._incidents = Counter("upstream_incidents", "Events of sessions with servers.", ("server", "kind"))
        self._left = Counter(
            "upstream_left",
            "Sessions ended at their server because their client is gone.",
            ("server", "outcome"),
        )
        activity.on_ended.append(self._ended)
        activity.on_incident.append(self._happened)
        activity.on_limit.append(served.limits.add)
        served.on_limit = activity.limit_reached
        served.more += [
            self._calls,
            self._seconds,
            self._incidents,
            self._left,
            Readings("upstream_calls_running", "Running calls, by server.", self._running),
            Readings("upstream_sessions", "Sessions with servers, by state.", self._by_state),
            Readings("upstream_children", "Server processes.", self._children),
        ]

    def left_ended(self, server_name: str, is_ended: bool) -> None:
        """A session that was left at a server was ended there, or was not."""
        self._left.add(server_name, "ended" if is_ended else "failed")

    def _ended(self, call: Call) -> None:
        self._calls.add(call.server, str(call.outcome))
        if call.ms is not None:
            self._seconds.observe(call.ms / 1000, call.server)

    def _happened(self, incident: SessionIncident) -> None:
        self._incidents.add(incident.server, incident.kind)

    def _running(self) -> Iterator[tuple[Mapping[str, str], float]]:
        for server, live in self._activity.live_by_server().items():
            yield {"server": server}, live

    def _by_state(self) -> Iterator[tuple[Mapping[str, str], float]]:
        counts = Tally((info.server_name, info.state) for info in self._sessions())
        for (server, state), count in sorted(counts.items()):
            yield {"server": server, "state": state}, count

    def _children(self) -> Iterator[tuple[Mapping[str, str], float]]:
        counts = Tally(info.server_name for info in self._sessions() if info.process_id is not None)
        for server, count in sorted(counts.items()):
            yield {"server": server}, count
