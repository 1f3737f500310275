"""A study with its database filled, as the admin pages see it: 40 people, some of them bad, and an oracle."""

from collections import Counter
from dataclasses import replace
from uuid import UUID

import numpy as np

from motionfocal.study.design import Pay
from motionfocal.study.fieldwork.records import EventRecord, ImpressionRecord, InvitationRecord, RaterRecord, VoteRecord
from motionfocal.study.plan import Study
from motionfocal.study.protocol import Judgement
from motionfocal.study.raters.comparisons import store_of

from .made_up_study import made_up_study

START = 1_800_000_000.0
MODELS = ("MotiF", "DynamiCrafter", "CogVideoX-5B")
STRENGTHS = dict(zip(MODELS, (0.9, 0.0, 0.35), strict=True))
_TEXTS = (
    "A red panda climbs down the trunk and looks into the camera.",
    "The kettle begins to steam while the cat on the sill turns its head.",
    "Two dancers spin; the curtain behind them opens slowly.",
    "A paper boat drifts to the left and tips over.",
    "The old man raises his glass, smiles, and puts it down again.",
)


def watched_study(items=40, **design) -> Study:
    """Three models with names of their own, and texts that are sentences."""
    study = made_up_study(items=items, models=3, pay=Pay(hourly=15, currency="USD"), **design)
    names = {f"model{k}": model for k, model in enumerate(MODELS)}
    clips = tuple(clip.model_copy(update={"model": names.get(clip.model, "")}) for clip in study.plan.clips)
    shown = tuple(s.model_copy(update={"text": _TEXTS[k % len(_TEXTS)]}) for k, s in enumerate(study.plan.shown))
    changed = {"models": MODELS, "clips": clips, "shown": shown, "name": "MotiF against two baselines"}
    return replace(study, plan=study.plan.model_copy(update=changed))


def fill(study: Study, database, rng: np.random.Generator, people: int = 40, tasks: int = 26) -> float:
    """Insert what ``people`` did, one after the other; returns the time at which it is looked at."""
    with database.write() as session:
        filler = Filler(study, session, rng)
        for number in range(people):
            filler.person(number, tasks, working=number >= people - 3)
        codes = [InvitationRecord(code=f"code{n:02d}-{n * 7919:06x}", label="lab", created=START) for n in range(12)]
        session.add_all(codes)
    return filler.latest + 40


