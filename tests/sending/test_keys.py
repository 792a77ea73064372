"""A key names one waiting message, whoever sends, and is free as soon as that no longer waits."""

from __future__ import annotations

from collections import Counter

from .conftest import Project

PROCESSES, ROUNDS = 8, 20
LAST = 100  # of each of two chains


def test_of_many_processes_that_send_one_key_at_the_same_instant_one_wins(project: Project) -> None:
    server = project.rundelay(wait=False)
    told = project.ask("same_key", policies=["keep", "error", "replace"], rounds=ROUNDS, processes=PROCESSES)
    answers = told["answers"]
    assert told["released"] == [True] * 3 * ROUNDS
    server.wait_for_line("^delay server ready")
    project.wait_until_empty()
    arrived = project.arrived()
    assert Counter((one["policy"], one["n"]) for one in arrived) == Counter(
        (policy, turn) for policy in answers for turn in range(ROUNDS)
    )
    winner = {(one["policy"], one["n"]): one["process"] for one in arrived}
    for turn, receipts in enumerate(answers["keep"]):
        assert [created for _, _, created in receipts].count(True) == 1
        assert len({(id, due) for id, due, _ in receipts}) == 1
        assert receipts[winner["keep", turn]][2]
    for turn, receipts in enumerate(answers["error"]):
        assert receipts.count(None) == PROCESSES - 1
        assert receipts[winner["error", turn]][2]
    for receipts in answers["replace"]:
        assert all(created for _, _, created in receipts)
        assert len({id for id, _, _ in receipts}) == PROCESSES


def test_a_key_is_free_once_its_message_is_handed_over_or_cancelled(project: Project) -> None:
    project.rundelay()
    project.ask("use_a_key_again", rounds=40)
    assert [one["n"] for one in project.arrived()] == list(range(40))


def test_to_replace_again_and_again_is_a_debounce(project: Project) -> None:
    server = project.rundelay(wait=False)
    told = project.ask("debounce", times=50, delay=1_500)
    assert told["created"] == [True] * 50
    assert told["dues"] == sorted(told["dues"])
    server.wait_for_line("^delay server ready")
    project.wait_until_empty()
    assert [one["n"] for one in project.arrived()] == [49]


def test_a_consumer_that_sends_itself_the_next_under_its_own_key_is_never_doubled_nor_cut(project: Project) -> None:
    processes = [project.rundelay(wait=False), project.rundelay(wait=False)]
    worker = project.manage("runworker", "chain", "sync-chain")
    for process in processes:
        process.wait_for_line("^delay server ready")
    project.ask("start_chains", last=LAST)
    project.wait_for_arrivals(2 * LAST, "journal")
    project.wait_until_empty()
    steps = [(one["chain"], one["number"]) for one in project.arrived("journal")]
    for chain in ("chain", "sync-chain"):
        assert [number for name, number in steps if name == chain] == list(range(1, LAST + 1))
        assert project.arrived(chain) == []
    assert worker.running
