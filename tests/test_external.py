"""Baselines that run as programs of their own, against stand-ins that behave as the official ones document."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from motionfocal.benchmarks import BenchmarkItem
from motionfocal.errors import ConfigError, UnavailableError, UnknownNameError
from motionfocal.generation.animator import Failed, Made
from motionfocal.generation.external import EXTERNAL, external_settings, open_external
from motionfocal.generation.external.process import child_environment, last_lines, running
from motionfocal.generation.external.seine import _head
from motionfocal.generation.external.texts import name_refusal, omegaconf_refusal, one_line, quoted, refusal
from motionfocal.generation.external.ti2v_zero import edited

from . import warm
from .checkouts import make_checkout
from .stand_ins.paint import checksum

PYTHON = Path(sys.executable)
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200), "grey": (120, 120, 120)}
SEEDS = {"cinemo", "seine", "cond-leak", "animate-anything", "consisti2v"}
BIG = 0xABCDEF123456  # as long as the seeds of galleries are: 48 bits

TEXTS = [
    "a car",
    "a car",  # again, of another picture
    'she says "go", then: 1/2 a turn, [left] - a, b: c = d',
    "it's\nraining,\n\n  cats & dogs; $HOME %s {x} # no",
    "ein Bär läuft über die Straße, 猫が走る 🐈",
    "no",
]
LONG = "the same beginning of a very long text about a car that drives " * 8
"""508 bytes, more than a file's name may have."""


def write_picture(folder, name, colour="red", mode="RGB", size=(40, 30)):
    path = folder / name
    Image.new(mode, size, COLOURS[colour]).save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    names = ["a.b.c.png", "b.jpeg", ".hidden.v1.0.png", "gif samples.png"]
    (tmp_path / "pictures").mkdir()
    return [write_picture(tmp_path / "pictures", name, colour) for name, colour in zip(names, COLOURS, strict=True)]


def items_of(texts, pictures):
    colours = list(COLOURS)
    return [
        BenchmarkItem(f"{i}-{colours[i % 4]}", colours[i % 4], pictures[i % 4], text) for i, text in enumerate(texts)
    ]


