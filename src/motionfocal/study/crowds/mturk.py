"""Mechanical Turk: a study is one HIT that shows our page in a frame, and each rater is one of its assignments.

One HIT and not many: MTurk lets a worker do a HIT once, so that nobody is paid for coming twice.
"""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from motionfocal.errors import RefusedError, StudyError, UnavailableError
from motionfocal.study.design import MTurk
from motionfocal.study.plan import Study

if TYPE_CHECKING:
    from botocore.client import BaseClient

NOT_ACCEPTED = "ASSIGNMENT_ID_NOT_AVAILABLE"
"""The assignment of a worker who only looks."""

FRAME_ANCESTORS = ("https://*.mturk.com",)
"""The sites that show a HIT in a frame."""

_SITE, _SANDBOX_SITE = "https://www.mturk.com", "https://workersandbox.mturk.com"
_SERVICE = "https://mturk-requester.us-east-1.amazonaws.com"
_SANDBOX_SERVICE = "https://mturk-requester-sandbox.us-east-1.amazonaws.com"
_APPROVAL_PERCENT, _APPROVED_HITS = "000000000000000000L0", "00000000000000000040"
_SCHEMA = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2006-07-14/ExternalQuestion.xsd"


def submit_hosts(sandbox: bool) -> tuple[str, ...]:
    """The sites that a worker's end may be sent to."""
    return (_SITE, _SANDBOX_SITE) if sandbox else (_SITE,)


def submit_address(turk_submit_to: str, *, sandbox: bool) -> str:
    """Where the end of an assignment is posted. Raises RefusedError (400) for a site that is not MTurk's."""
    site = turk_submit_to.rstrip("/")
    if site not in submit_hosts(sandbox):
        trial = " (or its sandbox, which this study does not take)" if site == _SANDBOX_SITE else ""
        raise RefusedError(f"turkSubmitTo is not Mechanical Turk{trial}. Open the task on its site.", 400)
    return f"{site}/mturk/externalSubmit"


def connect(*, sandbox: bool) -> "BaseClient":
    """MTurk's service, with the credentials that boto3 finds.

    Raises UnavailableError without boto3, StudyError when its configuration cannot be used.
    """
    try:
        import boto3
    except ModuleNotFoundError as error:
        raise UnavailableError("Mechanical Turk needs boto3; pip install 'motionfocal[mturk]'") from error
    service = _SANDBOX_SERVICE if sandbox else _SERVICE
    with _told("refused the connection"):
        return boto3.client("mturk", region_name="us-east-1", endpoint_url=service)


