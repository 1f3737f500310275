"""Assignment, leases, votes, exclusion: exactly k valid votes a pair, nobody sees a pair twice, nothing is lost."""

import threading
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, func, select, text

from motionfocal.errors import RefusedError, StudyError
from motionfocal.study.analysis.simulation import Population
from motionfocal.study.design import Checks
from motionfocal.study.fieldwork.assignment import progress
from motionfocal.study.fieldwork.checks import check_kind, check_places
from motionfocal.study.fieldwork.database import Database
from motionfocal.study.fieldwork.exclusion import exclude, include
from motionfocal.study.fieldwork.people import hidden, invite, join, redeem
from motionfocal.study.fieldwork.recording import Answer, Ballot
from motionfocal.study.fieldwork.records import EventRecord, ImpressionRecord, RaterRecord, VoteRecord
from motionfocal.study.fieldwork.simulated import raters_needed, simulate
from motionfocal.study.fieldwork.votes_of import check_rows, judgements_of, left_out, repeats_of, vote_rows

from .made_up_study import Voter, made_up_study, right_side

NO_CHECKS = {"checks": {"share": 0}}
NO_TRAINING = {"training": {"tasks": 0, "right": 0}}


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/study.sqlite")
    yield database
    database.close()


def memory() -> Database:
    return Database("sqlite://")


def work_off(database, study, people=20, choose=None, seconds=5.0):
    """People come one after another and do what they can; the voters."""
    voters = []
    for k in range(people):
        voter = Voter(database, study, f"k{k}", 1000.0 * k, choose or (lambda shown: right_side(study, shown)))
        now = 1000.0 * k
        while voter.vote(now, seconds) is not None:
            now += 10
        voters.append(voter)
    return voters


def valid_votes(database) -> Counter:
    with database.read() as session:
        query = (
            select(ImpressionRecord.target, func.count())
            .join(VoteRecord, VoteRecord.impression_id == ImpressionRecord.id)
            .where(ImpressionRecord.kind == "pair", VoteRecord.state == "valid")
            .group_by(ImpressionRecord.target)
        )
        return Counter({row[0]: row[1] for row in session.execute(query)})


def states(database) -> Counter:
    with database.read() as session:
        return Counter(session.scalars(select(VoteRecord.state)))


