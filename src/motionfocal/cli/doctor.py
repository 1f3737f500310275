"""``motionfocal doctor``: what works here, what is missing, and what to do about it."""

from collections.abc import Sequence

from rich.markup import escape

from motionfocal.cli.console import console
from motionfocal.doctor.extras import extras
from motionfocal.doctor.finding import Finding, State
from motionfocal.doctor.machine import facts, trials
from motionfocal.doctor.needs import needs
from motionfocal.doctor.weights import weights
from motionfocal.errors import ConfigError
from motionfocal.training.config import load_config, recipe

_MARKS: dict[State, str] = {"good": "[green]✓[/green]", "absent": "[yellow]-[/yellow]", "bad": "[red]✗[/red]"}


def run(configs: Sequence[str], overrides: Sequence[str]) -> None:
    """Print all findings; exit with 1 when one is bad. Raises ConfigError when there is nothing to override."""
    if overrides and not configs:
        raise ConfigError(f"--set {overrides[0]}: changes a config, and none is named; name one, as doctor clips does")
    examined = {config: load_config(recipe(config), overrides) for config in configs}
    found = _show("this machine", facts()) + _show("tried here", trials())
    if examined:
        for name, config in examined.items():
            found += _show(f"to train {name}", needs(config))
    else:
        found += _show("extras", extras()) + _show("weights and data sets", weights())
    if any(finding.state == "bad" for finding in found):
        raise SystemExit(1)


def _show(title: str, findings: list[Finding]) -> list[Finding]:
    """Print findings, each with what to do about it below, in lines that can be copied whole."""
    width = max(len(finding.name) for finding in findings)
    console.print(f"\n[bold]{title}[/bold]")
    for finding in findings:
        name, told = escape(f"{finding.name:{width}}"), escape(finding.told)
        console.print(f"{_MARKS[finding.state]} {name}  {told}", highlight=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"  {'':{width}}  [dim]{escape(finding.remedy)}[/dim]", highlight=False, soft_wrap=True)
    return findings
