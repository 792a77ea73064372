"""A poller's chain, as pure decisions: whatever comes twice, late or not at all, one run of a step moves it on."""

from __future__ import annotations

import pytest
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from delayserver.progress.record import Record, Run, Update, updated
from delayserver.progress.stepping import Beginning, Refused, ended, failed, goes_on, parked

NOW = 7
RUNNING = Record("a", state="running", run=Run(3, 2))


def begun(record: Record, run: Run) -> Record | Refused:
    beginning = Beginning(run)
    return beginning(record, NOW) or beginning.refused


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (Run(4, 1), Run(4, 1)),
        (Run(3, 3), Run(3, 3)),
        (Run(3, 2), Refused.COPY),
        (Run(3, 1), Refused.COPY),
        (Run(2, 9), Refused.OVER),
    ],
)
def test_a_run_begins_if_it_is_after_the_one_that_began_last(run: Run, expected: Run | Refused) -> None:
    after = begun(RUNNING, run)
    assert (after.run if isinstance(after, Record) else after) == expected


@pytest.mark.parametrize("state", ["succeeded", "timed_out", "cancelled", "failed"])
def test_what_is_over_begins_no_more(state: str) -> None:
    over = Record("a", state=state, run=Run(3, 2))  # type: ignore[arg-type]
    assert begun(over, Run(4, 1)) is Refused.OVER
    again = begun(over, Run(3, 1))
    if state == "failed":  # its very step is handed over anew
        assert isinstance(again, Record)
        assert (again.state, again.error, again.failures, again.attempt) == ("running", "", 0, 1)
    else:
        assert again is Refused.OVER


def test_what_failed_since_its_step_was_nowhere_goes_on_with_the_step_that_was_found() -> None:
    cut = Record("a", state="failed", run=Run(3, 2), cut=True)
    for run in (Run(3, 1), Run(4, 1)):
        after = begun(cut, run)
        assert isinstance(after, Record)
        assert (after.run, after.cut) == (run, False)
    assert begun(cut, Run(5, 1)) is Refused.OVER


def test_a_beginning_that_is_asked_again_answers_for_the_record_that_it_is_shown_last() -> None:
    """As the board asks it of what it knows, and then of what the store has."""
    beginning = Beginning(Run(3, 2))
    assert beginning(RUNNING, NOW) is None
    refused = [beginning.refused]
    assert beginning(Record("a", state="cancelled", run=Run(3, 2)), NOW) is None
    assert [*refused, beginning.refused] == [Refused.COPY, Refused.OVER]


def test_the_attempt_that_is_shown_is_that_of_the_step() -> None:
    record = Record("a", state="running", run=Run(3, 1))
    for failures in (1, 2):
        record = failed(record.run, failures, record, NOW) or record
        assert record.attempt == failures + 1
        record = Beginning(Run(3, 1))(record, NOW) or record
        assert (record.attempt, record.failures) == (failures + 1, failures)
    after = Beginning(Run(4, 1))(record, NOW)
    assert after is not None
    assert (after.attempt, after.failures) == (1, 0)


def test_a_run_after_which_another_began_has_no_say() -> None:
    old = Run(3, 1)
    assert ended(old, {"state": "succeeded"}, RUNNING, NOW) is None
    assert failed(old, 1, RUNNING, NOW) is None
    assert parked(old, RUNNING, NOW) is None
    assert goes_on(old, RUNNING, NOW) is None
    assert goes_on(RUNNING.run, RUNNING, NOW) is RUNNING
    assert updated(RUNNING, Update({"current": 1}, old), NOW) is None


