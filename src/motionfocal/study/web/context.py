"""What every page of a study needs: the study, its database, how it is served, and the time."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from motionfocal.settings import Settings
from motionfocal.study.fieldwork.database import Database
from motionfocal.study.plan import Study


class ServerSettings(Settings):
    """How a study is served.

    Rate limits are counted in the memory of one process: several processes each allow as much.
    """

    public_url: str = Field(
        "", description="Where raters reach the study, such as https://study.example.org; HTTPS unless it is a trial."
    )
    proxies: tuple[str, ...] = Field(
        (), description="Addresses of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."
    )
    token_hours: float = Field(72, gt=0, description="A rater's address works for so long; the invitation makes anew.")
    frame_ancestors: tuple[str, ...] = Field(
        (), description="Sites that may show the raters' pages in a frame, beside Mechanical Turk's if it is used."
    )
    sandbox: bool = Field(False, description="Let in workers of Mechanical Turk's sandbox as well, for a trial.")
    body_limit: int = Field(64 * 1024, gt=0, description="Bytes of a request, at most.")
    votes_per_minute: int = Field(60, gt=0, description="Of one rater; more are asked to wait.")
    events_per_minute: int = Field(240, gt=0, description="Reports that one rater's page may send.")
    entries_per_minute: int = Field(60, gt=0, description="Arrivals from a crowd, of one network address.")

    @field_validator("public_url")
    @classmethod
    def _is_an_origin(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query):
            raise ValueError(f"{url}: give scheme and host only, such as https://study.example.org")
        return url.rstrip("/")

    @property
    def https(self) -> bool:
        """Whether raters come by HTTPS: cookies are for it alone, and browsers are told to stay with it."""
        return self.public_url.startswith("https://")


@dataclass(frozen=True)
class Context:
    """What routes are made with; ``clock`` gives seconds since 1970."""

    study: Study
    database: Database
    settings: ServerSettings
    clock: Callable[[], float]
