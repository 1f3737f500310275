"""The verbs of ``motionfocal study``, one after another, on a small study."""

import json
import re
import sqlite3
from contextlib import closing

import pytest
import yaml
from typer.testing import CliRunner

from motionfocal.benchmarks import load_benchmark
from motionfocal.cli.app import app
from motionfocal.errors import ConfigError, StudyError, UnavailableError

from .page_galleries import write_results
from .study_server import MODELS, small_design


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study that was created by its YAML, and in which made-up people have voted."""
    folder = tmp_path_factory.mktemp("cli")
    design = small_design(folder, tasks=12, pay={"hourly": 12, "currency": "EUR"})
    (folder / "design.yaml").write_text(yaml.safe_dump(design.model_dump(mode="json", exclude_none=True)))
    said = run("create", folder / "design.yaml", "--out", folder / "study")
    assert "6 items, 6 pairs, 2 votes each: 12 votes" in said
    return folder


def run(*words, code=0) -> str:
    result = CliRunner().invoke(app, ["study", *map(str, words)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def rehearsed(folder):
    said = run("simulate", folder / "study", "--out", folder / "sim", "--raters", 8, "--effect", 3, "--seed", 1)
    assert "came out: 12 of 12 votes" in said
    return folder / "sim"


def test_a_rehearsal_is_analyzed_apart_from_the_study(folder, rehearsed):
    found = json.loads((rehearsed / "analysis.json").read_text())
    (table,) = found["tables"]
    (row,) = table["rows"]
    assert (row["model"], row["baseline"]) == MODELS
    assert row["votes"] == 12
    assert "nobody voted" in found["name"]
    assert (rehearsed / "methods.txt").read_text().startswith("A rehearsal: ")
    assert table["side"] == row["side"]
    assert row["vote_score"]["estimate"] > 0.7
    assert not (folder / "study" / "study.sqlite").exists()
    with_sim = run("status", folder / "study", "--database", f"sqlite:///{rehearsed}/study.sqlite")
    assert "12 of 12" in with_sim
    agreement = table["agreement"]["percent"]["estimate"]
    assert f"two raters of a pair agree in {100 * agreement:.1f} %" in " ".join(with_sim.split())


def test_a_rehearsal_has_as_many_raters_as_its_study_needs(folder, tmp_path):
    said = run("simulate", folder / "study", "--out", tmp_path / "sim")
    assert "0 careless of 3" in said
    assert "came out: 12 of 12 votes" in said
    assert "Not enough raters" not in said


def test_the_same_rehearsal_gives_the_same_figures(folder, rehearsed, tmp_path):
    run("simulate", folder / "study", "--out", tmp_path / "sim", "--raters", 8, "--effect", 3, "--seed", 1)
    first, again = (json.loads((path / "analysis.json").read_text()) for path in (rehearsed, tmp_path / "sim"))
    assert first == again


def test_export_and_analysis_of_the_table_agree_with_the_study(folder, rehearsed, tmp_path):
    database = f"sqlite:///{rehearsed}/study.sqlite"
    assert "12 votes that count" in run("export", folder / "study", "--out", tmp_path, "--database", database)
    assert {"votes.csv", "votes.parquet", "votes.jsonl", "codebook.md", "study.json", "events.jsonl"} <= {
        path.name for path in tmp_path.iterdir()
    }
    run("analyze", tmp_path / "votes.csv", "--out", tmp_path / "again", "--model", MODELS[0])
    run("analyze", folder / "study", "--out", tmp_path / "direct", "--database", database)
    table, direct = (
        json.loads((tmp_path / name / "analysis.json").read_text())["tables"][0]["rows"] for name in ("again", "direct")
    )
    assert table == direct


def test_links_and_status(folder):
    links = run("invite", folder / "study", 3, "--public-url", "https://x.org/", "--label", "lab").split()
    assert len(set(links)) == 3
    assert all(re.fullmatch(r"https://x\.org/join/[\w-]{16}", link) for link in links)
    for_ever = run("invite", folder / "study", 1, "--days", 0).strip()
    with closing(sqlite3.connect(folder / "study" / "study.sqlite")) as database:
        query = "SELECT expires FROM invitations WHERE code = ?"
        assert database.execute(query, [for_ever.rsplit("/", 1)[1]]).fetchall() == [(None,)]
    said = run("status", folder / "study")
    assert "0 of 12" in said
    assert "do not stop on a good score" in said


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (["--mturk", "--days", 0], "--days: is for links"),
        (["--mturk", "--label", "lab", "--database", "sqlite:///x"], "--database, --label: is for links"),
        (["--production"], "--production: is for Mechanical Turk"),
        (["--batch", 1], "--batch: is for Mechanical Turk"),
    ],
)
def test_an_invitation_refuses_what_would_have_no_effect(folder, options, refused):
    words = ["study", "invite", folder / "study", 3, *options]
    error = CliRunner().invoke(app, list(map(str, words))).exception
    assert isinstance(error, ConfigError)
    assert refused in str(error)


@pytest.mark.parametrize(("verb", "more"), [("invite", [3, "--mturk"]), ("approve", [])])
@pytest.mark.parametrize("production", [False, True])
def test_mechanical_turk_is_the_sandbox_unless_production_is_asked_for(folder, monkeypatch, verb, more, production):
    asked = []

    def connect(*, sandbox):
        asked.append(sandbox)
        raise StudyError("far enough")

    monkeypatch.setattr("motionfocal.study.crowds.mturk.connect", connect)
    monkeypatch.setenv("MOTIONFOCAL_DATABASE", f"sqlite:///{folder}/of_all_verbs.sqlite")
    run(verb, folder / "study", *more, *(["--production"] if production else []), code=1)
    assert asked == [not production]


@pytest.mark.parametrize("production", [False, True])
def test_a_server_takes_the_sandbox_unless_production_is_asked_for(folder, tmp_path, monkeypatch, production):
    served = []

    class Server:
        def run(self):
            pass

    def server_of(app, settings, **where):
        served.append(settings.sandbox)
        return Server()

    monkeypatch.setattr("motionfocal.study.web.serving.server_of", server_of)
    run("serve", folder / "study", *(["--production"] if production else []))
    assert served == [not production]


def test_a_backup_holds_the_votes(folder, rehearsed, tmp_path):
    run("invite", folder / "study", 1)
    run("backup", folder / "study", "--out", tmp_path / "copy.sqlite")
    run("backup", folder / "study", "--out", tmp_path / "copy.sqlite", code=1)
    assert "0 of 12" in run("status", folder / "study", "--database", f"sqlite:///{tmp_path}/copy.sqlite")
    there, copy = rehearsed / "study.sqlite", tmp_path / "new folder" / "copy.sqlite"
    said = run("backup", folder / "study", "--out", copy, "--database", f"sqlite:///{there}")
    with closing(sqlite3.connect(there)) as database:
        (answers,) = database.execute("SELECT count(*) FROM votes").fetchone()
    assert f"copy.sqlite: {answers} answers" in " ".join(said.split())
    assert [path.name for path in copy.parent.iterdir()] == ["copy.sqlite"]
    assert "12 of 12" in run("status", folder / "study", "--database", f"sqlite:///{copy}")


def test_a_backup_of_what_is_no_sqlite_is_refused(folder, tmp_path, monkeypatch):
    run("invite", folder / "study", 1)
    monkeypatch.setenv("MOTIONFOCAL_DATABASE", "postgresql://study:secret@127.0.0.1:1/x")
    words = ["study", "backup", str(folder / "study"), "--out", str(tmp_path / "copy.sqlite")]
    refused = CliRunner().invoke(app, words).exception
    assert isinstance(refused, StudyError)
    assert "kept in PostgreSQL, which pg_dump copies" in str(refused)
    assert "secret" not in str(refused)
    monkeypatch.setenv("MOTIONFOCAL_DATABASE", f"sqlite:///{tmp_path}/diary")
    (tmp_path / "diary").write_text("dear diary, " * 200)
    refused = CliRunner().invoke(app, words).exception
    assert isinstance(refused, StudyError)
    assert "diary: cannot be copied to" in str(refused)
    assert [path.name for path in tmp_path.iterdir()] == ["diary"]


def test_forgetting_voids_the_votes(folder, tmp_path):
    run("simulate", folder / "study", "--out", tmp_path, "--raters", 8, "--seed", 2)
    database = f"sqlite:///{tmp_path}/study.sqlite"
    assert "forgotten" in run("forget", folder / "study", "r0001", "--database", database)
    run("analyze", folder / "study", "--out", tmp_path / "after", "--database", database)
    found = json.loads((tmp_path / "after" / "analysis.json").read_text())
    assert found["excluded"]["r0001"] == "withdrew"
    assert "r0001" not in {rater["rater"] for rater in found["tables"][0]["raters"]}
    run("forget", folder / "study", "nobody", "--database", database, code=1)


def test_a_metric_rates_in_both_orders_and_never_stands_with_people(folder, rehearsed, tmp_path):
    results = write_results(tmp_path / "results.json", load_benchmark(str(folder / "bench")), MODELS)
    study, database = folder / "study", f"sqlite:///{rehearsed}/study.sqlite"
    for _ in range(2):
        assert "12 judgements, both orders" in run("rate", study, "metric:gain", "--results", results)
    run("analyze", study, "--out", tmp_path / "out", "--database", database)
    found = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert [table["kind"] for table in found["tables"]] == ["person", "metric"]
    people, metric = found["tables"]
    assert "metric:gain" not in {rater["rater"] for rater in people["raters"]}
    assert metric["flips"]["estimate"] == 0
    assert metric["rows"][0]["ti2v_score"]["estimate"] == 0, "the second model has the higher value everywhere"
    assert [row["rater"] for row in found["with_people"]] == ["metric:gain"]


@pytest.mark.parametrize("rater", ["metric", "metric:gain", "beauty", "oracle", "vlm"])
def test_a_rater_that_cannot_be_is_refused(folder, rater):
    run("rate", folder / "study", rater, code=1)


@pytest.mark.parametrize(
    ("rater", "option"),
    [
        *(("oracle", option) for option in ("--results", "--url", "--model")),
        ("metric:gain", "--url"),
        ("vlm", "--results"),
    ],
)
def test_an_option_of_another_rater_is_refused(folder, rater, option):
    refused = CliRunner().invoke(app, ["study", "rate", str(folder / "study"), rater, option, "x"]).exception
    assert isinstance(refused, ConfigError)
    assert f"{option}: no setting of the rater" in str(refused)


def test_planning_says_what_shows():
    said = run("plan", "--items", 320, "--images", 88, "--baselines", 9, "--aim", 0.6, "--hourly", 12)
    assert "57.8 %" in said
    assert "14400 votes" in said.replace(",", "")


def test_a_password_is_set_and_a_short_one_refused(folder):
    run("password", folder / "study", "--password", "short", code=1)
    assert "new password" in run("password", folder / "study", "--password", "long enough for all")


def test_a_password_that_is_not_given_is_asked_for(folder):
    typed = "\n".join(["long enough for all", "mistyped", *["long enough for all"] * 2])
    result = CliRunner().invoke(app, ["study", "password", str(folder / "study")], input=typed)
    assert result.exit_code == 0, result.output
    assert "new password" in result.output
    assert "long enough" not in result.output


def test_what_is_no_study_is_said(tmp_path):
    for verb in (["status"], ["invite", 1], ["serve"]):
        run(verb[0], tmp_path, *verb[1:], code=1)
    run("analyze", tmp_path / "none.csv", "--out", tmp_path, code=1)


def test_without_its_libraries_a_study_says_what_to_install(monkeypatch):
    monkeypatch.setattr("motionfocal.cli.study_app.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["study", "plan"])
    assert isinstance(result.exception, UnavailableError)
    assert "motionfocal[study]" in str(result.exception)
