"""The tables of a study's database; times are seconds since 1970 on the server.

Nothing is deleted from them but what could lead to a rater who withdraws (``exclusion.forget``).

An *impression* is one showing of one comparison to one rater, sides and order recorded; a vote answers one impression.
"""

from typing import Literal

from sqlalchemy import JSON, Boolean, Float, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

RaterState = Literal["invited", "consented", "training", "working", "finished", "screened_out", "failed"]
"""In order: has arrived; has agreed; has read the instructions; has passed the training; has done all tasks; or was
turned away after training; or by the attention checks."""

ENDED: tuple[RaterState, ...] = ("finished", "screened_out", "failed")
"""States after which a rater has nothing to do."""

ImpressionKind = Literal["pair", "check", "training"]

ImpressionState = Literal["open", "answered", "surplus", "void", "expired"]
"""open: no answer yet. expired: its lease went to another rater. The others are its vote's: answered is valid."""

VoteState = Literal["valid", "surplus", "void"]
"""valid: counts. surplus: came after its lease had gone to another rater, who answered. void: its rater failed or is
excluded."""

STUDY_EVENTS = ("excluded", "included", "failed", "forgotten")
"""Kinds of events that tell what was done to a rater; no rater's browser may report one."""

REPEAT = "repeat:"
"""Before the pair in the target of a check that shows it again."""


class Record(DeclarativeBase):
    """Base of all tables."""


class StudyRecord(Record):
    """The study that this database belongs to, by the fingerprint of its plan."""

    __tablename__ = "study"
    id: Mapped[int] = mapped_column(primary_key=True)
    plan: Mapped[str] = mapped_column(String(64))


class RaterRecord(Record):
    """Someone who votes. ``key`` is the salted hash of a crowd's worker id, or an invitation's code.

    ``name`` is what exports call the rater and tells nothing ("r0007"). ``state`` is a RaterState; ``excluded`` is a
    reason, or "". Machine raters are kept elsewhere (raters.comparisons).
    """

    __tablename__ = "raters"
    __table_args__ = (UniqueConstraint("source", "key"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    source: Mapped[str] = mapped_column(String(16))  # link, mturk, prolific, simulated
    key: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(16), default="invited")
    seed: Mapped[int] = mapped_column(Integer)
    round: Mapped[int] = mapped_column(Integer, default=1)  # of training
    consent: Mapped[str] = mapped_column(String(40), default="")  # the version that was agreed to
    joined: Mapped[float] = mapped_column(Float)
    seen: Mapped[float] = mapped_column(Float)
    ended: Mapped[float | None] = mapped_column(Float, default=None)
    excluded: Mapped[str] = mapped_column(String(500), default="")
    session: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)  # the crowd's ids that the end of a task needs


class ImpressionRecord(Record):
    """One showing. ``target`` is the id of a pair, a check or a training example; ``left`` and ``right`` are clips.

    ``first_left`` tells whether the pair's first clip stands on the left, ``instructed`` the side that an instructed
    check asks for, ``lease`` when the task goes to others. A repeat's ``target`` is "repeat:" and the pair; ``repeats``
    is the impression that it shows again. ``state`` is an ImpressionState.
    """

    __tablename__ = "impressions"
    __table_args__ = (
        UniqueConstraint("rater_id", "target", "round"),
        Index("slots", "kind", "state", "target", "lease", "first_left"),
        Index("of_rater", "rater_id", "state"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(40), unique=True)
    rater_id: Mapped[int] = mapped_column(ForeignKey("raters.id"))
    kind: Mapped[str] = mapped_column(String(12))
    target: Mapped[str] = mapped_column(String(60))
    round: Mapped[int] = mapped_column(Integer, default=1)  # of training; 1 for all others
    number: Mapped[int] = mapped_column(Integer)  # 1 for a rater's first task
    left: Mapped[str] = mapped_column(String(60))
    right: Mapped[str] = mapped_column(String(60))
    first_left: Mapped[bool] = mapped_column(Boolean)
    instructed: Mapped[str] = mapped_column(String(8), default="")
    repeats: Mapped[int | None] = mapped_column(ForeignKey("impressions.id"), default=None)
    state: Mapped[str] = mapped_column(String(12), default="open")
    shown: Mapped[float] = mapped_column(Float)
    lease: Mapped[float] = mapped_column(Float)

    @property
    def subject(self) -> str:
        """The id of what is shown in the plan: ``target``, of a repeat the pair."""
        return self.target.removeprefix(REPEAT)


class VoteRecord(Record):
    """One answer, as the rater gave it.

    ``uid`` was drawn by the browser: the same vote sent twice is one vote. ``answers`` is a list of
    ``{"question", "choice", "reasons"}``; ``passed`` is the grade of a check or a training task; ``flags`` names what
    is odd, such as "too fast". Seconds and counts are the browser's, save ``received`` and ``took``.
    """

    __tablename__ = "votes"
    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(40), unique=True)
    impression_id: Mapped[int] = mapped_column(ForeignKey("impressions.id"), unique=True)
    rater_id: Mapped[int] = mapped_column(ForeignKey("raters.id"), index=True)
    state: Mapped[str] = mapped_column(String(8), default="valid")
    answers: Mapped[list[dict[str, object]]] = mapped_column(JSON)
    comment: Mapped[str] = mapped_column(String(2000), default="")
    passed: Mapped[bool | None] = mapped_column(Boolean, default=None)
    flags: Mapped[list[str]] = mapped_column(JSON, default=list)
    received: Mapped[float] = mapped_column(Float)
    took: Mapped[float] = mapped_column(Float)  # from the first showing to the receipt
    active: Mapped[float] = mapped_column(Float, default=0.0)  # while the page was visible
    plays_left: Mapped[int] = mapped_column(Integer, default=0)
    plays_right: Mapped[int] = mapped_column(Integer, default=0)
    device: Mapped[dict[str, object]] = mapped_column(JSON, default=dict)


class EventRecord(Record):
    """Something that happened: in a rater's browser ("hidden", "replay", "error"), or to the study ("excluded")."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    rater_id: Mapped[int | None] = mapped_column(ForeignKey("raters.id"), index=True, default=None)
    impression: Mapped[str] = mapped_column(String(40), default="")
    kind: Mapped[str] = mapped_column(String(40))
    at: Mapped[float] = mapped_column(Float)
    what: Mapped[dict[str, object]] = mapped_column(JSON, default=dict)


class InvitationRecord(Record):
    """A link for one rater. ``expires`` is None where it never does; one that is ``revoked`` was closed before."""

    __tablename__ = "invitations"
    code: Mapped[str] = mapped_column(String(40), primary_key=True)
    label: Mapped[str] = mapped_column(String(120), default="")
    created: Mapped[float] = mapped_column(Float)
    expires: Mapped[float | None] = mapped_column(Float, default=None)
    revoked: Mapped[bool] = mapped_column(Boolean, default=False)

    def is_open(self, now: float) -> bool:
        """Whether a rater can come by it."""
        return not self.revoked and (self.expires is None or self.expires > now)