@given(
    items=st.integers(1, 8),
    models=st.integers(2, 3),
    votes=st.integers(1, 4),
    tasks=st.integers(1, 12),
    share=st.sampled_from([0.0, 0.2, 0.5]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_every_pair_gets_exactly_k_votes_with_sides_in_balance(items, models, votes, tasks, share, seed):
    study = made_up_study(items, models, votes=votes, tasks=tasks, checks={"share": share}, seed=seed, **NO_TRAINING)
    database = memory()
    work_off(database, study, people=votes * len(study.plan.pairs) + 2)
    assert valid_votes(database) == {pair.id: votes for pair in study.plan.pairs}
    with database.read() as session:
        said = judgements_of(session, study)
        assert max(Counter((j.comparison, j.rater) for j in said).values()) == 1
    left = defaultdict(Counter)
    for judgement in said:
        left[judgement.comparison][judgement.left_model] += 1
    for counts in left.values():
        assert max(counts.values()) - (min(counts.values()) if len(counts) == 2 else 0) <= 1


def test_sides_are_in_balance_for_each_rater(database):
    study = made_up_study(40, votes=5, tasks=40, **NO_CHECKS, **NO_TRAINING)
    work_off(database, study, people=6)
    with database.read() as session:
        by_rater = defaultdict(list)
        for judgement in judgements_of(session, study):
            by_rater[judgement.rater].append(judgement.left_model == "model0")
    for sides in by_rater.values():
        assert abs(2 * sum(sides) - len(sides)) <= 0.3 * len(sides)


def test_the_same_seed_gives_the_same_order_and_another_rater_another(tmp_path):
    study = made_up_study(30, tasks=30, votes=1, **NO_TRAINING)

    def order(name, key):
        database = Database(f"sqlite:///{tmp_path}/{name}.sqlite")
        voter = Voter(database, study, key, 0.0, lambda shown: right_side(study, shown))
        while voter.vote(0.0):
            pass
        with database.read() as session:
            return list(session.scalars(select(ImpressionRecord.target).order_by(ImpressionRecord.id)))

    first = [target for target in order("a", "x") if target.startswith("p")]
    assert first == [target for target in order("b", "x") if target.startswith("p")]
    assert first != [target for target in order("c", "y") if target.startswith("p")]


def test_a_task_is_the_same_after_a_reload_until_its_lease_is_taken_by_another(database):
    study = made_up_study(1, votes=1, lease_minutes=10, **NO_CHECKS, **NO_TRAINING)
    slow, quick = Voter(database, study, "slow", 0.0), Voter(database, study, "quick", 0.0)
    task = slow.take(0.0)
    assert slow.take(300.0).uid == task.uid
    assert quick.take(301.0) is None, "the pair's one place is taken"
    late = Voter(database, study, "late", 0.0)
    assert late.vote(2000.0) == "pair", "the lease is over"
    assert slow.send(slow.ballot(task), 2100.0).again is False
    assert states(database) == {"valid": 1, "surplus": 1}
    assert valid_votes(database) == {task.target: 1}


def test_who_finds_all_places_on_lease_may_ask_again(database):
    study = made_up_study(1, votes=1, lease_minutes=10, **NO_CHECKS, **NO_TRAINING)
    away, patient = Voter(database, study, "away", 0.0), Voter(database, study, "patient", 0.0)
    away.take(0.0)
    assert patient.take(10.0) is None
    with database.read() as session:
        assert patient.rater(session).state == "working"
    assert patient.vote(700.0) == "pair", "the lease is over"
    assert patient.take(720.0) is None
    with database.read() as session:
        assert patient.rater(session).state == "finished"


def test_a_late_vote_counts_while_its_place_is_free(database):
    study = made_up_study(1, votes=1, lease_minutes=10, **NO_CHECKS, **NO_TRAINING)
    voter = Voter(database, study, "a", 0.0)
    task = voter.take(0.0)
    voter.send(voter.ballot(task), 9999.0)
    assert states(database) == {"valid": 1}


def test_a_rater_whose_lease_is_gone_is_given_another_task(database):
    study = made_up_study(2, votes=1, lease_minutes=10, **NO_CHECKS, **NO_TRAINING)
    slow = Voter(database, study, "slow", 0.0)
    first = slow.take(0.0)
    quick = Voter(database, study, "quick", 700.0)
    quick.vote(700.0)
    quick.vote(710.0)
    assert slow.take(800.0) is None, "all places are taken"
    with database.read() as session:
        assert session.scalar(select(ImpressionRecord.state).where(ImpressionRecord.uid == first.uid)) == "expired"


def test_a_vote_that_is_sent_twice_is_one_vote_and_another_answer_is_refused(database):
    study = made_up_study(2, **NO_CHECKS, **NO_TRAINING)
    voter = Voter(database, study, "a", 0.0)
    task = voter.take(0.0)
    ballot = voter.ballot(task)
    assert voter.send(ballot, 5.0).again is False
    assert voter.send(ballot, 6.0).again is True
    assert voter.send(replace(ballot, uid=str(uuid.uuid4())), 6.0).again is True, "the same answer, from another tab"
    with pytest.raises(RefusedError, match="answered otherwise") as refused:
        voter.send(voter.ballot(task, "right"), 7.0)
    assert refused.value.status == 409
    other = voter.take(8.0)
    with pytest.raises(RefusedError, match="for another task"):
        voter.send(replace(ballot, impression=other.uid), 13.0)
    assert states(database) == {"valid": 1}


def test_nobody_answers_for_another(database):
    study = made_up_study(4, **NO_CHECKS, **NO_TRAINING)
    one, two = Voter(database, study, "a", 0.0), Voter(database, study, "b", 0.0)
    task = one.take(0.0)
    with pytest.raises(RefusedError) as refused:
        two.send(two.ballot(task), 5.0)
    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        ((), "expected one to each of overall"),
        ((Answer("other", "left", ("object motion",)),), "expected one to each of overall"),
        ((Answer("overall", "left", ("object motion",)),) * 2, "expected one to each of overall"),
        ((Answer("overall", "tie"),), "a tie is not offered"),
        ((Answer("overall", "left", ("beauty",)),), "only of"),
        ((Answer("overall", "left", ("object motion", "object motion")),), "each once"),
        ((Answer("overall", "left"),), "needs at least one"),
    ],
)
def test_answers_must_answer_the_questions(database, answers, complaint):
    study = made_up_study(4, **NO_CHECKS, **NO_TRAINING)
    voter = Voter(database, study, "a", 0.0)
    task = voter.take(0.0)
    with pytest.raises(RefusedError, match=complaint) as refused:
        voter.send(Ballot(task.uid, "u", answers), 5.0)
    assert refused.value.status == 422
    assert states(database) == {}


