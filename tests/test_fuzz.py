"""The fuzzer finds what it should, and a few cases at every door find nothing."""

import time
from pathlib import Path

import pytest

from motionfocal.errors import MediaError

from . import fuzz
from .fuzz_doors import DOORS, Door, good_files

CASES = 8 * len(DOORS)
"""A few seconds; ``python -m tests.fuzz --minutes 60`` is the long way."""


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    good_files(folder := tmp_path_factory.mktemp("good"))
    return folder


def opening(raises: BaseException | None) -> Door:
    def opens(folder: Path) -> None:
        if raises is not None:
            raise raises

    return Door("made up", opens, "*")


@pytest.mark.parametrize(
    ("raises", "outcome"),
    [
        (None, "ok"),
        (MediaError("a.mp4: is empty; copy it again"), "refused"),
        (MediaError(" "), "MediaError without a text"),
        (KeyError("file"), "KeyError at test_fuzz.py"),
        (RecursionError("deep"), "RecursionError at test_fuzz.py"),
    ],
)
def test_only_a_result_and_an_error_of_ours_are_no_finding(raises, outcome):
    assert fuzz.outcome_of(opening(raises), Path()).startswith(outcome)


def test_a_case_is_the_same_in_every_run_and_breaks_something(good, tmp_path):
    door, changed = DOORS["votes"], 0
    for case in range(20):
        for turn in ("a", "b"):
            fuzz.write_case(door, case, good, tmp_path / f"{case}{turn}")
        contents = [
            [path.read_bytes() for path in sorted(folder.iterdir())]
            for folder in (tmp_path / f"{case}a", tmp_path / f"{case}b", good / "votes")
        ]
        assert contents[0] == contents[1]
        changed += contents[0] != contents[2]
    assert changed >= 18


def test_every_door_opens_its_good_files(good):
    for name, door in DOORS.items():
        door.opens(good / name)


def test_a_process_that_hangs_or_dies_is_a_finding_and_the_next_case_goes_on(good, monkeypatch):
    trier, door = fuzz.Trier(), DOORS["lines"]
    with monkeypatch.context() as patch:
        patch.setattr(fuzz, "SECONDS", 0)
        assert trier.try_door(door, good / "lines") == "no answer in 0 s"
    assert trier.try_door(door, good / "lines") == "ok"
    trier.process.kill()
    trier.process.wait()
    assert "died" in trier.try_door(door, good / "lines")
    assert trier.try_door(door, good / "lines") == "ok"
    trier.close()


def test_no_door_lets_anything_else_through():
    doors = list(DOORS.values())
    outcomes, findings = fuzz.fuzz(doors, iter(range(CASES)), until=time.monotonic() + 600)
    assert findings == []
    assert outcomes.total() == CASES
    assert all(outcomes[name, "refused"] for name in DOORS if name != "clips"), "every door was given something broken"
