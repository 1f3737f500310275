"""Every error that MotionFocal raises on purpose: its text names what was wrong and what to do about it."""


class MotionFocalError(Exception):
    """Base of all errors of this package; the command line prints its text without a traceback."""


class MediaError(MotionFocalError):
    """A video or an image cannot be read, decoded or written. The text begins with the file's path."""


class ShapeError(MotionFocalError, ValueError):
    """Two arrays do not fit together, or one has the wrong rank. The text holds the shapes concerned."""


class ConfigError(MotionFocalError, ValueError):
    """A setting is unknown, out of range, or would have no effect. The text names the key."""


class UnknownNameError(MotionFocalError, KeyError):
    """A name (of an estimator, a model family, ...) is not registered. The text lists the names that are."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        """``kind`` is what was looked up ("flow estimator"), ``known`` the names that exist."""
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"unknown {kind} {name!r}; known: {', '.join(self.known) or 'none'}")

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[type["UnknownNameError"], tuple[str, str, list[str]]]:
        return UnknownNameError, (self.kind, self.name, self.known)


class ManifestError(MotionFocalError):
    """A list of clips or prompts is missing a column, a file or a text. The text names the row."""


class CheckpointError(MotionFocalError):
    """A run folder or a checkpoint is missing, damaged, or was made with other settings."""


class GalleryError(MotionFocalError):
    """A gallery lacks a clip, or two galleries do not hold the same items."""


class GenerationError(MotionFocalError):
    """A model animates nothing."""


class DamagedFileError(MotionFocalError):
    """A file of our own making cannot be read back. The text names the file and the line."""


class TrainingError(MotionFocalError):
    """Training cannot go on. The text names the step."""


class UnavailableError(MotionFocalError):
    """Something optional is not on this machine: an extra, or weights. The text says how to get it."""


class AnswerError(MotionFocalError):
    """A model that was asked about a clip gave no usable answer. The text names the clip, the text and the server."""


class StudyError(MotionFocalError):
    """A study cannot be made, opened or changed as asked. The text names what was wrong and what to do."""


class RefusedError(StudyError):
    """A study refuses what a browser sent: forged, stale, out of turn or malformed. The text says which.

    ``status`` is the HTTP status that says it: 403 not allowed, 404 not there, 409 answered otherwise, 422 malformed.
    """

    def __init__(self, text: str, status: int = 403) -> None:
        super().__init__(text)
        self.status = status
