"""From votes to an analysis: every fault is named by its row, nothing is lost on the way, Figure 4 comes out."""

import csv
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from motionfocal.errors import ConfigError, ManifestError, UnknownNameError
from motionfocal.intervals import holm
from motionfocal.study.analysis.analyze import analyze, write_analysis
from motionfocal.study.analysis.export import (
    CHECK_COLUMNS,
    VOTE_COLUMNS,
    CheckRow,
    VoteRow,
    write_checks,
    write_codebook,
    write_votes,
)
from motionfocal.study.analysis.methods import methods_paragraph
from motionfocal.study.analysis.votes import comparison_id, guarded, read_votes, unguarded
from motionfocal.study.design import StudyDesign
from motionfocal.study.protocol import REASONS, Judgement

from .analysis_file import read_analysis
from .paper_votes import FIGURE_4, MODEL, paper_votes

GOOD = {
    "item": "i1",
    "image": "p1",
    "model_left": "a",
    "model_right": "b",
    "rater": "r1",
    "choice": "left",
    "reasons": "object motion;text alignment",
}


def written(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def only_columns(path):
    path.write_text(",".join(GOOD) + "\n")
    return path


def vote(item=1, rater="r1", left="a", right="b", preference="left", reasons=(), kind="person", question="overall"):
    return Judgement(
        comparison=comparison_id(f"i{item}", left, right),
        item=f"i{item}",
        image=f"p{item // 2}",
        left_model=left,
        right_model=right,
        rater=rater,
        preference=preference,
        reasons=reasons,
        kind=kind,
        question=question,
    )


def both_orders(item, rater="m", preferred="a", flips=False, kind="metric"):
    """A machine's two answers on an item."""
    first = "left" if preferred == "a" else "right"
    second = {"left": "right", "right": "left"}[first]
    return [
        vote(item, rater, "a", "b", first, kind=kind),
        vote(item, rater, "b", "a", first if flips else second, kind=kind),
    ]


def test_a_row_becomes_a_judgement(tmp_path):
    (judgement,) = read_votes(written(tmp_path / "votes.csv", [GOOD | {"note": "is ignored"}]))
    assert judgement == Judgement(
        comparison=comparison_id("i1", "a", "b"),
        item="i1",
        image="p1",
        left_model="a",
        right_model="b",
        rater="r1",
        preference="left",
        reasons=("object motion", "text alignment"),
        question="overall",
        kind="person",
    )


def test_question_and_kind_are_read_where_they_are_given(tmp_path):
    row = GOOD | {"question": "quality", "kind": "metric", "choice": "tie", "reasons": ""}
    (judgement,) = read_votes(written(tmp_path / "votes.csv", [row]))
    assert (judgement.question, judgement.kind, judgement.preferred, judgement.reasons) == (
        "quality",
        "metric",
        None,
        (),
    )


def test_a_comparison_is_the_same_for_both_orders_and_for_nothing_else():
    assert comparison_id("i", "a", "b") == comparison_id("i", "b", "a")
    ids = {comparison_id(*names) for names in (("i", "a", "b"), ("i", "a", "c"), ("j", "a", "b"), ("i a", "b", "c"))}
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"choice": "Links"}, "choice 'Links'; known: left, right, tie"),
        ({"kind": "robot"}, "kind 'robot'"),
        ({"model_right": "a"}, "a stands on both sides"),
        ({"rater": " "}, "rater: empty"),
        ({"image": ""}, "image: empty"),
        ({"choice": "tie"}, "a tie has none"),
        ({"reasons": "motion; motion"}, "each counts once"),
        ({"item": "i1", "image": "p2"}, "item i1 has image p2, and p1 before"),
        ({"kind": "oracle", "item": "i3"}, "rater r1 is of kind oracle, and person before"),
        ({"item": "i1"}, "r1 votes again on overall of item i1"),
        ({"item": "i1", "model_left": "b", "model_right": "a"}, "r1 votes again"),
    ],
)
def test_a_fault_is_named_by_its_row(tmp_path, second, told):
    path = written(tmp_path / "votes.csv", [GOOD, GOOD | {"item": "i2"} | second])
    with pytest.raises(ManifestError) as caught:
        read_votes(path)
    assert str(caught.value).startswith(f"{path}, row 2: ")
    assert told in str(caught.value)


