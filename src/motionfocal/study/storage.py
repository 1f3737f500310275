"""Judgements on disk: one JSON line each, safe from the moment that ``add`` returns."""

from pathlib import Path

from motionfocal.errors import DamagedFileError
from motionfocal.jsonl import append_jsonl, read_jsonl, rewrite_jsonl
from motionfocal.study.protocol import Judgement


class JudgementStore:
    """An append-only JSONL file of judgements; of one comparison by one rater the first counts.

    One process writes at a time. A last line that a killed process left half written was never acknowledged:
    it is left out, and overwritten by the next judgement.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the file, if there is one. Raises DamagedFileError, with file and line, for a bad line."""
        self.path = Path(path)
        self._stored: dict[tuple[str, str], Judgement] = {}
        self._writing = False
        for number, row in enumerate(read_jsonl(self.path), 1):
            try:
                judgement = Judgement.from_json(row)
            except DamagedFileError as error:
                raise DamagedFileError(f"{self.path}, line {number}: {error}; mend or delete the line") from error
            self._stored.setdefault((judgement.comparison, judgement.rater), judgement)

    def __len__(self) -> int:
        return len(self._stored)

    def judgements(self) -> list[Judgement]:
        """All judgements, in the order in which they were given."""
        return list(self._stored.values())

    def get(self, comparison: str, rater: str) -> Judgement | None:
        """What ``rater`` said about the comparison with this id, if anything yet."""
        return self._stored.get((comparison, rater))

    def add(self, judgement: Judgement) -> Judgement:
        """Store a judgement and return it, or the one that the rater gave before; then it is on disk."""
        stored = self.get(judgement.comparison, judgement.rater)
        if stored is not None:
            return stored
        if not self._writing:
            self._start_writing()
        append_jsonl(self.path, judgement.to_json())
        self._stored[judgement.comparison, judgement.rater] = judgement
        return judgement

    def _start_writing(self) -> None:
        """Make the file end with a whole line. Only a writer does: one who reads must not touch the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rewrite_jsonl(self.path, (judgement.to_json() for judgement in self.judgements()))
        self._writing = True