class Chain(RuleBasedStateMachine):
    """A poller of `STEPS` steps. `stored` are the steps that the store keeps, with the attempts each has spent; `lies`
    is what lies on channels, where anything may be copied and come in any order; `runs` are those at work.
    """

    STEPS = 4

    def __init__(self) -> None:
        super().__init__()
        self.record = Record("a", poller=True)
        self.stored = {1: 0}
        self.lies: list[Run] = []
        self.runs: list[Run] = []
        self.said: list[tuple[Run, bool]] = []  # those that are over, but for what follows; and whether they go on
        self.moved: list[Run] = []  # that were told to go on

    @rule(data=st.data())
    @precondition(lambda self: self.stored)
    def hand_over(self, data: st.DataObject) -> None:
        """It is due, or its ack timeout is over."""
        step = data.draw(st.sampled_from(sorted(self.stored)))
        assume(self.stored[step] < 6)
        self.stored[step] += 1
        self.lies.append(Run(step, self.stored[step]))

    @rule(data=st.data(), copies=st.booleans())
    @precondition(lambda self: self.lies)
    def deliver(self, data: st.DataObject, copies: bool) -> None:
        """To a worker; the layer may keep a copy."""
        run = data.draw(st.sampled_from(self.lies))
        if not copies:
            self.lies.remove(run)
        beginning = Beginning(run)
        after = beginning(self.record, NOW)
        if after is not None:
            self.record = after
            if run.attempt > 1 and run.step + 1 in self.stored:
                self.ack(run)
            else:
                self.runs.append(run)
        elif beginning.refused is Refused.OVER:
            self.ack(run)

    def ack(self, run: Run) -> None:
        if self.stored.get(run.step) == run.attempt:
            del self.stored[run.step]

    @rule(data=st.data())
    @precondition(lambda self: self.runs)
    def say(self, data: st.DataObject) -> None:
        """`poll` has said `Again`, or at the last step `Done`."""
        run = data.draw(st.sampled_from(self.runs))
        self.runs.remove(run)
        if run.step == self.STEPS:
            after = ended(run, {"state": "succeeded"}, self.record, NOW)
        else:
            after = goes_on(run, self.record, NOW)
        if after is not None:
            self.record = after
            self.moved.append(run)
        self.said.append((run, after is not None and run.step < self.STEPS))

    @rule(data=st.data(), acked=st.booleans())
    @precondition(lambda self: self.said)
    def put(self, data: st.DataObject, acked: bool) -> None:
        """The next step, after others may have done what they like; the ack may be lost."""
        run, goes = data.draw(st.sampled_from(self.said))
        self.said.remove((run, goes))
        if goes:
            self.stored.setdefault(run.step + 1, 0)
        if acked:
            self.ack(run)

    @rule(data=st.data())
    @precondition(lambda self: self.runs)
    def fail(self, data: st.DataObject) -> None:
        """`poll` has raised: it waits, which spends no attempt."""
        run = data.draw(st.sampled_from(self.runs))
        self.runs.remove(run)
        self.record = failed(run, 1, self.record, NOW) or self.record
        if self.stored.get(run.step) == run.attempt:
            self.stored[run.step] -= 1

    @rule(data=st.data())
    @precondition(lambda self: self.runs)
    def die(self, data: st.DataObject) -> None:
        """The worker, at any point."""
        self.runs.remove(data.draw(st.sampled_from(self.runs)))

    @rule(data=st.data())
    @precondition(lambda self: self.said)
    def die_before_it_puts(self, data: st.DataObject) -> None:
        self.said.remove(data.draw(st.sampled_from(self.said)))

    @rule()
    def rest(self) -> None:
        """Nothing happens: it may be over."""

    @invariant()
    def runs_move_on_in_their_order_and_none_of_them_twice(self) -> None:
        """Two of one step where the one died, or put nothing yet, before the other began."""
        steps = [run.step for run in self.moved]
        assert steps == sorted(steps)

    @invariant()
    def no_two_runs_have_a_say(self) -> None:
        assert sum(goes_on(run, self.record, NOW) is not None for run in self.runs) <= 1

    @invariant()
    def the_chain_is_not_lost(self) -> None:
        assert self.record.is_over or self.stored, "nothing waits, and it is not over"

    @invariant()
    def there_is_one_next_step(self) -> None:
        assert len([step for step in self.stored if step > self.record.run.step]) <= 1

    def teardown(self) -> None:
        """Whatever has happened, it ends where nothing more goes wrong."""
        for _ in range(100):
            if self.record.is_over:
                return
            for step in sorted(self.stored):
                if step in self.stored:
                    self.stored[step] += 1
                    self._run_well(Run(step, self.stored[step]))
        raise AssertionError(f"it never ends: {self.record}, {self.stored}")

    def _run_well(self, run: Run) -> None:
        beginning = Beginning(run)
        after = beginning(self.record, NOW)
        if after is None:
            if beginning.refused is Refused.OVER:
                self.ack(run)
            return
        self.record = after
        if not (run.attempt > 1 and run.step + 1 in self.stored):
            if run.step == self.STEPS:
                self.record = ended(run, {"state": "succeeded"}, self.record, NOW) or self.record
            else:
                self.stored.setdefault(run.step + 1, 0)
        self.ack(run)


TestChain = Chain.TestCase