@pytest.mark.parametrize("column", GOOD)
def test_a_missing_column_is_named(tmp_path, column):
    rows = [{key: value for key, value in GOOD.items() if key != column}]
    with pytest.raises(ManifestError, match=f"row 1: no column {column}"):
        read_votes(written(tmp_path / "votes.csv", rows))
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(map(json.dumps, [GOOD, *rows])))
    with pytest.raises(ManifestError, match=f"row 2: no column {column}"):
        read_votes(path)


def test_what_is_no_table_of_votes_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="no such file"):
        read_votes(tmp_path / "votes.csv")
    with pytest.raises(ManifestError, match="holds no vote"):
        read_votes(only_columns(tmp_path / "head.csv"))
    (tmp_path / "votes.xlsx").write_bytes(b"PK")
    with pytest.raises(ManifestError, match=r"\.csv, \.jsonl or \.parquet"):
        read_votes(tmp_path / "votes.xlsx")
    (tmp_path / "votes.parquet").write_bytes(b"PAR?")
    with pytest.raises(ManifestError, match="not Parquet"):
        read_votes(tmp_path / "votes.parquet")


def test_a_machine_votes_on_both_orders_but_not_twice_on_one(tmp_path):
    rows = [GOOD | {"kind": "metric"}, GOOD | {"kind": "metric", "model_left": "b", "model_right": "a"}]
    assert len(read_votes(written(tmp_path / "votes.csv", rows))) == 2
    with pytest.raises(ManifestError, match="row 3: r1 votes again"):
        read_votes(written(tmp_path / "votes.csv", [*rows, rows[0]]))


@given(st.text())
def test_what_is_guarded_is_no_formula_and_comes_back(text):
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in tuple("=+-@\t\r")


# What a name may be: anything that is not all space, without the separator and without line breaks or their like.
names = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters=";,") | st.sampled_from("=+-@' \""), min_size=1
).filter(lambda name: name == name.strip())


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(names, names, st.sampled_from(["left", "right", "tie"]), st.sets(names, max_size=3)), min_size=1
    ),
    st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]),
)
def test_all_three_files_are_read_back_as_they_were(tmp_path_factory, rows, models):
    folder = tmp_path_factory.mktemp("votes")
    judgements = [
        Judgement(
            comparison=comparison_id(item, *models),
            item=item,
            image=f"={item}",
            left_model=models[0],
            right_model=models[1],
            rater=f"{number}{rater}",
            preference=choice,
            reasons=() if choice == "tie" else tuple(sorted(reasons)),
            kind="person",
        )
        for number, (item, rater, choice, reasons) in enumerate(rows)
    ]
    write_votes(judgements, folder)
    for suffix in ("csv", "jsonl", "parquet"):
        assert read_votes(folder / f"votes.{suffix}") == judgements, suffix


def test_comments_are_no_formulas_in_csv_and_are_themselves_elsewhere(tmp_path):
    comments = ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=x", "fine", "two\nlines"]
    rows = [VoteRow(vote(n), comment=comment, took=-1.5, state="valid") for n, comment in enumerate(comments)]
    write_votes(rows, tmp_path)
    with (tmp_path / "votes.csv").open(newline="") as file:
        in_csv = list(csv.DictReader(file))
    assert [row["comment"] for row in in_csv] == [guarded(comment) for comment in comments]
    assert {row["comment"][0] for row in in_csv[:7]} == {"'"}
    assert in_csv[0]["took"] == "-1.5"  # a number is one, whatever its sign
    lines = [json.loads(line) for line in (tmp_path / "votes.jsonl").read_text().splitlines()]
    assert [line["comment"] for line in lines] == comments
    assert parquet.read_table(tmp_path / "votes.parquet").column("comment").to_pylist() == comments


