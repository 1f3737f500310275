"""The nouns of an analysis: what ``analyze`` finds, the page shows, and ``analysis.json`` holds.

Shares are in [0, 1], intervals at 95 %. A *table* holds the answers of one kind of rater to one question: people and
others never stand in one table. A *row* is a model against another one.
"""

from dataclasses import dataclass, field

from motionfocal.intervals import Interval
from motionfocal.study.protocol import Kind


@dataclass(frozen=True)
class ReasonShares:
    """A reason in the votes for the model, and in those for the baseline.

    ``model`` and ``baseline`` are shares of all votes (the columns of the paper's Figure 4); the ``by_majority`` ones
    are shares of all items: those that the side won, and most of its votes there gave the reason. ``alpha`` is
    Krippendorff's, of the raters of an item who chose a side, on whether the reason applies; NaN where all say the same
    of all items.
    """

    model: Interval
    baseline: Interval
    model_by_majority: float
    baseline_by_majority: float
    alpha: float


@dataclass(frozen=True)
class Agreement:
    """How far raters of the same items agree; each interval draws items. NaN where it is not defined.

    ``percent`` is the share of agreeing pairs of raters, ``fleiss`` kappa (Fleiss 1971), ``alpha`` Krippendorff's for
    nominal data with missing ratings, ``ac1`` Gwet's (2008), which holds where one model nearly always wins.
    ``splits`` counts items by their votes, the larger first: {"5-0": 120, "4-1": 90, "3-2": 110}.
    """

    percent: Interval
    fleiss: Interval
    alpha: Interval
    ac1: Interval
    splits: dict[str, int]


@dataclass(frozen=True)
class SideBias:
    """``left`` is the share of left among the votes that chose a side; ``p_value`` is of its being one half."""

    votes: int
    left: Interval
    p_value: float


@dataclass(frozen=True)
class Consistency:
    """Of the pairs that a rater saw twice with sides exchanged, the share in which the same clip was chosen."""

    repeats: int
    same: Interval | None


@dataclass(frozen=True)
class ComparisonRow:
    """A model against a baseline.

    ``ti2v_score`` is the paper's: the share of items whose majority prefers the model; an item without a majority
    counts one half, and the interval is clustered by image. ``ti2v_score_by_item`` is the same with Wilson's interval,
    which takes items for independent and is too narrow where they share images.
    ``vote_score`` is the share of votes, a tie counting one half, with a two-way (item x rater) interval;
    ``vote_score_naive`` is the same with Wilson's interval, which takes votes for independent and is too narrow.
    ``wins``, ``losses`` and ``ties`` count votes, ``tied_items`` the items without a majority.
    ``p_value`` tests that items are won as often as lost, exactly, over all signs of whole images; ``p_holm`` is
    adjusted for all rows of the table.
    """

    model: str
    baseline: str
    items: int
    images: int
    raters: int
    votes: int
    wins: int
    losses: int
    ties: int
    tied_items: int
    ti2v_score: Interval
    ti2v_score_by_item: Interval
    vote_score: Interval
    vote_score_naive: Interval
    p_value: float
    p_holm: float
    reasons: dict[str, ReasonShares]
    agreement: Agreement
    side: SideBias


@dataclass(frozen=True)
class Ranked:
    """A model's strength on the logit scale, the mean of all models being 0, with a cluster-robust interval."""

    model: str
    strength: Interval


@dataclass(frozen=True)
class Ranking:
    """Bradley-Terry over all models (Davidson's where ties are offered), with a term for the side.

    ``left`` is how much standing on the left adds, on the logit scale. ``tie`` is Davidson's nu, None without ties.
    ``connected`` tells whether a finite estimate exists (Ford 1957): not where a model, or a group of them, won or lost
    all; then ``models`` is empty. ``cycles`` counts the triples of models whose majorities go round in a circle.
    """

    models: tuple[Ranked, ...]
    left: Interval | None
    tie: Interval | None
    connected: bool
    cycles: int


@dataclass(frozen=True)
class RaterRow:
    """A rater: votes, share of left, agreement with the majority of the others on the same items (NaN if alone)."""

    rater: str
    votes: int
    left: float
    agrees: float
    ties: int


@dataclass(frozen=True)
class Table:
    """One question, one kind of rater. ``mean_score`` is the mean of the rows' TI2V scores, as the paper reports it.

    ``abstained`` counts answers of machine raters which changed with the order of the clips; they are left
    out of all other figures, and ``flips`` is their share.
    """

    question: str
    kind: Kind
    rows: tuple[ComparisonRow, ...]
    mean_score: float
    agreement: Agreement
    side: SideBias
    consistency: Consistency
    ranking: Ranking
    raters: tuple[RaterRow, ...]
    abstained: int = 0
    flips: Interval | None = None


@dataclass(frozen=True)
class AgreementWithPeople:
    """A rater that is no person against the majority of people, with Gwet's AC1.

    ``same`` is the share of items on which both prefer the same model; ``left_out`` counts ties and abstentions.
    """

    question: str
    kind: Kind
    rater: str
    items: int
    left_out: int
    same: Interval
    ac1: float


@dataclass(frozen=True)
class Analysis:
    """Everything. ``excluded`` maps raters whose votes were left out to the reasons; ``settings`` reproduces it."""

    name: str
    tables: tuple[Table, ...]
    with_people: tuple[AgreementWithPeople, ...] = ()
    excluded: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
