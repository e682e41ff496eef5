"""Which inputs of a batch are suspected, who is blamed for a failure, and when a run is stopped."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fanout.plan import Batch, Input
from fanrun.fanout.results.faults import FEW_GROUPS, MAX_TOLD, Blame, Cause, Reasons, divide, same

BAD = "the program ended with exit 2: no such option"
KEYS = st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=80, unique=True)


def batch(*keys: bytes) -> Batch:
    return Batch("worker-1.0001", tuple(Input(key, 1) for key in keys))


# ---- suspects


@given(KEYS, st.data(), st.booleans())
def test_every_input_is_in_one_group(keys: list[bytes], data: st.DataObject, hung: bool) -> None:
    partial = data.draw(st.sets(st.sampled_from(keys)))
    latest = data.draw(st.sampled_from(sorted(partial))) if partial else None
    suspects, others = divide(keys, partial, latest, hung=hung)
    if not suspects:
        assert not hung
        assert len(partial) in (0, len(keys))
        return
    assert sorted(key for group in [*suspects, others] for key in group) == sorted(keys)
    assert set(others) == partial - {latest}


@pytest.mark.parametrize("hung", [False, True])
def test_what_left_nothing_and_what_was_written_last_run_alone(hung: bool) -> None:
    keys = [b"%03d" % number for number in range(62)]
    partial = set(keys) - {b"007", b"050"}
    suspects, others = divide(keys, partial, b"061", hung=hung)
    assert suspects == [[b"007"], [b"050"], [b"061"]]
    assert len(others) == 59


def test_many_suspects_are_few_groups_but_where_each_failure_costs_a_timeout() -> None:
    keys = [b"%03d" % number for number in range(20)]
    partial = set(keys[:4])
    assert len(divide(keys, partial, keys[3], hung=False)[0]) == FEW_GROUPS
    assert divide(keys, partial, keys[3], hung=True)[0] == [[key] for key in keys[3:]]
    assert divide(keys, (), None, hung=False) == ([], [])
    assert divide(keys, (), None, hung=True)[0] == [[key] for key in keys]


# ---- blame


def test_a_failure_that_follows_an_input_to_a_second_worker_is_the_inputs() -> None:
    blame = Blame()
    assert blame.failed(batch(b"a", b"b"), "worker-1", answers=False, worked=False) is Cause.WORKER
    assert blame.failed(batch(b"a", b"b"), "worker-2", answers=False, worked=False) is Cause.INPUTS
    assert blame.failed(batch(b"a"), "worker-2", answers=False, worked=False) is Cause.WORKER
    assert blame.failed(batch(b"a"), "worker-2", answers=False, worked=False) is Cause.WORKER, "nothing new"
    assert blame.failed(batch(b"a"), "worker-1", answers=False, worked=False) is Cause.INPUT
    assert blame.workers(b"a") == "worker-1 and worker-2"


def test_a_batch_that_one_worker_fails_twice_is_divided_and_no_input_is_given_up() -> None:
    blame = Blame()
    assert blame.failed(batch(b"a", b"b"), "worker-1", answers=False, worked=False) is Cause.WORKER
    assert blame.failed(batch(b"a", b"b"), "worker-1", answers=False, worked=False) is Cause.INPUTS
    for _ in range(5):
        assert blame.failed(batch(b"a"), "worker-1", answers=False, worked=False) is Cause.WORKER
    assert blame.failed(batch(b"a"), "worker-1", answers=False, worked=True) is Cause.INPUT


def test_one_worker_alone_that_works_again_without_the_inputs() -> None:
    blame = Blame()
    assert blame.failed(batch(b"a", b"b"), "worker-1", answers=False, worked=True) is Cause.WORKER
    assert blame.failed(batch(b"a", b"b"), "worker-1", answers=False, worked=True) is Cause.INPUTS
    assert blame.failed(batch(b"b"), "worker-1", answers=False, worked=True) is Cause.WORKER
    assert blame.failed(batch(b"b"), "worker-1", answers=False, worked=True) is Cause.INPUT
    assert blame.workers(b"b") == "worker-1"


def test_a_worker_that_answers_is_believed_the_second_time() -> None:
    blame = Blame()
    assert blame.failed(batch(b"a"), "worker-1", answers=True, worked=False) is Cause.WORKER
    assert blame.failed(batch(b"a"), "worker-1", answers=True, worked=False) is Cause.INPUT


def test_inputs_that_come_together_for_the_first_time_are_not_to_blame() -> None:
    blame = Blame()
    blame.failed(batch(b"a"), "worker-1", answers=True, worked=False)
    blame.failed(batch(b"b"), "worker-2", answers=True, worked=False)
    assert blame.failed(batch(b"b", b"c"), "worker-1", answers=True, worked=False) is Cause.WORKER


# ---- reasons


def asked(reasons: Reasons, keys: Collection[bytes], reason: str) -> bool:
    return reasons.every(batch(*keys), reason)


def test_the_run_is_stopped_when_two_batches_end_for_the_same_reason() -> None:
    reasons = Reasons(print)
    assert not asked(reasons, [b"a", b"b"], BAD)
    assert not asked(reasons, [b"a"], BAD), "a part of the same batch"
    assert not asked(reasons, [b"b", b"c"], BAD), "it has inputs of that batch"
    assert asked(reasons, [b"d"], BAD)
    assert reasons.stop == "every batch ends with exit 2: no such option; stopped (--keep-going tries every input)"
    assert not asked(reasons, [b"e"], BAD), "once"
    assert reasons.of(b"a") == BAD
    assert reasons.of(b"z") == f"not tried: {reasons.stop}"
    others = Reasons(print)
    asked(others, [b"a"], "no model")
    assert asked(others, [b"b"], "no model")
    assert others.stop == "every batch fails: no model; stopped (--keep-going tries every input)"


def test_the_run_is_not_stopped_for_different_reasons_or_once_something_is_done() -> None:
    reasons = Reasons(print)
    assert not asked(reasons, [b"a"], "exit 2: one")
    assert not asked(reasons, [b"b"], "exit 2: two")
    assert not asked(reasons, [b"c"], "exit 2: one")
    reasons.went_well()
    assert not asked(reasons, [b"d"], "exit 2: one")
    patient = Reasons(print, keep_going=True)
    assert not asked(patient, [b"a"], "exit 2")
    assert not asked(patient, [b"b"], "exit 2")


def test_the_bad_inputs_of_two_batches_do_not_stop_the_run() -> None:
    reasons = Reasons(print)
    assert reasons.divided([b"a", b"bad 1"])
    assert reasons.divided([b"b", b"c", b"bad 2"])
    assert not asked(reasons, [b"bad 1"], BAD)
    assert not asked(reasons, [b"bad 2"], BAD)
    assert not asked(reasons, [b"bad 2"], BAD), "again"
    assert not asked(reasons, [b"c"], BAD)
    assert not asked(reasons, [b"a"], BAD), "the first whole batch"
    assert asked(reasons, [b"b"], BAD), "the second"


def test_a_part_of_a_divided_batch_that_is_divided_again_counts_with_the_whole() -> None:
    reasons = Reasons(print)
    assert reasons.divided([b"a", b"b", b"c"])
    assert not reasons.divided([b"b", b"c"])
    assert not reasons.divided([b"d"]), "there is nothing to divide"
    assert not asked(reasons, [b"d"], BAD)
    assert not asked(reasons, [b"b"], BAD)
    assert not asked(reasons, [b"c"], BAD)
    assert asked(reasons, [b"a"], BAD)


def test_each_new_reason_is_told_once() -> None:
    told: list[str] = []
    reasons = Reasons(told.append)
    reasons.new("can't read a.jpg at line 7", [b"d/a.jpg"], "first")
    reasons.new("can't read b.jpg at line 12", [b"d/b.jpg"], "second")
    reasons.new("too dark", [b"c.jpg"], "third")
    assert told == ["first", "third"]
    for number in range(2 * MAX_TOLD):
        reasons.new("why" + "x" * number, [], str(number))
    assert told[2:] == [*map(str, range(MAX_TOLD - 2)), "there are more reasons; the summary has all"]


def test_names_and_numbers_make_no_new_reason() -> None:
    assert same("exit 3: /in/d/a.jpg is 12 bytes", [b"d/a.jpg"]) == same("exit 4: /in/b.jpg is 7 bytes", [b"b.jpg"])
    assert same("too dark", [b"a"]) != same("too bright", [b"a"])