def test_tables_begin_with_the_votes_and_hold_what_is_known(tmp_path):
    row = VoteRow(vote(), received=0.5, plays_left=0, flags=("too fast", "hidden"), state="valid", number=3)
    write_votes([row], tmp_path)
    (line,) = map(json.loads, (tmp_path / "votes.jsonl").read_text().splitlines())
    assert list(line)[:7] == ["item", "image", "model_left", "model_right", "rater", "choice", "reasons"]
    assert line["received"] == "1970-01-01T00:00:00.500+00:00"
    assert (line["flags"], line["plays_left"], line["number"]) == ("too fast;hidden", 0, 3)
    assert "comment" not in line and "impression" not in line


def test_checks_have_a_table_of_their_own(tmp_path):
    write_checks(
        [CheckRow("r1", "frozen", "i1", "left", "left", True), CheckRow("r1", "identical", "i2", "right")], tmp_path
    )
    table = parquet.read_table(tmp_path / "checks.parquet").to_pylist()
    assert [row["passed"] for row in table] == [True, None]
    assert (tmp_path / "checks.csv").read_text().splitlines()[1:] == [
        "r1,frozen,i1,left,left,true",
        "r1,identical,i2,right,,",
    ]


def test_the_codebook_has_every_column(tmp_path):
    write_codebook(tmp_path)
    book = json.loads((tmp_path / "codebook.json").read_text())
    assert [column["name"] for column in book["votes, left_out"]] == [column.name for column in VOTE_COLUMNS]
    assert [column["name"] for column in book["checks"]] == [column.name for column in CHECK_COLUMNS]
    text = (tmp_path / "codebook.md").read_text()
    assert all(f"| `{column.name}` |" in text for column in (*VOTE_COLUMNS, *CHECK_COLUMNS))


@pytest.fixture(scope="module")
def paper():
    return analyze(paper_votes(), "the paper", resamples=200)


def test_the_counts_of_figure_4_give_figure_4(paper):
    (table,) = paper.tables
    assert {row.baseline for row in table.rows} == set(FIGURE_4)
    for row in table.rows:
        score, *reasons = FIGURE_4[row.baseline]
        assert (row.model, row.items, row.images, row.votes, row.raters) == (MODEL, 320, 88, 1600, 40)
        shares = [(row.ti2v_score.estimate, 1 - row.ti2v_score.estimate)]
        shares += [(row.reasons[name].model.estimate, row.reasons[name].baseline.estimate) for name in REASONS]
        for told, found in zip((score, *reasons), shares, strict=True):
            assert [100 * share for share in found] == pytest.approx(told, abs=0.0501)
    assert round(100 * table.mean_score) == 72
    assert [row.p_holm for row in table.rows] == holm([row.p_value for row in table.rows])


