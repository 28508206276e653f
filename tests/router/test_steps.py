"""Whole tasks are searched step by step."""

from __future__ import annotations

import pytest

from jackfield.routing.steps import steps_of


@pytest.mark.parametrize(
    ("task", "steps"),
    [
        ("convert an address into coordinates", ["convert an address into coordinates"]),
        ("list pods. Then delete one", ["list pods. Then delete one"]),
        (
            "Find papers on quantum computing. Then summarise them in a Word document, and finally email it to my boss",
            ["Find papers on quantum computing.", "summarise them in a Word document", "email it to my boss"],
        ),
        (
            "1. Download the quarterly report\n2. Extract tables from every page\n\n- plot revenue as a bar chart",
            ["Download the quarterly report", "Extract tables from every page", "plot revenue as a bar chart"],
        ),
        (
            "beat tracking, MFCC extraction, chroma CQT calculation for audio files and spectral analysis",
            ["beat tracking, MFCC extraction, chroma CQT calculation for audio files and spectral analysis"],
        ),
        (
            "Read example.com/a.html version 2.5 of the guide by J. Smith about container networking",
            ["Read example.com/a.html version 2.5 of the guide by J. Smith about container networking"],
        ),
        (
            "Book a flight to Lisbon; reserve a hotel near the river; please. Rent a small car",
            ["Book a flight to Lisbon", "reserve a hotel near the river", "Rent a small car"],
        ),
    ],
)
def test_steps_of_a_task(task: str, steps: list[str]) -> None:
    assert list(steps_of(task, 6)) == steps


def test_what_is_beyond_the_most_steps_belongs_to_the_last() -> None:
    task = "\n".join(f"paint the zorp{number} fence" for number in range(5))
    assert list(steps_of(task, 2)) == ["paint the zorp0 fence", " ".join(task.splitlines()[1:])]