def external_question(url: str) -> str:
    """The XML that shows ``url`` in a frame as high as the worker's window. Raises StudyError unless it is HTTPS."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.netloc:
        raise StudyError(f"{url}: Mechanical Turk shows pages by HTTPS only; give the study's public address")
    return (
        f'<ExternalQuestion xmlns="{_SCHEMA}">'
        f"<ExternalURL>{escape(url)}</ExternalURL><FrameHeight>0</FrameHeight></ExternalQuestion>"
    )


def qualifications(terms: MTurk) -> list[dict[str, object]]:
    """What a worker must have to see the HIT at all."""
    numbers = ((_APPROVAL_PERCENT, terms.approval_percent), (_APPROVED_HITS, terms.approved_hits))
    asked: list[dict[str, object]] = [
        {"QualificationTypeId": id_, "Comparator": "GreaterThanOrEqualTo", "IntegerValues": [least]}
        for id_, least in numbers
        if least > 0
    ]
    asked += [{"QualificationTypeId": id_, "Comparator": "Exists"} for id_ in terms.qualifications]
    return [{**each, "ActionsGuarded": "DiscoverPreviewAndAccept"} for each in asked]


@dataclass(frozen=True)
class Hit:
    """A HIT of a study: assignments wanted, out, waiting for approval, and done. ``batch`` is 1 for the first."""

    id: str
    batch: int
    status: str
    wanted: int
    out: int
    available: int
    completed: int


def post(client: "BaseClient", study: Study, public_url: str, raters: int, *, batch: int = 1) -> Hit:
    """Put up a HIT for so many raters, and return it; a batch that is there already is not put up again.

    Raises:
        StudyError: the design has no ``mturk``, the address is not HTTPS, or MTurk refuses or cannot be asked; the
            text says why.
    """
    terms = _terms(study)
    token = _annotation(study, batch)
    there = [hit for hit in hits(client, study) if hit.batch == batch]
    if there:
        return there[0]
    with _told("refused the HIT"):
        made = client.create_hit(
            Title=terms.title,
            Description=terms.description,
            Keywords=terms.keywords,
            Reward=terms.reward,
            MaxAssignments=raters,
            AssignmentDurationInSeconds=60 * terms.minutes,
            LifetimeInSeconds=86_400 * terms.days,
            Question=external_question(f"{public_url.rstrip('/')}/mturk"),
            QualificationRequirements=qualifications(terms),
            RequesterAnnotation=token,
            # Sent again after a broken connection, it is refused: a HIT costs money.
            UniqueRequestToken=hashlib.sha256(token.encode()).hexdigest(),
        )
    return _hit(made["HIT"])


def hits(client: "BaseClient", study: Study) -> list[Hit]:
    """The study's HITs, the first batch first. Raises StudyError when MTurk refuses, or cannot be asked."""
    prefix = _annotation(study, None)
    with _told("did not list the HITs"):
        pages = list(client.get_paginator("list_hits").paginate())
    ours = [hit for page in pages for hit in page["HITs"] if hit.get("RequesterAnnotation", "").startswith(prefix)]
    return sorted(map(_hit, ours), key=lambda hit: hit.batch)


def approve(client: "BaseClient", hit: Hit, assignments: Collection[str]) -> tuple[list[str], list[str]]:
    """Pay those of ``assignments`` that wait for it. Returns the ids paid, and those that wait for a decision.

    Raises StudyError when MTurk refuses, or cannot be asked; what was paid before stays paid, and is not paid again.
    """
    with _told("refused to approve"):
        pages = client.get_paginator("list_assignments_for_hit").paginate(
            HITId=hit.id, AssignmentStatuses=["Submitted"]
        )
        waiting = [each["AssignmentId"] for page in pages for each in page["Assignments"]]
        paid = [id_ for id_ in waiting if id_ in assignments]
        for id_ in paid:
            client.approve_assignment(AssignmentId=id_)
    return paid, [id_ for id_ in waiting if id_ not in assignments]


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What the service says, or why it cannot be asked, as a StudyError that says what to do."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise StudyError(f"Mechanical Turk {what}: {error}") from error
    except BotoCoreError as error:
        advice = "check the network, and the credentials: 'aws configure' sets them"
        raise StudyError(f"Mechanical Turk cannot be asked: {error}; {advice}") from error


def _terms(study: Study) -> MTurk:
    if study.design.mturk is None:
        raise StudyError(f"{study.folder}: the design has no 'mturk'; its reward must be said there")
    return study.design.mturk


def _annotation(study: Study, batch: int | None) -> str:
    """What only the requester sees of a HIT, and tells it as ours."""
    return f"motionfocal {study.plan.fingerprint()} {'' if batch is None else batch}"


def _hit(told: dict[str, object]) -> Hit:
    def count(name: str) -> int:
        return int(str(told.get(name, 0)))

    wanted, available = count("MaxAssignments"), count("NumberOfAssignmentsAvailable")
    return Hit(
        id=str(told["HITId"]),
        batch=int(str(told["RequesterAnnotation"]).rsplit(" ", 1)[1]),
        status=str(told["HITStatus"]),
        wanted=wanted,
        out=count("NumberOfAssignmentsPending"),
        available=available,
        completed=count("NumberOfAssignmentsCompleted"),
    )