def test_an_analysis_is_the_same_again_and_is_read_back(paper, tmp_path):
    again = analyze(paper_votes(), "the paper", resamples=200)
    write_analysis(paper, tmp_path / "a.json")
    write_analysis(again, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    write_analysis(read_analysis(tmp_path / "a.json"), tmp_path / "c.json")
    assert (tmp_path / "c.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    assert read_analysis(tmp_path / "a.json").tables[0].rows[0].ti2v_score == paper.tables[0].rows[0].ti2v_score


def test_not_a_number_is_null_and_comes_back_where_a_number_belongs(tmp_path):
    found = analyze([vote(1), vote(2, preference="right")], "one rater", resamples=20)
    assert found.tables[0].raters[0].agrees != found.tables[0].raters[0].agrees
    write_analysis(found, tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text())["tables"][0]
    assert data["agreement"]["percent"] == {"estimate": None, "low": None, "high": None, "level": 0.95}
    back = read_analysis(tmp_path / "a.json").tables[0]
    assert back.raters[0].agrees != back.raters[0].agrees
    assert back.consistency.same is None and back.flips is None


def test_people_machines_and_questions_stand_in_tables_of_their_own():
    people = [vote(n, f"r{k}", preference="left" if k else "right") for n in range(6) for k in range(3)]
    quality = [replace(judgement, question="quality") for judgement in people]
    machine = [answer for n in range(6) for answer in both_orders(n, flips=n == 0)]
    found = analyze([*machine, *people, *quality], "all", resamples=50)
    assert [(table.question, table.kind) for table in found.tables] == [
        ("overall", "person"),
        ("quality", "person"),
        ("overall", "metric"),
    ]
    alone = analyze([*people], "people", resamples=50)
    assert repr(found.tables[0]) == repr(alone.tables[0])  # NaN is not itself


def test_a_flip_is_an_abstention_and_its_side_is_told():
    people = [vote(n, f"r{k}") for n in range(8) for k in range(3)]
    machine = [answer for n in range(8) for answer in both_orders(n, preferred="ab"[n == 7], flips=n < 2)]
    found = analyze([*people, *machine], "all", resamples=50)
    table = found.tables[1]
    assert (table.abstained, table.flips.estimate, table.rows[0].items) == (2, 0.25, 6)
    assert (table.side.votes, table.side.left.estimate) == (16, (6 + 4) / 16)  # flips: left both times
    (beside,) = found.with_people
    assert (beside.rater, beside.items, beside.left_out, beside.same.estimate) == ("m", 6, 2, 5 / 6)


def test_a_machine_that_only_flips_has_an_empty_table():
    found = analyze([answer for n in range(4) for answer in both_orders(n, flips=True)], "flips", resamples=50)
    assert found.tables[0].rows == () and found.tables[0].flips.estimate == 1
    assert found.with_people == ()


def test_one_order_of_a_machine_and_no_votes_are_refused():
    with pytest.raises(ConfigError, match="each order"):
        analyze([vote(kind="metric")], "half")
    with pytest.raises(ConfigError, match="no votes"):
        analyze([], "none")
    with pytest.raises(UnknownNameError):
        analyze([vote()], "other", model="c")


def test_repeats_count_where_they_belong():
    people = [vote(n) for n in range(5)]
    again = [replace(one, left_model="b", right_model="a", preference="right") for one in people[:3]]
    again.append(replace(people[3], left_model="b", right_model="a"))
    found = analyze(people, "repeats", repeats=list(zip(people, again, strict=False)), resamples=20)
    assert (found.tables[0].consistency.repeats, found.tables[0].consistency.same.estimate) == (4, 0.75)


def test_the_methods_paragraph_has_the_facts_and_only_those(paper):
    design = StudyDesign(name="s", galleries=("a", "b"), votes=5)
    bare = methods_paragraph(paper)
    facts = ("40 people gave 14,400 votes", "320 items of 88 images", "clustered by image", "sign-flip tests", "Holm")
    for fact in (*facts, "kappa", "AC1", "seed 0"):
        assert fact in bare
    for unknown in ("training", "attention", "tie", "counterbalanced", "left out"):
        assert unknown not in bare
    full = methods_paragraph(replace(paper, excluded={"r77": "attention checks"}), design)
    for fact in (
        "2 of 3 training tasks",
        "10 % were attention checks (corrupted, instructed, repeat and identical)",
        "missed at least 2 checks of kind corrupted or instructed, and passed fewer than 60 % of these, were replaced",
        "320 x 320",
        "A tie was not offered",
        "1 rater ",
    ):
        assert fact in full
    few = methods_paragraph(paper, design.model_copy(update={"tasks": 10}))
    assert "10 % were attention checks (corrupted)." in few
    assert "replaced" not in few, "one check fails nobody"
