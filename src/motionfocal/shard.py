"""A machine's share of a list: many machines do one job into one folder."""

import hashlib
from dataclasses import dataclass

from motionfocal.errors import ConfigError


@dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count``, from 1 on: one machine's share of clips or items."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ConfigError(f"shard {self.index}/{self.count}: shards run from 1/{self.count} to the last")

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    def holds(self, id: str) -> bool:  # noqa: A002 - the field's name
        """Whether a clip or an item, by its id, is in this part; the same on every machine."""
        return int(hashlib.sha256(id.encode()).hexdigest(), 16) % self.count == self.index - 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """``I/N`` as a shard, I from 1 to N. Raises ConfigError."""
        index, slash, count = text.partition("/")
        if not slash or not index.isdecimal() or not count.isdecimal():
            raise ConfigError(f"--shard {text}: expected I/N, such as 1/4 on the first of four machines")
        return cls(int(index), int(count))


WHOLE = Shard()