def test_two_questions_and_ties(database):
    study = made_up_study(1, preset="emu", ties=True, votes=1, **NO_CHECKS, **NO_TRAINING)
    voter = Voter(database, study, "a", 0.0)
    task = voter.take(0.0)
    answers = (Answer("quality", "tie"), Answer("faithfulness", "left", ("temporal text alignment",)))
    voter.send(Ballot(task.uid, "u", answers), 5.0)
    with database.read() as session:
        said = judgements_of(session, study)
    assert [(j.question, j.preference, j.reasons) for j in said] == [
        ("quality", "tie", ()),
        ("faithfulness", "left", ("temporal text alignment",)),
    ]


def test_votes_faster_than_the_clips_last_are_kept_and_flagged(database):
    study = made_up_study(2, **NO_CHECKS, **NO_TRAINING)
    voter = Voter(database, study, "a", 0.0)
    voter.vote(0.0, seconds=1.9)
    voter.vote(10.0, seconds=2.1)
    with database.read() as session:
        assert [row.flags for row in vote_rows(session, study)] == [("too fast",), ()]


def test_training_is_passed_repeated_or_sends_home(database):
    study = made_up_study(4)
    able = Voter(database, study, "able", 0.0, lambda shown: right_side(study, shown))
    assert [able.vote(10.0 * k) for k in range(4)] == ["training"] * 3 + ["pair"]
    poor = Voter(database, study, "poor", 0.0)
    seen = []
    for k in range(6):
        task = poor.take(10.0 * k)
        receipt = poor.send(poor.ballot(task, "right"), 10.0 * k + 5)
        seen.append((task.target, task.round, receipt.passed, receipt.why))
    assert seen == [(f"t{k % 3}", 1 + k // 3, False, "the other is broken") for k in range(6)]
    assert poor.take(99.0) is None
    with database.read() as session:
        assert poor.rater(session).state == "screened_out"
        assert able.rater(session).state == "working"


@pytest.mark.parametrize("tasks", [15, 20, 25, 40])
def test_the_default_checks_can_fail_a_rater_of_few_tasks(database, tasks):
    study = made_up_study(tasks, tasks=tasks, **NO_TRAINING)
    against = {"left": "right", "right": "left"}
    bad = Voter(database, study, "bad", 0.0, lambda shown: against[right_side(study, shown)])
    while bad.vote(0.0):
        pass
    with database.read() as session:
        assert bad.rater(session).state == "failed"


@pytest.mark.parametrize("kind", ["corrupted", "instructed"])
def test_a_single_slip_sends_nobody_home(database, kind):
    """Of the two checks of a default study that can fail a rater, one is missed."""
    study = made_up_study(40, tasks=40, **NO_TRAINING)
    against = {"left": "right", "right": "left"}

    def answer(shown):
        right = right_side(study, shown)
        missed = shown.kind == "check" and check_kind(study, shown.target) == kind
        return against[right] if missed else right

    slip = Voter(database, study, "slip", 0.0, answer)
    while slip.vote(0.0):
        pass
    with database.read() as session:
        assert slip.rater(session).state == "finished"


def test_a_rater_who_fails_the_checks_is_replaced(database):
    study = made_up_study(10, votes=2, tasks=10, checks={"share": 0.5}, **NO_TRAINING)

    def wrong(shown):
        return {"left": "right", "right": "left"}[right_side(study, shown)] if shown.kind == "check" else "left"

    bad = Voter(database, study, "bad", 0.0, wrong)
    while bad.vote(0.0):
        pass
    with database.read() as session:
        assert bad.rater(session).state == "failed"
        assert judgements_of(session, study) == []
        name = bad.rater(session).name
        assert left_out(session) == {name: "attention checks"}
        assert session.scalar(select(EventRecord.kind).where(EventRecord.rater_id == bad.id)) == "failed"
    work_off(database, study, people=8)
    assert valid_votes(database) == {pair.id: 2 for pair in study.plan.pairs}
    assert states(database)["void"] > 0, "nothing is deleted"


@pytest.mark.parametrize(("share", "tasks"), [(0.1, 40), (0.25, 40), (0.5, 7), (0.5, 1), (0.0, 40)])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=30)
def test_checks_are_as_many_as_asked_and_never_come_first(share, tasks, seed):
    places = check_places(Checks(share=share), tasks, seed)
    assert len(places) == min(round(share * tasks), tasks - 1)
    assert all(2 <= number <= tasks for number in places)
    if len(places) >= 2:
        assert {"corrupted", "instructed"} <= set(places.values()), "those that can fail a rater come first"


def test_checks_are_graded(database):
    study = made_up_study(40, votes=5, tasks=40, checks={"share": 0.4}, **NO_TRAINING)
    work_off(database, study, people=3)
    with database.read() as session:
        rows, repeats = check_rows(session, study), repeats_of(session, study)
        kinds = Counter((row.check, row.passed) for row in rows)
    assert {kind for kind, _ in kinds} == {"corrupted", "repeat", "instructed", "identical", "frozen", "mismatched"}
    assert {passed for (kind, passed) in kinds if kind == "identical"} == {None}
    assert {passed for (kind, passed) in kinds if kind in ("corrupted", "instructed", "frozen")} == {True}
    assert len(repeats) == sum(count for (kind, _), count in kinds.items() if kind == "repeat") > 0
    for first, again in repeats:
        assert (first.left_model, first.right_model) == (again.right_model, again.left_model)
        assert first.comparison == again.comparison
        assert first.rater == again.rater


def test_exclusion_needs_a_reason_voids_and_can_be_taken_back(database):
    study = made_up_study(6, votes=1, **NO_CHECKS, **NO_TRAINING)
    voter = work_off(database, study, people=1)[0]
    assert len(valid_votes(database)) == 6
    with database.write() as session, pytest.raises(StudyError, match="needs a reason"):
        exclude(session, voter.id, " ", "me", 1.0)
    with database.write() as session:
        exclude(session, voter.id, "was my cat", "me", 1.0)
    assert valid_votes(database) == {}
    Voter(database, study, "other", 5000.0).vote(5000.0)
    with database.write() as session:
        include(session, study, voter.id, "was not my cat", "me", 2.0)
    assert valid_votes(database) == {pair.id: 1 for pair in study.plan.pairs}
    assert states(database) == {"valid": 6, "surplus": 1}
    with database.read() as session:
        events = [tuple(row) for row in session.execute(select(EventRecord.kind, EventRecord.what))]
    assert events == [
        ("excluded", {"reason": "was my cat", "by": "me"}),
        ("included", {"reason": "was not my cat", "by": "me"}),
    ]


def test_invitations(database):
    study = made_up_study()
    with database.write() as session:
        forever, short = invite(session, 2, 0.0)[0], invite(session, 1, 0.0, expires=10.0)[0]
        assert redeem(session, study, forever.code, 1e9).id == redeem(session, study, forever.code, 2e9).id
        with pytest.raises(RefusedError, match="over"):
            redeem(session, study, short.code, 11.0)
        with pytest.raises(RefusedError, match="not known"):
            redeem(session, study, "guess", 0.0)


def test_a_crowds_ids_are_hidden_and_salted(database):
    study, other = made_up_study(), made_up_study()
    other = replace(other, secrets=other.secrets.model_copy(update={"salt": "t" * 40}))
    assert "A1B2C3" not in hidden(study, "A1B2C3")
    assert hidden(study, "A1B2C3") != hidden(other, "A1B2C3")
    with database.write() as session:
        one = join(session, study, source="mturk", key=hidden(study, "A1B2C3"), now=0.0)
        assert join(session, study, source="mturk", key=hidden(study, "A1B2C3"), now=9.0).id == one.id
        assert join(session, study, source="prolific", key=hidden(study, "A1B2C3"), now=9.0).id != one.id


def test_progress(database):
    study = made_up_study(4, tasks=3, **NO_CHECKS)
    voter = Voter(database, study, "a", 0.0)
    seen = []
    for k in range(6):
        with database.read() as session:
            stands = progress(session, study, voter.rater(session))
        seen.append((stands.done, stands.total))
        voter.vote(10.0 * k)
    assert seen == [(0, 3), (1, 3), (2, 3), (0, 3), (1, 3), (2, 3)]


def test_a_database_belongs_to_one_study(database):
    database.belong_to("one")
    database.belong_to("one")
    with pytest.raises(StudyError, match="another study"):
        database.belong_to("two")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("nonsense", "take sqlite:///FILE or postgresql://"),
        ("postgresql://study@host:port/name", "take sqlite:///FILE or postgresql://"),
        ("mongodb://there/x", "not kept in mongodb; take sqlite:///FILE or postgresql://"),
        ("mysql://me:secret@there/x", r"me:\*\*\*@there/x: a study is not kept in mysql"),
        ("sqlite:////no/such/folder/x.sqlite", "cannot be opened: .*give a study's own file"),
        ("postgresql://study:secret@127.0.0.1:1/x", r"study:\*\*\*@.*cannot be opened: .*check that the server runs"),
    ],
)
def test_a_database_that_is_none_is_refused(url, complaint):
    with pytest.raises(StudyError, match=f"(?s){complaint}"):
        Database(url)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.sqlite").write_text("dear diary, " * 200)
    with pytest.raises(StudyError, match=r"x\.sqlite: cannot be opened: file is not a database; give a study's own"):
        Database(f"sqlite:///{tmp_path}/x.sqlite")


