"""A study's clips and pictures over HTTP: for whom they are, in ranges, and nothing else out of its folder."""

from importlib.metadata import version

import pytest

from motionfocal.study.fieldwork.records import ImpressionRecord

from .study_server import live_site, open_site, raw, small_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return small_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def site(study, tmp_path):
    with open_site(study, tmp_path / "votes.sqlite") as site:
        yield site


@pytest.fixture(scope="module")
def live(study, tmp_path_factory):
    with live_site(study, tmp_path_factory.mktemp("live")) as live:
        yield live


def test_guessed_ids_and_other_raters_clips_are_not_there(site):
    mine, theirs = site.at_work(), site.at_work()
    uid, foreign, plan = mine.task().uid, theirs.task().uid, site.study.plan
    assert site.client.get(f"{mine.base}/clips/{uid}/left.mp4").status_code == 200
    assert site.client.get(f"{mine.base}/pictures/{uid}").status_code == 200
    for guessed in (foreign, plan.clips[0].id, plan.pairs[0].id, plan.clips[0].file, "1", "0", "%00", "é", "x" * 99):
        assert site.client.get(f"{mine.base}/clips/{guessed}/left.mp4").status_code == 404
        assert site.client.get(f"{mine.base}/pictures/{guessed}").status_code == 404
    for side in ("middle", "Left", "left.mp4", "%00"):
        assert site.client.get(f"{mine.base}/clips/{uid}/{side}.mp4").status_code == 404
    for number in ("0", "-1", "3", "9" * 20, "9" * 5000, "x"):
        assert site.client.get(f"{mine.base}/examples/{number}/left.mp4").status_code == 404
        assert site.client.get(f"{mine.base}/examples/{number}/picture").status_code == 404


def test_no_path_leads_out_of_a_route(live):
    """Sent as bytes: a client would tidy such paths before it sends them."""
    site, visitor, http = live
    uid = visitor.task().uid
    secret = site.study.secrets.key.encode()
    for way in (
        "/../../secrets.json", "/..%2f..%2fsecrets.json", "/%2e%2e/%2e%2e/secrets.json", "/..%5c..%5csecrets.json",
        "//etc/passwd", "/%2fetc%2fpasswd", "/%252e%252e%252fsecrets.json",
    ):  # fmt: skip
        for start in (
            "/static",
            f"{visitor.base}/clips",
            f"{visitor.base}/clips/{uid}",
            f"{visitor.base}/pictures",
            "",
        ):
            answer = raw(http, f"GET {start}{way} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 404"), (start, way)
            assert secret not in answer and b"root:" not in answer


def test_a_player_gets_the_ranges_that_it_asks_for(live):
    """As Safari needs them: it plays nothing without 206."""
    site, visitor, http = live
    task = visitor.task()
    whole = site.study.path(site.study.plan.clip(task.left).file).read_bytes()
    address, size = f"{visitor.base}/clips/{task.uid}/left.mp4", len(whole)
    plain = http.get(address)
    assert (plain.status_code, plain.content, plain.headers["accept-ranges"]) == (200, whole, "bytes")
    for asked, start, end in (
        ("0-1", 0, 2), ("0-", 0, size), (f"{size - 5}-", size - 5, size), ("-7", size - 7, size),
        ("10-19", 10, 20), (f"0-{size + 99}", 0, size), (f"-{size + 99}", 0, size),
    ):  # fmt: skip
        part = http.get(address, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, whole[start:end]), asked
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert part.headers["content-length"] == str(end - start)
        assert part.headers["content-type"] == "video/mp4"
    beyond = http.get(address, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    same = http.get(address, headers={"Range": "bytes=0-1", "If-Range": plain.headers["etag"]})
    other = http.get(address, headers={"Range": "bytes=0-1", "If-Range": '"another"'})
    assert (same.status_code, other.status_code) == (206, 200)


def test_a_range_header_of_ten_thousand_parts_is_refused(live):
    _, visitor, http = live
    address = f"{visitor.base}/clips/{visitor.task().uid}/left.mp4"
    for asked in (",".join(["0-"] * 10_000), ",".join(["0-0"] * 10_000), "," * 10_000, "0-1," * 8):
        answer = http.get(address, headers={"Range": f"bytes={asked}"})
        assert (answer.status_code, len(answer.content) < 10_000) == (416, True)
    assert http.get(address, headers={"Range": "bytes=0-1, 4-5"}).status_code == 206


def test_starlette_is_one_that_caps_ranges():
    assert tuple(map(int, version("starlette").split(".")[:3])) >= (1, 5, 1)


def test_two_sides_with_the_same_clip_cannot_be_told_by_their_headers(site):
    """Nor when it was made; the tag, which all addresses have of their own, tells the address and nothing else."""
    visitor = site.at_work()
    task = visitor.task()
    with site.database.write() as session:
        session.get(ImpressionRecord, task.id).right = task.left
    left, right = (site.client.get(f"{visitor.base}/clips/{task.uid}/{side}.mp4").headers for side in ("left", "right"))
    assert {**left, "etag": ""} == {**right, "etag": ""}
    assert (left["etag"], right["etag"]) == (f'"{task.uid}-left"', f'"{task.uid}-right"')
    assert left["last-modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert left["cache-control"] == "private, max-age=3600"
    assert left["content-type"] == "video/mp4"
    assert left["x-content-type-options"] == "nosniff"
    assert "content-disposition" not in left
