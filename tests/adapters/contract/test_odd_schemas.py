"""The table of odd schemas through every adapter: what a model API refuses never leaves, and costs no other tool."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.adapters import api_rules
from tests.adapters.contract.driver import Driver
from tests.adapters.odd_schemas import ODD, ODD_SCHEMAS

from jackfield import Toolkit

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_no_adapter_hands_on_what_an_api_refuses(driver_class: type[Driver]) -> None:
    schemas = driver_class(ODD).schemas()
    knows_parameters = "smolagents" in driver_class.__module__
    assert knows_parameters or list(schemas) == ODD.names
    assert len(schemas) > 40
    assert {name: faults for name, one in schemas.items() if (faults := api_rules.of_any_api(one))} == {}


async def test_names_that_an_api_refuses_come_back_as_the_servers(driver_class: type[Driver], toolkit: Toolkit) -> None:
    schema, [arguments] = ODD_SCHEMAS["bracket_names"]
    odd = replace(toolkit["free_form"], name="odd", original_name="free_form", input_schema=schema)
    driver = driver_class(Toolkit([odd]))
    first, second, _ = driver.schemas()["odd"]["properties"]
    answer = await driver.call("odd", {first: "a", second: "b"})
    assert json.loads(answer.text) == arguments
