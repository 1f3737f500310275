"""What all pages share, reports and a study's alike: one clock for clips (clock.js) and the colours (palette.css)."""

from importlib.resources import files


def resource(name: str) -> str:
    """The text of a file of this room: ``clock.js`` or ``palette.css``."""
    return files("motionfocal.pages").joinpath(name).read_text(encoding="utf-8")
