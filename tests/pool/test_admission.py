"""Admission: the sums stay inside the budget, and still nothing waits for ever."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from watcherd.model import Answer
from watcherd.pool.admission import Admission

BUDGET = 1_000
SIZES = st.sampled_from([0, 1, 10, 100, 400, 600, 999, 1_000])


class AdmissionMachine(RuleBasedStateMachine):
    """Jobs are fetched, ask, and end, as the daemon has them do."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(BUDGET)
        self.fetched: dict[int, int] = {}
        self.granted: dict[int, tuple[int, bool]] = {}
        self.jobs = 0

    @rule(size=SIZES)
    def another_source_is_fetched(self, size: int) -> None:
        may = self.admission.may_fetch(size)
        assert may or self.fetched
        if may:
            self.jobs += 1
            self.fetched[self.jobs] = size
            self.admission.fetch(self.jobs, size)

    @precondition(lambda self: set(self.fetched) - set(self.granted))
    @rule(data=st.data(), memory=SIZES, whole=st.booleans())
    def a_job_asks(self, data: st.DataObject, memory: int, whole: bool) -> None:
        job = data.draw(st.sampled_from(sorted(set(self.fetched) - set(self.granted))))
        would = self.admission.would_grant(memory, whole_budget=whole)
        before = self.admission.used_bytes
        answer = self.admission.ask(job, memory, whole_budget=whole)
        assert (answer is Answer.GRANT) == would
        if answer is Answer.GRANT:
            self.granted[job] = (memory, whole)
        else:
            assert answer is Answer.LATER
            assert self.granted
            assert self.admission.used_bytes == before

    @precondition(lambda self: self.fetched)
    @rule(data=st.data())
    def a_job_ends(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.fetched)))
        self.admission.release(job)
        del self.fetched[job]
        self.granted.pop(job, None)

    @invariant()
    def the_sum_is_right(self) -> None:
        granted = sum(memory for memory, _ in self.granted.values())
        assert self.admission.used_bytes == sum(self.fetched.values()) + granted

    @invariant()
    def only_what_is_alone_may_be_beyond_the_budget(self) -> None:
        if self.admission.used_bytes > BUDGET:
            assert len(self.granted) == 1 or len(self.fetched) == 1
            assert len(self.granted) <= 1

    @invariant()
    def a_job_with_the_whole_budget_is_alone(self) -> None:
        if any(whole for _, whole in self.granted.values()):
            assert len(self.granted) == 1

    @invariant()
    def there_is_always_a_way_on(self) -> None:
        if not self.granted:
            assert self.admission.would_grant(10 * BUDGET, whole_budget=True)
        if not self.fetched:
            assert self.admission.may_fetch(10 * BUDGET)


TestAdmissionMachine = AdmissionMachine.TestCase


def test_small_jobs_flow_beside_a_giant() -> None:
    admission = Admission(BUDGET)
    assert admission.ask("giant", 800) is Answer.GRANT
    assert admission.ask("another giant", 800) is Answer.LATER
    assert [admission.ask(number, 50) for number in range(4)] == [Answer.GRANT] * 4
    assert admission.ask("one too many", 1) is Answer.LATER
    admission.release("giant")
    assert admission.ask("another giant", 800) is Answer.GRANT


def test_fetched_bytes_count_too() -> None:
    admission = Admission(BUDGET)
    admission.fetch("a", 600)
    assert admission.ask("a", 100) is Answer.GRANT
    assert not admission.may_fetch(301)
    assert admission.may_fetch(300)
    admission.fetch("b", 300)
    assert admission.ask("b", 1) is Answer.LATER


def test_nothing_else_runs_beside_a_job_that_has_the_whole_budget() -> None:
    admission = Admission(BUDGET)
    assert admission.ask("suspect", 10, whole_budget=True) is Answer.GRANT
    assert admission.ask("other", 1) is Answer.LATER
    admission.release("suspect")
    assert admission.ask("other", 1) is Answer.GRANT
    assert admission.ask("suspect", 10, whole_budget=True) is Answer.LATER


@given(SIZES)
def test_letting_go_of_the_unknown_changes_nothing(size: int) -> None:
    admission = Admission(BUDGET)
    admission.fetch("known", size)
    admission.release("unknown")
    assert admission.used_bytes == size


def test_what_is_larger_than_the_whole_budget_does_not_fit() -> None:
    assert Admission(BUDGET).fits_at_all(BUDGET)
    assert not Admission(BUDGET).fits_at_all(BUDGET + 1)
