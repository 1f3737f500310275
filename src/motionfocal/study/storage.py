"""Judgements on disk: one JSON line each, safe from the moment that ``add`` returns."""

from pathlib import Path

from motionfocal.errors import DamagedFileError
from motionfocal.jsonl import append_jsonl, read_jsonl, rewrite_jsonl
from motionfocal.study.protocol import OVERALL, Judgement


class JudgementStore:
    """An append-only JSONL file of judgements; the first counts that a rater gave to a question about a comparison.

    The two orders of a comparison's clips, told apart by the model on the left, are judged one by one.

    One process writes at a time. A last line that a killed process left half written was never acknowledged:
    it is left out, and overwritten by the next judgement.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the file, if there is one. Raises DamagedFileError, with file and line, for a bad line."""
        self.path = Path(path)
        self._stored: dict[tuple[str, str, str, str], Judgement] = {}
        self._first: dict[tuple[str, str, str], Judgement] = {}
        self._writing = False
        for number, row in enumerate(read_jsonl(self.path), 1):
            try:
                judgement = Judgement.from_json(row)
            except DamagedFileError as error:
                raise DamagedFileError(f"{self.path}, line {number}: {error}; mend or delete the line") from error
            self._keep(judgement)

    def __len__(self) -> int:
        return len(self._stored)

    def judgements(self) -> list[Judgement]:
        """All judgements, in the order in which they were given."""
        return list(self._stored.values())

    def get(self, comparison: str, rater: str, question: str = OVERALL, left: str | None = None) -> Judgement | None:
        """What ``rater`` said about the comparison with this id, if anything yet.

        It is about the clips with the model ``left`` on the left, or about those of the first order if that is None.
        """
        if left is None:
            return self._first.get((comparison, rater, question))
        return self._stored.get((comparison, rater, question, left))

    def add(self, judgement: Judgement) -> Judgement:
        """Store a judgement and return it, or the one that the rater gave before; then it is on disk."""
        stored = self.get(judgement.comparison, judgement.rater, judgement.question, judgement.left_model)
        if stored is not None:
            return stored
        if not self._writing:
            self._start_writing()
        append_jsonl(self.path, judgement.to_json())
        self._keep(judgement)
        return judgement

    def _keep(self, judgement: Judgement) -> None:
        key = (judgement.comparison, judgement.rater, judgement.question)
        self._first.setdefault(key, judgement)
        self._stored.setdefault((*key, judgement.left_model), judgement)

    def _start_writing(self) -> None:
        """Make the file end with a whole line. Only a writer does: one who reads must not touch the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rewrite_jsonl(self.path, (judgement.to_json() for judgement in self.judgements()))
        self._writing = True
