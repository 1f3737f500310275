"""Pages that the code writes: every command, every key of a config, every public name."""

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import motionfocal
from motionfocal.cli import app
from motionfocal.training.config import TrainingConfig


def pages() -> dict[str, str]:
    """All of them, by the name of their file."""
    return {"commands.md": commands(), "config.md": config_keys(), "api.md": api()}


def commands() -> str:
    """The page of all commands: what ``--help`` says."""
    intro = "# Commands\n\nWhat `motionfocal COMMAND --help` says, all on one page.\n"
    return intro + "\n".join(_of_group(typer.main.get_command(app), ["motionfocal"]))


def _of_group(group: Any, path: list[str]) -> Iterator[str]:  # noqa: ANN401 - typer brings a click of its own
    for name, command in group.commands.items():
        inner = [*path, name]
        yield from _of_group(command, inner) if hasattr(command, "commands") else [_of_command(command, inner)]


def _of_command(command: Any, path: list[str]) -> str:  # noqa: ANN401
    options = [param for param in command.params if param.param_type_name == "option"]
    arguments = {
        param.metavar or param.name.upper(): param for param in command.params if param.param_type_name == "argument"
    }
    usage = " ".join(part for part in (*path, "[OPTIONS]" if options else "", *arguments) if part)
    rows = [(f"`{name}`", param.help or "") for name, param in arguments.items()]
    rows += [(_flags(option), option.help or "") for option in options]
    text = re.sub(r"\[/?bold\]", "`", inspect.cleandoc(command.help or ""))
    return f"\n## {' '.join(path[1:])}\n\n```\n{usage}\n```\n\n{text}\n\n{_table(('takes', ''), rows)}"


def _flags(option: Any) -> str:  # noqa: ANN401
    flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
    default = option.default
    silent = default is None or isinstance(default, bool | list) or callable(default)
    said = "" if silent else f" (default: `{default}`)"
    form = f" `{option.metavar}`".replace("|", "\\|") if option.metavar else ""
    return flags + form + said


def config_keys() -> str:
    """The page of all keys of a training config."""
    intro = (
        "# Config keys\n\nEvery key of the file that `train`, `prepare` and `doctor` take, as `--set a.b=c` names it."
        " An unknown key is an error. `motionfocal train RECIPE --show` prints a resolved config.\n"
    )
    return intro + "\n".join(_of_settings("", TrainingConfig))


def _of_settings(prefix: str, settings: type[BaseModel], title: str = "The run") -> Iterator[str]:
    nested: list[tuple[str, str, type[BaseModel]]] = []
    rows = []
    for name, field in settings.model_fields.items():
        inner = _settings_in(field)
        nested += [(f"{prefix}{name}.", _title(name, inner, kind), kind) for kind in inner]
        if not inner:
            rows.append((f"`{prefix}{name}`", _values(field), _default(field), field.description or ""))
    told = inspect.cleandoc(settings.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    yield f"\n## {title}\n\n{told}\n\n{_table(('key', 'values', 'default', ''), rows)}"
    for inner_prefix, inner_title, kind in nested:
        yield from _of_settings(inner_prefix, kind, inner_title)


def _title(name: str, all_of_them: list[type[BaseModel]], one: type[BaseModel]) -> str:
    """``loss``; of several kinds, told apart by a key of one value: ``model, family wan``."""
    if len(all_of_them) == 1:
        return f"`{name}`"
    for key in ("family", "kind"):
        if key in one.model_fields:
            return f"`{name}`, {key}: {one.model_fields[key].default}"
    return f"`{name}`, {one.__name__}"


def _settings_in(field: FieldInfo) -> list[type[BaseModel]]:
    """The settings classes of a field: none of a plain value, several of a union."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return [kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, BaseModel)]


def _values(field: FieldInfo) -> str:
    text = inspect.formatannotation(field.annotation)
    text = re.sub(r"\b(typing|pathlib)\.", "", text)
    text = re.sub(r"Annotated\[(\w+), [^\]]*\]", r"\1", text)
    text = re.sub(r"Literal\[([^\]]*)\]", lambda found: found[1].replace(", ", " | "), text)
    bounds = [f"{sign} {getattr(one, key)}" for one in field.metadata for key, sign in _BOUNDS if hasattr(one, key)]
    return "`" + ", ".join([text.replace(" | ", " or "), *bounds]) + "`"


_BOUNDS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True) if not field.is_required() else PydanticUndefined
    return "" if value is PydanticUndefined else f"`{value}`"


def api() -> str:
    """The page of the public names and of the protocols that others implement."""
    doors = "\n".join(f"::: motionfocal.{name}" for name in motionfocal.__all__ if name != "__version__")
    protocols = "\n".join(f"::: {name}" for name in PROTOCOLS)
    return (
        "# Python\n\nThe stable names: `from motionfocal import ...`. They load neither diffusers nor transformers.\n\n"
        f"{doors}\n\n## Protocols\n\nWhat to implement to add something ([Extending](extending.md)).\n\n{protocols}\n"
    )


PROTOCOLS = (
    "motionfocal.motion.flow.FlowEstimator",
    "motionfocal.models.protocol.VideoModel",
    "motionfocal.generation.animator.Animator",
    "motionfocal.metrics.metric.Metric",
    "motionfocal.study.protocol.Rater",
)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(" ".join(str(cell).split()) for cell in line) + " |" for line in lines) + "\n"
