"""Which extras are installed, by what the package itself says of them."""

from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from motionfocal.doctor.finding import Finding

USES = {
    "study": "human studies: the site, its analysis",
    "postgres": "studies in PostgreSQL, for many raters at once",
    "mturk": "studies by Mechanical Turk",
    "ray": "--engine ray: clusters",
    "videocrafter": "VideoCrafter2, VideoCrafter1, DynamiCrafter",
    "vbench": "metrics with networks: VBench-I2V, AnimateBench, siblings",
}
"""What each extra is for; ``dev`` is for those who change MotionFocal."""


def extras() -> list[Finding]:
    """Each extra: whether all that it asks for is here, and of a fitting version."""
    listed = _requirements()
    if not listed:
        told = "unknown: this copy of the package does not say what it requires"
        return [Finding("extras", "absent", told, "pip install --force-reinstall motionfocal")]
    return [_examined(extra, listed) for extra in USES]


def _requirements() -> list[Requirement]:
    """All that the package asks for, with or without extras; empty where it was not installed, or only in part."""
    try:
        return [Requirement(text) for text in requires("motionfocal") or []]
    except PackageNotFoundError:
        return []


def _examined(extra: str, listed: list[Requirement]) -> Finding:
    added = [one for one in listed if one.marker and one.marker.evaluate({"extra": extra})]
    wrong = [said for requirement in added if (said := _complaint(requirement))]
    if not wrong:
        return Finding(extra, "good", USES[extra])
    return Finding(extra, "absent", f"{USES[extra]}; lacks {', '.join(wrong)}", f"pip install 'motionfocal[{extra}]'")


def _complaint(requirement: Requirement) -> str:
    """What is wrong with an installed distribution; empty when it is as required."""
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return requirement.name
    fits = requirement.specifier.contains(found, prereleases=True)
    return "" if fits else f"{requirement.name}{requirement.specifier} (here: {found})"