def cells_of(clip):
    image = clip.frames[len(clip.frames) // 2].astype(float)
    cells = image[:, 64:].reshape(8, 8, 8, 8, 3).mean((1, 3, 4)) > 127
    words = cells.reshape(2, 32) @ (1 << np.arange(32, dtype=np.int64))
    return image[:, 8:56].mean((0, 1)), words.tolist()


def require_its_own(result, item, name):
    """The clip shows its item's picture, text and seed."""
    assert isinstance(result, Made), result.reason
    clip = result.clip
    assert clip.frames.shape == (16, 64, 128, 3)
    assert clip.fps == 8
    colour, (text, seed) = cells_of(clip)
    assert np.abs(colour - COLOURS[item.image]).max() < 15, f"{item.id} got the picture of another"
    assert text == checksum(" ".join(item.text.split())), f"{item.id} got the text of another"
    if result.seed is None:
        return
    shown = f"{result.seed} of strength 5" if name == "animate-anything" else result.seed
    assert seed == checksum(shown)


def opened(name, folder, work=None, **options):
    return open_external(name, make_checkout(name, folder / "checkout"), PYTHON, options, work=work)


def animated(animator, items, seeds=None):
    seeds = seeds or [BIG + 10 * i for i in range(len(items))]
    return {result.id: result for result in animator.animate(items, seeds)}


def files_in(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.mark.parametrize("name", EXTERNAL)
def test_every_item_gets_its_own_clip(name, tmp_path, pictures):
    animator = opened(name, tmp_path)
    before = files_in(tmp_path / "checkout")
    items = items_of(TEXTS, pictures)
    results = animated(animator, items)
    assert set(results) == {item.id for item in items}
    for item in items:
        require_its_own(results[item.id], item, name)
        assert (results[item.id].seed is not None) == (name in SEEDS)
    left = {path for path in files_in(tmp_path / "checkout") - before if path.name not in ("made.txt", "demo")}
    assert not left, "the checkout is as it was"


@pytest.mark.parametrize("name", ["cinemo", "cond-leak"])
def test_several_items_a_run_have_no_seed_of_their_own(name, tmp_path, pictures):
    items = items_of(TEXTS, pictures)
    results = animated(opened(name, tmp_path, items_per_run=5), items)
    for item in items:
        require_its_own(results[item.id], item, name)
        assert results[item.id].seed is None


@pytest.mark.parametrize("name", EXTERNAL)
def test_long_texts(name, tmp_path, pictures):
    result = animated(opened(name, tmp_path), items_of([LONG], pictures))["0-red"]
    if name in ("cinemo", "ti2v-zero"):
        assert isinstance(result, Failed)
        assert "names its file after the text" in result.reason
    else:
        require_its_own(result, items_of([LONG], pictures)[0], name)


@pytest.mark.parametrize("name", EXTERNAL)
def test_an_error_halfway_loses_nothing(name, tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAULT", "die:the third")
    animator = opened(name, tmp_path)
    items = items_of(["the first", "the third", "the fourth"], pictures)
    results = animated(animator, items)
    whole_list = name == "consisti2v"
    for item in items[: 1 if whole_list else 3]:
        if item.text != "the third":
            require_its_own(results[item.id], item, name)
    assert "exit code 3" in results["1-green"].reason
    assert "CUDA out of memory for the third" in results["1-green"].reason
    failed = [item for item in items if isinstance(results[item.id], Failed)]
    assert len(failed) == (2 if whole_list else 1)

    monkeypatch.delenv("STAND_IN_FAULT")
    again = animated(animator, failed)
    assert set(again) == {item.id for item in failed}
    for item in failed:
        require_its_own(again[item.id], item, name)


@pytest.mark.parametrize("name", EXTERNAL)
def test_a_clip_that_never_comes(name, tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAULT", "skip:the second")
    items = items_of(["the first", "the second", "the third"], pictures)
    results = animated(opened(name, tmp_path), items)
    require_its_own(results["0-red"], items[0], name)
    require_its_own(results["2-blue"], items[2], name)
    assert "exit code 0" in results["1-green"].reason
    assert f"of {3 if name == 'consisti2v' else 1} clips" in results["1-green"].reason


def test_a_wrong_count_makes_pairs_by_order_doubtful(tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAULT", "skip:the second")
    items = items_of(["the first", "the second", "the third"], pictures)
    results = animated(opened("cond-leak", tmp_path, items_per_run=3), items)
    assert all(isinstance(result, Failed) and "2 of 3 clips" in result.reason for result in results.values())


def test_pairs_by_order_made_before_an_error_are_kept(tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAULT", "die:the second")
    items = items_of(["the first", "the second", "the third"], pictures)
    results = animated(opened("cond-leak", tmp_path, items_per_run=3), items)
    require_its_own(results["0-red"], items[0], "cond-leak")
    assert all("exit code 3; 1 of 3 clips" in results[item.id].reason for item in items[1:])


@pytest.mark.parametrize("name", ["cinemo", "consisti2v"])
def test_half_a_clip_is_none(name, tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAULT", "half:the second")
    items = items_of(["the first", "the second"], pictures)
    results = animated(opened(name, tmp_path), items)
    require_its_own(results["0-red"], items[0], name)
    assert isinstance(results["1-green"], Failed)
    assert "out of memory" in results["1-green"].reason


def test_a_broken_environment_is_not_tried_for_every_item(tmp_path, pictures):
    animator = opened("seine", tmp_path)
    (tmp_path / "checkout" / "paint.py").unlink()
    results = list(animator.animate(items_of(["a", "b", "c", "d", "e"], pictures), [1] * 5))
    assert all("No module named 'paint'" in result.reason for result in results[:3])
    assert all("not tried" in result.reason for result in results[3:])


def test_items_that_cannot_be_asked_do_not_stop_the_others(tmp_path, pictures):
    missing = BenchmarkItem("missing", "missing", tmp_path / "none.png", "a car")
    good = BenchmarkItem("good", "red", pictures[0], "a car")
    odd = [BenchmarkItem(text, "red", pictures[0], text) for text in ("", " \n", "a\0b", "a\x1bb", "${oc.env:HOME}")]
    results = animated(opened("consisti2v", tmp_path), [missing, *odd, good])
    assert str(tmp_path / "none.png") in results["missing"].reason
    for item in odd:
        assert isinstance(results[item.id], Failed)
    require_its_own(results["good"], good, "consisti2v")


def test_transparent_and_wide_pictures_reach_the_model_undistorted(tmp_path):
    path = tmp_path / "wide.png"
    image = np.zeros((100, 400, 4), np.uint8)
    image[:, 120:280] = 255
    Image.fromarray(image).save(path)
    work = tmp_path / "work"
    for name, size in (("seine", (560, 240)), ("cond-leak", (512, 384))):
        animator = opened(name, tmp_path / name, work / name)
        assert isinstance(animated(animator, [BenchmarkItem("wide", "wide", path, "a car")])["wide"], Made)
        (picture,) = (work / name).rglob("pictures/*.png")
        assert Image.open(picture).size == size, "the size that the script at hand stretches to"
        assert Image.open(picture).mode == "RGB"


def test_work_keeps_input_and_log(tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAULT", "die:a car")
    result = animated(opened("cinemo", tmp_path, tmp_path / "work"), items_of(["a car"], pictures))["0-red"]
    (log,) = (tmp_path / "work").rglob("log.txt")
    assert str(log) in result.reason
    assert (log.parent / "manifest.jsonl").read_text().count("a car") == 1
    assert yaml.safe_load((log.parent / "config.yaml").read_text())["image_prompts"][0][1] == "a car"


def test_a_folder_whose_name_the_program_would_replace_is_refused(tmp_path, pictures):
    animator = opened("cond-leak", tmp_path, tmp_path / "samples")
    with pytest.raises(ConfigError, match="samples"):
        animated(animator, items_of(["a car"], pictures))


def test_the_seed_in_the_name_of_the_folder(tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("STAND_IN_VARIANT", "seed in folder")
    items = items_of(["a car"], pictures)
    require_its_own(animated(opened("cond-leak", tmp_path), items)["0-red"], items[0], "cond-leak")


@pytest.mark.parametrize("variant", ["", "mp4 only"])
def test_one_of_six_clips_is_taken_and_the_others_are_not_made(variant, tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("STAND_IN_VARIANT", variant)
    monkeypatch.setenv("STAND_IN_PAUSE", "20")
    items = items_of(["a car"], pictures)
    require_its_own(animated(opened("animate-anything", tmp_path), items)["0-red"], items[0], "animate-anything")
    made = (tmp_path / "checkout" / "output" / "demo" / "made.txt").read_text()
    assert len(made.splitlines()) == 1


def test_seeds_that_programs_take_for_none(tmp_path, pictures):
    for name in ("cinemo", "seine"):
        items = items_of(["a car"], pictures)
        result = animated(opened(name, tmp_path / name), items, [0])["0-red"]
        assert result.seed == 1
        require_its_own(result, items[0], name)


def test_the_gpu_is_ours(tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    animated(opened("ti2v-zero", tmp_path, tmp_path / "work"), items_of(["a car"], pictures))
    (told,) = (tmp_path / "work").rglob("gpu.txt")
    assert told.read_text() == "3"


NEEDED = {
    "cinemo": ["pipelines/animation.py", "configs/sample.yaml", "animated_images"],
    "seine": ["sample_scripts/with_mask_sample.py", "pretrained/seine.pt", "pretrained/stable-diffusion-v1-4"],
    "cond-leak": ["scripts/evaluation/ddp_wrapper.py", "ckpt/finetuned/timenoise.ckpt", "ckpt/initial_noise_512.pt"],
    "ti2v-zero": ["demo_img2vid.py", "weights/configuration.json"],
    "animate-anything": ["train.py", "output/latent/animate_anything_512_v1.02/config.yaml"],
    "consisti2v": ["scripts/animate.py", "configs/inference/inference.yaml"],
}


@pytest.mark.parametrize("name", EXTERNAL)
def test_what_is_absent_is_named_before_anything_runs(name, tmp_path, pictures):
    items = items_of(["a car"], pictures)
    with pytest.raises(UnavailableError, match="nowhere"):
        open_external(name, tmp_path / "nowhere", PYTHON).animate(items, [1])
    for number, needed in enumerate(NEEDED[name]):
        animator = opened(name, tmp_path / str(number))
        path = Path(tmp_path, str(number), "checkout", "examples/DynamiCrafter" if name == "cond-leak" else "", needed)
        path.rename(path.with_name("elsewhere"))
        with pytest.raises(UnavailableError, match=path.name):
            animator.animate(items, [1])
        with pytest.raises(UnavailableError, match=path.name):
            _ = animator.settings
    checkout = make_checkout(name, tmp_path / "checkout")
    with pytest.raises(UnavailableError, match="no python"):
        open_external(name, checkout, tmp_path / "env" / "bin" / "python").animate(items, [1])


@pytest.mark.parametrize("name", ["cinemo", "consisti2v"])
def test_weights_are_a_folder_or_a_name_on_the_hub(name, tmp_path, pictures):
    opened(name, tmp_path).animate([], [])
    animator = opened(name, tmp_path, weights="/no/such/folder")
    with pytest.raises(UnavailableError, match="/no/such/folder"):
        animator.animate(items_of(["a car"], pictures), [1])


def test_a_script_of_another_form_is_refused(tmp_path, pictures):
    animator = opened("ti2v-zero", tmp_path)
    script = tmp_path / "checkout" / "demo_img2vid.py"
    script.write_text(script.read_text().replace("ddim_step = 10", "ddim_step = ddim_step = 10"))
    with pytest.raises(UnavailableError, match="ddim_step 0 times"):
        animator.animate(items_of(["a car"], pictures), [1])
    script.write_text("input = ")
    with pytest.raises(UnavailableError, match="cannot be parsed"):
        animator.animate(items_of(["a car"], pictures), [1])


@given(st.text(), st.text())
def test_edits_change_values_and_nothing_else(new_folder, before, after):
    script = new_folder() / "demo.py"
    body = "# ä: input = 'c'\n{x}; b = 'ä'; {y} # b\ndef f():\n    input = 'd'\n    return b, input, d\n"
    script.write_text(body.format(x=f"input = {before!r}", y="d = {'ä':\n 1}"), encoding="utf-8")
    space: dict = {}
    exec(edited(script, {"input": after, "d": 7}), space)
    assert (space["input"], space["b"], space["d"], space["f"]()) == (after, "ä", 7, ("ä", "d", 7))


@pytest.mark.parametrize("name", EXTERNAL)
def test_only_documented_arguments_are_passed(name, tmp_path, pictures):
    animator = opened(name, tmp_path)
    folder = tmp_path / "run"
    (folder / "pictures").mkdir(parents=True)
    task = animator._task(items_of(["a car"], pictures)[0], 1, 0, folder)
    arguments = animator.launch([task], folder).arguments
    passed = {argument.split("=")[0] for argument in arguments if argument.startswith("--")}
    assert passed <= set(animator.documented)
    if name == "animate-anything":
        assert {argument.split("=")[0] for argument in arguments if "=" in argument} <= set(animator.documented)


@pytest.mark.parametrize("name", EXTERNAL)
def test_settings_say_what_decides_a_clip(name, tmp_path):
    animator = opened(name, tmp_path)
    assert animator.name == name
    assert animator.steps == {"seine": 250, "ti2v-zero": 10, "animate-anything": 25}.get(name, 50)
    first = animator.settings
    assert str(tmp_path) not in str(first), "the same on any machine"
    assert opened(name, tmp_path, minutes=5.0).settings == first
    assert opened(name, tmp_path, steps=7).settings != first
    (tmp_path / "checkout" / ".git" / "refs").mkdir(parents=True)
    (tmp_path / "checkout" / ".git" / "HEAD").write_text("ref: refs/main\n")
    (tmp_path / "checkout" / ".git" / "refs" / "main").write_text("abc123\n")
    assert animator.settings["commit"] == "abc123"


@pytest.mark.parametrize("file", ["seine.pt", "stable-diffusion-v1-4/unet.bin"])
def test_other_weights_of_the_same_size_are_other_weights(file, tmp_path):
    animator = opened("seine", tmp_path)
    weights = tmp_path / "checkout" / "pretrained" / file
    weights.write_bytes(bytes(2_000_000))
    first = animator.settings
    assert animator.settings == first
    weights.write_bytes(bytes(1_999_999) + b"1")
    assert animator.settings != first


def test_options_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="stepz"):
        open_external("seine", tmp_path, PYTHON, {"stepz": 3})
    with pytest.raises(UnknownNameError, match="animate-anything, cinemo"):
        open_external("sora", tmp_path, PYTHON)
    for name in EXTERNAL:
        assert all(field.description for field in external_settings(name).model_fields.values())


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid):
    return any(not is_running(pid) or time.sleep(0.1) for _ in range(100))


def test_the_program_ends_when_we_do(tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAULT", "hang:the third")
    monkeypatch.setenv("STAND_IN_PID", str(tmp_path / "pid"))
    results = opened("consisti2v", tmp_path).animate(
        items_of(["the first", "the second", "the third"], pictures), [1, 2, 3]
    )
    assert next(results).id == "0-red", "as soon as it is there"
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    results.close()
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_program_that_hangs_is_ended(tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("STAND_IN_FAULT", "hang:the second")
    monkeypatch.setenv("STAND_IN_PID", str(tmp_path / "pid"))
    items = items_of(["the first", "the second"], pictures)
    results = animated(opened("consisti2v", tmp_path, minutes=0.05), items)
    require_its_own(results["0-red"], items[0], "consisti2v")
    assert "was stopped" in results["1-green"].reason
    assert "0.05 minutes" in results["1-green"].reason
    assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_program_and_its_children_end_with_a_signal_to_us(number, tmp_path, pictures):
    checkout = make_checkout("cond-leak", tmp_path / "checkout")
    code = (
        "import signal, sys; from pathlib import Path\n"
        f"signal.signal({int(number)}, signal.SIG_DFL)  # under nohup, or in CI, it may be ignored\n"
        "from motionfocal.benchmarks import BenchmarkItem\n"
        "from motionfocal.generation.external import open_external\n"
        "checkout, picture = map(Path, sys.argv[1:])\n"
        "animator = open_external('cond-leak', checkout, Path(sys.executable))\n"
        "print(list(animator.animate([BenchmarkItem('a', 'a', picture, 'a car')], [1])))\n"
    )
    pid = tmp_path / "pid"
    environment = os.environ | {"STAND_IN_FAULT": "hang:a car", "STAND_IN_PID": str(pid)}
    ours = warm.Warm("-c", code, checkout, pictures[0], env=environment)
    try:
        while (not pid.exists() or not pid.read_text()) and ours.poll() is None:
            time.sleep(0.05)
        os.kill(ours.pid, number)
        assert ours.wait(20) == 128 + number
    finally:
        ours.kill()
    assert gone(int(pid.read_text()))


def test_children_end_when_their_leader_ended_before(tmp_path):
    command = ["sh", "-c", "sleep 60 & echo $! > pid; exit 1"]
    with running(command, tmp_path, dict(os.environ), tmp_path / "log.txt") as process:
        assert process.wait(20) == 1
        child = int((tmp_path / "pid").read_text())
        os.kill(child, 0)
    assert gone(child)


def test_the_childs_environment_is_its_own(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("VIRTUAL_ENV", "/ours")
    monkeypatch.setenv("HF_HOME", "/weights")
    environment = child_environment(Path("/env/bin/python"), {"PYTHONPATH": "/theirs"})
    assert environment["PYTHONPATH"] == "/theirs"
    assert "VIRTUAL_ENV" not in environment
    assert environment["HF_HOME"] == "/weights"
    assert environment["PATH"].startswith("/env/bin" + os.pathsep)


def test_the_end_of_a_log(tmp_path):
    log = tmp_path / "log.txt"
    assert last_lines(log) == "(nothing)"
    log.write_bytes(b"1%\r2%\r3%\n" + b"x\xff\n" * 50 + b"Error: no\n\n")
    assert last_lines(log).endswith("\nError: no")
    assert len(last_lines(log).splitlines()) == 12


@given(st.text())
def test_texts_arrive_as_they_are(text):
    line = one_line(text)
    assert len(line.splitlines()) <= 1 or refusal(line) is None
    assert yaml.safe_load(quoted(line)) == line
    assert quoted(line).isascii()
    assert "\n" not in quoted(line)
    assert line.startswith(_head(line))
    assert name_refusal(_head(line).replace(" ", "_") + ".mp4") is None or refusal(line)
    if refusal(line) is None and omegaconf_refusal(line) is None:
        assert line.strip()


def test_no_code_of_the_baselines_is_here():
    """TI2V-Zero's licence would bind us: its script is only read, edited and run in the user's checkout."""
    import motionfocal.generation.external as room

    for path in Path(room.__file__).parent.glob("*.py"):
        assert "import torch" not in path.read_text()
