"""The addresses of raters: signed, good for one study, and for some days only. No cookies: crowds show us in frames."""

import hashlib
from collections.abc import Callable

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner, URLSafeTimedSerializer

from motionfocal.errors import RefusedError
from motionfocal.study.web.context import Context

_FORGED = "This address is not one of this study's. Open the link that you were given once more."
_EXPIRED = (
    "This address has expired. Open the link that you were given once more (or the study, on the crowd's site):"
    " you go on where you were, and all your answers are kept."
)


class RaterTokens:
    """Makes the token of a rater, and reads it back. A token of another study, or for another purpose, is forged."""

    def __init__(self, context: Context) -> None:
        """Bind the tokens to the study's key and plan."""
        self._lifetime = context.settings.token_hours * 3600
        self._serializer = serializer(context, "rater", context.study.plan.fingerprint())

    def of(self, rater: int) -> str:
        """A new token for the rater with this id; it can stand in an address."""
        return self._serializer.dumps(rater)

    def rater(self, token: str) -> int:
        """The id of a token's rater. Raises RefusedError (403) for a forged or an expired one: its text says which."""
        try:
            rater = self._serializer.loads(token, max_age=int(self._lifetime))
        except SignatureExpired as error:
            raise RefusedError(_EXPIRED) from error
        except BadSignature as error:
            raise RefusedError(_FORGED) from error
        if not isinstance(rater, int):
            raise RefusedError(_FORGED)
        return rater


def serializer(context: Context, purpose: str, bound: str) -> URLSafeTimedSerializer:
    """Signs values by the study's key, the time beside them; what is signed for one purpose is forged for another."""
    return URLSafeTimedSerializer(
        context.study.secrets.key,
        salt=f"motionfocal {purpose} {bound}",
        signer=_signer(context.clock),
        signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
    )


def _signer(clock: Callable[[], float]) -> type[TimestampSigner]:
    class Signer(TimestampSigner):
        """Takes the time from the study's clock."""

        def get_timestamp(self) -> int:
            return int(clock())

    return Signer
