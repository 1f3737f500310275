"""The nouns of a study under way: what its admin page shows.

Shares are in [0, 1], times are seconds since 1970, durations seconds. Machine raters stand in ``machines``,
with the number of their judgements (both orders), and count nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from motionfocal.intervals import Interval
from motionfocal.study.analysis.contents import Agreement, SideBias
from motionfocal.study.fieldwork.exclusion import WITHDREW


@dataclass(frozen=True)
class PairProgress:
    """Two models: how many pairs of their clips have all their votes, and how many votes there are of those wanted.

    ``leases`` counts the tasks that somebody has open now.
    """

    model: str
    baseline: str
    pairs: int
    complete: int
    votes: int
    wanted: int
    leases: int


@dataclass(frozen=True)
class CheckTally:
    """Answered checks of a kind; ``ungraded`` ones have no right answer. A repeat passes by the same choice again."""

    kind: str
    passed: int
    failed: int
    ungraded: int


@dataclass(frozen=True)
class RaterProgress:
    """A rater. ``votes`` counts answers on pairs that are valid, ``void`` those that do not count.

    ``left`` is the share of left among the votes that chose a side, ``agrees`` the share that sides with the majority
    of the other people on the same pair (of ``compared``), ``seconds`` the median time on a task; NaN where there is
    none. ``flags`` counts what is odd in votes. ``odd`` names the figures that ask for a look: "left", "agrees",
    "seconds", "checks", "flags".
    """

    id: int
    name: str
    source: str
    state: str
    joined: float
    seen: float
    excluded: str
    votes: int
    void: int
    checks: tuple[CheckTally, ...]
    left: float
    agrees: float
    compared: int
    seconds: float
    flags: Mapping[str, int]
    comments: int
    odd: frozenset[str] = frozenset()

    @property
    def withdrew(self) -> bool:
        """Whether the rater was forgotten: there is nothing left to decide."""
        return self.excluded == WITHDREW


@dataclass(frozen=True)
class Score:
    """A model against a baseline so far: the share of items whose majority prefers the model, and its votes."""

    model: str
    baseline: str
    items: int
    votes: int
    ti2v_score: Interval


@dataclass(frozen=True)
class QuestionSoFar:
    """What people answered to one question; agreement and side are None before the first vote."""

    id: str
    text: str
    scores: tuple[Score, ...]
    agreement: Agreement | None
    side: SideBias | None


@dataclass(frozen=True)
class TimeOnTask:
    """Quartiles of the time from a task's first showing to its answer, over ``tasks`` of people."""

    tasks: int
    lower: float
    median: float
    upper: float


@dataclass(frozen=True)
class PayEstimate:
    """Hours of people so far, and of the whole study at this pace (None before the first vote), without fees."""

    hours: float
    expected_hours: float | None
    hourly: float
    currency: str

    @property
    def cost(self) -> float:
        """What the hours so far cost."""
        return self.hours * self.hourly

    @property
    def expected_cost(self) -> float | None:
        """What the whole study will cost."""
        return None if self.expected_hours is None else self.expected_hours * self.hourly


@dataclass(frozen=True)
class Screening:
    """How far people came: ``states`` counts them by RaterState.

    ``excluded`` counts those taken out by hand, ``at_work`` those who are here now.
    ``trained`` are those who answered at least one training task, ``rounds`` their rounds.
    ``right`` of ``answered`` training tasks were right.
    """

    states: Mapping[str, int]
    excluded: int
    at_work: int
    trained: int
    rounds: int
    answered: int
    right: int


@dataclass(frozen=True)
class Overview:
    """Everything that goes on in a study at ``now``.

    ``needed`` is how many people must still be found, those at work not counted.
    """

    name: str
    now: float
    pairs: tuple[PairProgress, ...]
    questions: tuple[QuestionSoFar, ...]
    raters: tuple[RaterProgress, ...]
    machines: Mapping[str, int]
    checks: tuple[CheckTally, ...]
    time: TimeOnTask | None
    pay: PayEstimate | None
    screening: Screening
    needed: int
    last_vote: float | None

    @property
    def votes(self) -> int:
        """Valid votes so far."""
        return sum(pair.votes for pair in self.pairs)

    @property
    def wanted(self) -> int:
        """Valid votes of the finished study."""
        return sum(pair.wanted for pair in self.pairs)


@dataclass(frozen=True)
class Said:
    """The answer to one question: left, right or tie."""

    question: str
    choice: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class AnsweredTask:
    """A task as a rater answered it. ``what`` is "pair", "training" or the kind of a check.

    ``left`` and ``right`` say what was shown, "" where no clip was. ``instructed`` is the side asked for, or "".
    """

    number: int
    what: str
    text: str
    instructed: str
    left: str
    right: str
    said: tuple[Said, ...]
    passed: bool | None
    state: str
    flags: tuple[str, ...]
    comment: str
    received: float
    took: float
    active: float
    plays_left: int
    plays_right: int
    device: Mapping[str, object]


@dataclass(frozen=True)
class Noted:
    """Something that happened: ``what`` are its details."""

    kind: str
    at: float
    what: Mapping[str, object]


@dataclass(frozen=True)
class RaterSheet:
    """One rater in full: figures, tasks in order, browser's events by kind, and what was done about the rater."""

    rater: RaterProgress
    tasks: tuple[AnsweredTask, ...]
    events: Mapping[str, int]
    history: tuple[Noted, ...]