def test_check_kinds_are_told_from_targets():
    study = made_up_study()
    assert check_kind(study, "repeat:p0-01") == "repeat"
    assert check_kind(study, "frozen2") == "frozen"


@pytest.fixture(params=["sqlite", "postgresql"])
def shared_database(request, tmp_path):
    """A database of its own on either server."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/shared.sqlite"
    else:
        server = request.getfixturevalue("postgres")
        name = f"t{uuid.uuid4().hex}"
        engine = create_engine(server.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = server.replace("/postgres", f"/{name}")
    database = Database(url)
    yield database
    database.close()


def test_what_is_read_together_is_of_one_moment(shared_database):
    study, url = made_up_study(), shared_database.engine.url.render_as_string(hide_password=False)
    raters = select(func.count()).select_from(RaterRecord)
    with shared_database.read() as session:
        assert session.scalar(raters) == 0
        other = Database(url)
        Voter(other, study, "k", 0.0)
        other.close()
        assert session.scalar(raters) == 0
    with shared_database.read() as session:
        assert session.scalar(raters) == 1


@pytest.mark.slow
def test_many_at_once_never_give_a_pair_more_than_k_votes(shared_database):
    """Threads, each with a connection to the database of its own, take, abandon and answer tasks at the same time."""
    study = made_up_study(12, 3, votes=3, tasks=20, checks={"share": 0.2}, **NO_TRAINING)
    url = shared_database.engine.url.render_as_string(hide_password=False)
    clock = time.monotonic
    wrong = []

    def work(key):
        own = Database(url)
        rng = np.random.default_rng(key)
        try:
            voter = Voter(own, study, f"k{key}", clock(), lambda shown: right_side(study, shown))
            while (task := voter.take(clock())) is not None:
                if rng.random() < 0.1:
                    return  # goes away with a task open
                ballot = voter.ballot(task)
                voter.send(ballot, clock())
                if rng.random() < 0.3:
                    voter.send(ballot, clock())
        except Exception as error:
            wrong.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=work, args=(key,)) for key in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert max(valid_votes(shared_database).values()) <= 3
    # whoever went away is replaced when the leases are over
    later = clock() + 3600
    for key in range(40):
        voter = Voter(shared_database, study, f"later{key}", later, lambda shown: right_side(study, shown))
        while voter.vote(later):
            later += 10
    assert valid_votes(shared_database) == {pair.id: 3 for pair in study.plan.pairs}
    with shared_database.read() as session:
        seen = Counter(
            tuple(row)
            for row in session.execute(
                select(ImpressionRecord.rater_id, ImpressionRecord.target).where(ImpressionRecord.kind == "pair")
            )
        )
        assert max(seen.values()) == 1
        raters = session.scalar(select(func.count()).select_from(RaterRecord))
        assert session.scalar(select(func.count(func.distinct(RaterRecord.name)))) == raters


@pytest.mark.parametrize(("items", "votes", "tasks", "raters"), [(50, 5, 10, 26), (6, 5, 40, 6), (20, 3, 12, 7)])
def test_a_rehearsal_with_as_many_raters_as_needed_lacks_no_vote(items, votes, tasks, raters):
    """Without the one to spare, the first lacks a vote with this seed: 25 raters have 250 tasks for 250 votes."""
    study = made_up_study(items, votes=votes, tasks=tasks, **(NO_CHECKS if tasks == 10 else {}), **NO_TRAINING)
    assert raters_needed(study) == raters
    made = simulate(study, memory(), Population(), raters, np.random.default_rng(1))
    assert made.votes == items * votes