class Filler:
    """Inserts records one by one."""

    def __init__(self, study, session, rng):
        self.study, self.session, self.rng = study, session, rng
        self.votes = Counter()
        self.latest = START

    def person(self, number, tasks, *, working):
        rng = self.rng
        bias, pace = rng.normal(0, 0.3), rng.lognormal(3.1, 0.25)
        state, flags, excluded = "working" if working else "finished", (), ""
        if number in (5, 17):
            bias, pace, flags = 6.0, 4.0, ("too fast", "not seen")
        if number == 17:
            excluded = "left in 24 of 26, faster than the clips last"
        if number in (9, 23, 30):
            state = "failed"
        if number == 12:
            state = "screened_out"
        if number >= 37:
            tasks = 9
        joined = START + 400 * number
        rater = self.rater(f"r{number + 1:04d}", "mturk" if number % 3 else "link", state, joined, excluded)
        now = joined + 180
        now = self._train(rater, now, rounds=2 if number % 8 == 4 or state == "screened_out" else 1)
        if state == "screened_out":
            tasks = 0
        for place in range(1, tasks + 1):
            took = float(max(2.0, pace * rng.lognormal(0, 0.4)))
            now += took
            if place % 9 == 4:
                self._check(rater, place, now, took, bad=state == "failed" or excluded != "")
            else:
                void = bool(excluded) or state == "failed"
                self._pair(rater, place, now, took, bias, list(flags) if rng.random() < 0.6 else [], void)
        rater.seen = now
        if working:
            pair = self._next_pair(rater)
            self.show(rater, "pair", pair.id, tasks + 1, pair.first, pair.second, True, now, state="open")
        self.latest = max(self.latest, now)
        self.session.add(EventRecord(rater_id=rater.id, kind="hidden", at=now))
        if excluded:
            what = {"reason": excluded, "by": "admin"}
            self.session.add(EventRecord(rater_id=rater.id, kind="excluded", at=now, what=what))

    def rater(self, name, source, state, joined, excluded):
        rater = RaterRecord(
            name=name, source=source, key=name, state=state, seed=1, joined=joined, seen=joined,
            excluded=excluded,
        )  # fmt: skip
        self.session.add(rater)
        self.session.flush()
        return rater

    def _train(self, rater, now, rounds):
        for turn in range(1, rounds + 1):
            for number, example in enumerate(self.study.plan.training, 1):
                now += 25
                right = turn == rounds and rater.state != "screened_out"
                shown = self.show(rater, "training", example.id, number, example.left, example.right, True, now, turn)
                self.vote(rater, shown, "left" if right else "right", now, 25, [], passed=right)
        return now

    def _check(self, rater, number, now, took, bad):
        seen = {check.id for check in self.study.plan.checks if (rater.id, check.id) in self.votes}
        check = next(c for c in self.study.plan.checks[(number + rater.id) % 5 * 4 :] if c.id not in seen)
        self.votes[rater.id, check.id] = 1
        shown = self.show(rater, "check", check.id, number, check.first, check.second, True, now - took)
        graded = check.kind != "identical"
        passed = (self.rng.random() < (0.4 if bad else 0.95)) if graded else None
        self.vote(rater, shown, "left" if passed else "right", now, took, [], passed=passed)

    def _next_pair(self, rater):
        """One of those with fewest votes that the rater has not seen."""
        wanted = [p for p in self.study.plan.pairs if (rater.id, p.id) not in self.votes]
        fewest = min(self.votes[p.id] for p in wanted)
        best = [p for p in wanted if self.votes[p.id] == fewest]
        return best[self.rng.integers(len(best))]

    def _pair(self, rater, number, now, took, bias, flags, void):
        pair = self._next_pair(rater)
        self.votes[rater.id, pair.id] = 1
        if not void:
            self.votes[pair.id] += 1
        first_left = bool(self.rng.integers(2))
        left, right = (pair.first, pair.second) if first_left else (pair.second, pair.first)
        models = [self.study.plan.clip(clip).model for clip in (left, right)]
        item = np.random.default_rng(int(pair.item[1:])).normal(0, 1.2)
        ahead = 2 * (STRENGTHS[models[0]] - STRENGTHS[models[1]]) + bias + (item if first_left else -item)
        choice = "left" if self.rng.random() < 1 / (1 + np.exp(-ahead)) else "right"
        shown = self.show(rater, "pair", pair.id, number, left, right, first_left, now - took)
        comment = "Both hands melt, but the left one less." if self.rng.random() < 0.03 else ""
        self.vote(rater, shown, choice, now, took, flags, state="void" if void else "valid", comment=comment)

    def show(self, rater, kind, target, number, left, right, first_left, at, turn=1, state="answered"):
        shown = ImpressionRecord(
            uid=str(UUID(bytes=self.rng.bytes(16))), rater_id=rater.id, kind=kind, target=target, round=turn,
            number=number, left=left, right=right, first_left=first_left, state=state, shown=at, lease=at + 1200,
            instructed="left" if target.startswith("instructed") else "",
        )  # fmt: skip
        self.session.add(shown)
        self.session.flush()
        return shown

    def vote(self, rater, shown, choice, now, took, flags, *, state="valid", passed=None, comment=""):
        questions = self.study.design.asked
        answers = [{"question": q.id, "choice": choice, "reasons": [q.reasons[0].id]} for q in questions]
        self.session.add(
            VoteRecord(
                uid=str(UUID(bytes=self.rng.bytes(16))),
                impression_id=shown.id,
                rater_id=rater.id,
                state=state,
                answers=answers,
                comment=comment,
                passed=passed,
                flags=flags,
                received=now,
                took=took,
                active=took * 0.95,
                plays_left=2,
                plays_right=1,
            )
        )


def let_rate(study: Study, name: str = "metric:object_motion") -> None:
    """Have a rater that is no person prefer the first clip of each pair, in both orders."""
    store = store_of(study, name)
    for pair in study.plan.pairs:
        models = [study.plan.clip(clip).model for clip in (pair.first, pair.second)]
        for left, right in (models, models[::-1]):
            preference = "left" if left == models[0] else "right"
            store.add(Judgement(pair.id, pair.item, "m", left, right, name, preference, (), kind="metric"))
