"""What one server may use. Each bound has a default, a setting, and errors that name it."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class ServingLimits:
    """Limits on what clients can make the server store. Exceeding one fails only that request.

    Args:
        sessions: Sessions in the store (503).
        sessions_per_user: Sessions of one principal (429).
        streams: Open streams on this instance that clients opened by GET or `subscriptions/listen` (503).
        listens_per_user: Open streams on this instance that one principal opened by `subscriptions/listen` (429).
        requests: Running requests on this instance (503).
        requests_per_session: Running requests of one session, and as many notifications whose handlers run (429).
        calls: Running calls on this instance (503). Calls are requests that reach what the server offers: of a tool, a
            prompt, a resource or a completion, and those with methods of extensions.
        calls_per_user: Running calls of one principal, on all instances of a Redis or PostgreSQL (429). Where clients
            are not checked, all are one user.
        calls_per_minute: Calls that one principal may begin within a minute, on all instances of a store (429); `None`
            for any number.
        total_calls_per_minute: The same of all principals together (503).
        subscriptions_per_session: Topics that one session is subscribed to: resources of its client, and the
            three lists (429).
        body_bytes: Size of a request (413).
        record_bytes: Size of the stored part of an `initialize` request (413).
        log_events: Events kept for each stream; a client that is further behind cannot resume.
        log_bytes: The same, in bytes of their messages.
        state_bytes: Size of one value of application state.
    """

    sessions: int = 10_000
    sessions_per_user: int = 100
    streams: int = 1_000
    listens_per_user: int = 16
    requests: int = 1_000
    requests_per_session: int = 100
    calls: int = 1_000
    calls_per_user: int = 100
    calls_per_minute: int | None = None
    total_calls_per_minute: int | None = None
    subscriptions_per_session: int = 1_000
    body_bytes: int = 4 * 1024 * 1024
    record_bytes: int = 64 * 1024
    log_events: int = 1_000
    log_bytes: int = 8 * 1024 * 1024
    state_bytes: int = 256 * 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            check_count(field.name, value)


def check_count(name: str, value: object) -> None:
    """Refuse what is not a number of things.

    Raises:
        ValueError: It names the setting.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"`{name}` must be a whole number of at least 1, not {value!r}.")
