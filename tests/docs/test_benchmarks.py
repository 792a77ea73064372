"""The page of the benchmarks, and how they compare within a round; what they measure is for `make bench`."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks.__main__ import PARTS
from benchmarks.parts import in_turn

from .blocks import ROOT

PAGE = (ROOT / "docs/benchmarks.md").read_text()


def test_the_page_names_every_part_in_its_order() -> None:
    sentence = re.search(r"^The parts are (.+?):", PAGE, re.MULTILINE | re.DOTALL)
    assert sentence is not None
    assert tuple(re.findall(r"`(\w+)`", sentence[1])) == PARTS


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_a_file(part: str) -> None:
    assert (ROOT / f"benchmarks/{part}.py").is_file()


def test_what_the_script_of_bullmq_needs_is_pinned() -> None:
    needed = json.loads((ROOT / "benchmarks/bullmq/package.json").read_text())["dependencies"]
    assert set(needed) == {"bullmq", "ioredis"}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in needed.values()), needed


def test_a_ratio_is_to_the_best_of_the_same_round_and_the_median_of_all() -> None:
    rates = {"ours": iter([10.0, 30.0, 2.0]), "one": iter([5.0, 1.0, 1.0]), "two": iter([2.0, 10.0, 4.0])}
    rounds = in_turn(3, {name: one.__next__ for name, one in rates.items()})
    assert rounds.median("ours") == 10
    assert rounds.ratio("ours", "one", "two") == 2  # of 10 / 5, 30 / 10 and 2 / 4
    assert rounds.ratio("ours", "one") == 2
    assert rounds.ratio("ours", "two") == 3
