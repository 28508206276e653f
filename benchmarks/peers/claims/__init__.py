"""What a client of MCP servers should do: one function a claim. Whether what was seen is a yes is decided here, by the
same code for all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from trial import Seen, Trial

from claims import beyond, calls, failures, models, processes


@dataclass(frozen=True)
class Row:
    """A claim, and the test that proves ours."""

    claim: Callable[[Trial, Any], Awaitable[Seen]]
    ours: str
    by: Literal["ways", "visits", "bounded", "printed"] = "ways"
    without: str = ""
    """Why it is not offered where the peer has no such way."""

    @property
    def name(self) -> str:
        """By which it is run."""
        return self.claim.__name__

    @property
    def text(self) -> str:
        """As the tables say it."""
        return self.claim.__doc__.strip().rstrip(".")


CONTRACT = "tests/adapters/contract/test_contract.py"
TOOLKIT = "tests/toolkit/test_toolkit.py"
GROUPS = {
    "Processes": [
        Row(
            processes.starts_only_what_is_called,
            "tests/router/test_router.py::test_finding_starts_nothing_and_calling_starts_one",
        ),
        Row(processes.child_ends_with_the_block, f"{CONTRACT}::test_nothing_is_left"),
        Row(
            processes.helper_ends_with_the_block,
            "tests/transport/test_process_tree.py::test_a_helper_left_behind_by_a_clean_exit_is_ended",
        ),
        Row(
            processes.stubborn_child_is_killed,
            "tests/transport/test_process_tree.py::test_a_server_that_ignores_everything_is_killed",
        ),
        Row(processes.left_in_another_task, "tests/manager/test_exits.py::test_left_in_another_task_than_entered"),
        Row(
            processes.ten_at_once_start_one,
            "tests/manager/test_leases.py::test_a_hundred_leases_on_one_key_open_one_session",
            by="visits",
        ),
    ],
    "State": [
        Row(processes.keeps_state, f"{CONTRACT}::test_state_is_kept_from_call_to_call"),
        Row(
            processes.own_state_for_each_user,
            "tests/manager/test_users.py::test_fifty_users_at_once_each_have_their_own_state",
            by="visits",
        ),
    ],
    "Failures": [
        Row(failures.start_is_bounded, "tests/manager/test_bad_input.py::test_one_that_never_answers"),
        Row(failures.failed_start_says_why, "tests/manager/test_bad_input.py::test_one_that_exits_at_once_is_quoted"),
        Row(
            failures.one_that_fails_spares_the_others,
            "tests/adapters/test_autogen.py::test_a_dead_server_does_not_take_the_others_down",
        ),
        Row(failures.crash_is_told_at_once, "tests/reliability/test_table.py::test_cell"),
        Row(failures.goes_on_after_a_crash, "tests/reliability/test_table.py::test_cell"),
        Row(failures.goes_on_after_a_restart, "tests/reliability/test_table.py::test_cell"),
    ],
    "Calls": [
        Row(
            calls.cancelled_call_stops,
            f"{CONTRACT}::test_a_cancelled_call_is_cancelled_on_the_server_and_the_session_goes_on",
        ),
        Row(
            calls.takes_as_long_as_it_takes,
            "tests/docs/test_tables.py::test_every_session_setting_is_documented_with_its_default",
        ),
        Row(
            calls.call_can_be_bounded,
            "tests/session/test_session.py::test_progress_and_timeout_told_to_the_server",
            by="bounded",
            without="its tools accept no timeout",
        ),
        Row(calls.checks_arguments, "tests/manager/test_bad_input.py::test_arguments_that_do_not_fit"),
        Row(
            calls.bounds_what_comes_back,
            "tests/reliability/test_limits.py::test_a_result_of_fifty_megabytes_is_refused_by_default",
        ),
    ],
    "What the model sees, and what arrives": [
        Row(models.all_pages, "tests/manager/test_bad_input.py::test_all_pages_of_a_listing"),
        Row(models.whole_schema, f"{CONTRACT}::test_the_whole_schema_reaches_the_model"),
        Row(models.names_never_collide, f"{TOOLKIT}::test_several_servers_with_the_same_tools"),
        Row(models.odd_names_do_no_harm, f"{TOOLKIT}::test_odd_and_long_names_are_made_valid_and_still_work"),
        Row(models.arguments_arrive, f"{CONTRACT}::test_names_of_arguments_arrive_unchanged"),
        Row(models.left_out_stays_out, f"{CONTRACT}::test_names_of_arguments_arrive_unchanged"),
        Row(models.text_is_text, f"{CONTRACT}::test_text"),
        Row(models.images_arrive, f"{CONTRACT}::test_a_picture_and_what_is_said_of_it"),
        Row(models.other_content_is_no_error, f"{CONTRACT}::test_what_is_neither_text_nor_picture_is_named"),
        Row(models.tool_errors_are_told, f"{CONTRACT}::test_an_error_of_the_tool_is_told"),
        Row(
            models.listing_is_free,
            "tests/adapters/test_autogen.py::test_nothing_is_opened_before_tools_are_asked_for_and_listing_is_free_afterwards",
        ),
    ],
    "Other": [
        Row(beyond.server_with_tools_only, f"{CONTRACT}::test_nothing_is_left"),
        Row(beyond.streamable_http, "tests/session/test_session.py::test_all_requests"),
        Row(beyond.both_protocols, "tests/session/test_session.py::test_all_requests"),
        Row(
            beyond.secrets_are_not_printed,
            "tests/config/test_secrets.py::test_secrets_given_in_code",
            by="printed",
            without="the configuration is a plain dict that you write",
        ),
        Row(beyond.tells_nobody, "tests/session/test_session.py::test_a_session_over_stdio_contacts_nobody"),
    ],
}
ROWS = [row for rows in GROUPS.values() for row in rows]
