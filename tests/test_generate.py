"""Any model on any benchmark: every way to animate, on real images and tiny random weights, through the command."""

import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from motionfocal.benchmarks import BenchmarkItem, load_benchmark
from motionfocal.cli import baselines as baselines_verb
from motionfocal.cli.generate import parse_settings, run
from motionfocal.cli.options import parse_size
from motionfocal.errors import CheckpointError, ConfigError, GalleryError, MotionFocalError, UnavailableError
from motionfocal.generation.animator import Failed, Made
from motionfocal.generation.animators.videocrafter import SHIPPED, stretched
from motionfocal.generation.asked import benchmark_of
from motionfocal.generation.baselines import BASELINES
from motionfocal.generation.external import EXTERNAL
from motionfocal.generation.gallery import Gallery
from motionfocal.generation.open import Options, open_animator
from motionfocal.generation.sampler import SamplingSettings, sample
from motionfocal.jsonl import read_jsonl
from motionfocal.models.build import LoadedModel, ModelCard, build_model, save_model
from motionfocal.models.build import trained_weights as weights_of
from motionfocal.models.export import export_model
from motionfocal.models.families import compact, videocrafter, wan
from motionfocal.models.lora import LoraSettings, add_lora
from motionfocal.models.protocol import ClipShape
from motionfocal.video import probe

from . import tiny_cogvideox, tiny_hunyuanvideo15, tiny_ltx, tiny_pipelines, tiny_videocrafter, tiny_wan, warm

PRECISE = {"dtype": "float32"}
WAN = Options(size=(64, 96), frames=9, steps=2, more=PRECISE)
SMALL = Options(size=(64, 64), frames=4, steps=2, more=PRECISE)
CRAFTED = {"size": (16, 24), "frames": 4, "steps": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Tiny weights of every kind."""
    root = tmp_path_factory.mktemp("weights")
    tiny_wan.write_folder(root / "wan")
    tiny_wan.write_folder(root / "wan-i2v", variant="i2v-2.1")
    tiny_pipelines.write_i2vgenxl(root / "i2vgen-xl")
    tiny_pipelines.write_svd(root / "svd")
    for kind in ("videocrafter2", *SHIPPED):
        tiny_videocrafter.write_folder(root / kind, kind=kind)
    _write_run(root / "run", compact.Family(width=16, text_width=16), ClipShape(frames=4, height=16, width=16, fps=8))
    own = wan.Family(weights=str(root / "wan"), dtype="float32")
    _write_run(root / "wan-run", own, tiny_wan.SHAPE, LoraSettings(rank=2))
    return root


def _write_run(folder, family, shape, lora=None):
    """A run's folder; what was trained of the model is random."""
    model = build_model(family, shape, seed=0)
    if lora is not None:
        add_lora(model, lora, seed=0)
    rng = torch.Generator().manual_seed(1)
    weights = weights_of(model.network)
    with torch.no_grad():
        for weight in weights.values():
            weight.add_(0.05 * torch.randn(weight.shape, generator=rng))
    save_model(folder / "model", ModelCard(name=folder.name, model=family, shape=shape, lora=lora), weights)


@pytest.fixture(scope="module")
def bench(ti2v_bench):
    return load_benchmark(str(ti2v_bench))


@pytest.fixture(scope="module")
def item(bench):
    return bench.items[0]


@pytest.fixture
def folder(ti2v_bench, tmp_path):
    """A benchmark of six questions about real pictures; the fourth picture is broken."""
    folder = tmp_path / "mine"
    folder.mkdir()
    pictures = sorted((ti2v_bench / "images").glob("*.png"))[:6]
    for picture in pictures:
        shutil.copy(picture, folder)
    (folder / pictures[3].name).write_bytes(b"no picture")
    rows = [f"q{n},{picture.name},it moves {n},{'ab'[n % 2]}" for n, picture in enumerate(pictures)]
    (folder / "prompts.csv").write_text("\n".join(["id,image,prompt,scenario", *rows]) + "\n")
    return folder


def made(animator, item, seed=5):
    (outcome,) = animator.animate([item], [seed])
    assert not isinstance(outcome, Failed), outcome.reason
    assert (outcome.id, outcome.seed) == (item.id, seed)
    return outcome.clip


def frames(animator, item, seed=5):
    return made(animator, item, seed).frames.astype(int)


# Pipelines


def test_a_pipeline_animates_as_the_stock_one(root, item):
    animator = open_animator(str(root / "wan"), WAN)
    stock = tiny_wan.stock_pipeline(root / "wan")(
        image=Image.fromarray(item.picture((64, 96))), prompt=item.text, height=64, width=96, num_frames=9,
        num_inference_steps=2, generator=torch.Generator().manual_seed(5), output_type="pil",
    ).frames[0]  # fmt: skip
    clip = made(animator, item)
    assert (clip.frames == np.stack([np.asarray(frame) for frame in stock])).all()
    assert (clip.fps, animator.steps, animator.name) == (24, 2, "wan")


def test_a_pipeline_on_the_hub_is_taken_at_its_revision(root, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda name, *, revision, allow_patterns: (asked.append((name, revision)), str(root / "wan"))[1],
    )
    assert open_animator("owner/model@refs/pr/1", WAN).name == open_animator("owner/model", WAN).name == "model"
    assert asked == [("owner/model", "refs/pr/1"), ("owner/model", None)]
    with pytest.raises(ConfigError, match="owner/model@: '' is no revision"):
        open_animator("owner/model@", WAN)


def test_adapters_in_a_pipeline_are_the_run_that_trained_them(root, item, tmp_path):
    run_animator = open_animator(str(root / "wan-run"), Options(steps=2, guidance=5))
    export_model(root / "wan-run" / "model", tmp_path / "lora")
    lora = Options(size=(64, 96), frames=9, steps=2, guidance=5, lora=tmp_path / "lora", more=PRECISE)
    ours, exported = frames(run_animator, item), frames(open_animator(str(root / "wan"), lora), item)
    plain = frames(open_animator(str(root / "wan"), WAN), item)
    assert np.abs(ours - exported).mean() < 0.1  # the same noise, from the same seed
    assert np.abs(ours - plain).mean() > 1


def test_i2vgenxl_is_a_baseline_that_depends_on_all_it_is_given(root, item, bench):
    def opened(**more):
        options = Options(weights=str(root / "i2vgen-xl"), size=(64, 64), frames=4, steps=2, more=PRECISE | more)
        return open_animator("i2vgen-xl", options)

    animator = opened()
    first = made(animator, item)
    assert (first.fps, first.frames.shape) == (8, (4, 64, 64, 3))
    torch.manual_seed(99)  # the stock pipeline draws the picture's latent from here
    assert (made(animator, item).frames == first.frames).all()
    text, picture = bench.items[1], bench.items[4]
    assert (text.image, picture.text) == (item.image, item.text)
    others = [made(animator, item, seed=6), made(animator, text), made(animator, picture)]
    for other in (*others, made(opened(negative_prompt="blurry", target_fps=2), item)):
        assert (other.frames != first.frames).any()


def test_i2vgenxl_has_its_own_settings_unless_told(root):
    animator = open_animator("i2vgen-xl", Options(weights=str(root / "i2vgen-xl")))
    assert (animator.steps, animator.settings["size"], animator.settings["fps"]) == (50, (704, 1280), 8)


def test_a_pipeline_without_text_says_so(root, bench):
    animator = open_animator(str(root / "svd"), SMALL)
    one, other = bench.items[:2]
    assert not animator.takes_text
    assert made(animator, one).fps == 7
    assert (frames(animator, one) == frames(animator, other)).all()
    assert (frames(animator, one) != frames(animator, one, seed=6)).any()


def test_settings_change_with_what_decides_a_clip(root, tmp_path):
    plain = open_animator(str(root / "wan"), WAN).settings
    assert plain == open_animator(str(root / "wan"), WAN).settings
    shutil.copytree(root / "wan", tmp_path / "moved")
    assert open_animator(str(tmp_path / "moved"), WAN).settings == plain
    tiny_wan.write_folder(tmp_path / "other", seed=1)
    assert open_animator(str(tmp_path / "other"), WAN).settings["weights"] != plain["weights"]
    for change in ({"steps": 3}, {"guidance": 4}, {"size": (64, 64)}, {"more": {"negative_prompt": "x"}}):
        assert open_animator(str(root / "wan"), Options(**{"frames": 9, **change})).settings != plain


def test_the_dtype_is_the_models_on_every_machine(root, monkeypatch):
    """As a shard with a GPU has it, so has the machine without one that puts the lists of all shards into one."""
    for machine in ("cuda", "cpu"):
        monkeypatch.setattr("motionfocal.generation.animators.pipeline.best_device", lambda m=machine: torch.device(m))
        for kind, dtype in (("wan", "bfloat16"), ("svd", "float16")):
            assert open_animator(str(root / kind)).settings["dtype"] == dtype
            assert open_animator(str(root / kind), Options(more=PRECISE)).settings["dtype"] == "float32"


def test_size_and_length_are_the_models_unless_told(root):
    given = open_animator(str(root / "wan")).settings  # TI2V-5B
    assert (given["size"], given["fps"], given["call"]) == ((704, 1280), 24, {"num_frames": 121})
    image_to_video = open_animator(str(root / "wan-i2v")).settings
    assert (image_to_video["size"], image_to_video["fps"]) == ((480, 832), 16)
    assert "guidance_scale" not in image_to_video["call"]


def test_two_experts_are_sampled_as_their_authors_do(tmp_path, root):
    shutil.copytree(root / "wan-i2v", tmp_path / "a14b")
    tiny_wan.edit_json(tmp_path / "a14b" / "model_index.json", boundary_ratio=0.9)
    opened = open_animator(str(tmp_path / "a14b"))
    assert (opened.steps, opened.settings["call"]["guidance_scale"]) == (40, 3.5)
    asked = open_animator(str(tmp_path / "a14b"), Options(steps=3, guidance=1.0))
    assert (asked.steps, asked.settings["call"]["guidance_scale"]) == (3, 1.0)


def test_cogvideox_tells_size_and_rate_by_its_config(item, tmp_path):
    tiny_cogvideox.write_folder(tmp_path / "cog")
    options = Options(frames=9, steps=2, more={"max_sequence_length": tiny_cogvideox.TEXT_LENGTH})
    clip = made(open_animator(str(tmp_path / "cog"), options), item)
    assert (clip.frames.shape, clip.fps) == ((9, 32, 48, 3), 8)
    tiny_wan.edit_json(tmp_path / "cog" / "transformer" / "config.json", patch_size_t=2)
    newer = open_animator(str(tmp_path / "cog")).settings
    assert (newer["fps"], newer["call"]) == (16, {"num_frames": 81})


def test_a_clip_too_large_for_the_gpu_says_what_helps_and_leaves_nothing_there(root, item, monkeypatch):
    animator, freed = open_animator(str(root / "wan"), WAN), []
    monkeypatch.setattr(type(animator._pipeline), "maybe_free_model_hooks", lambda pipeline: freed.append("hooks"))
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: freed.append("cache"))
    with monkeypatch.context() as full:
        full.setattr(type(animator._pipeline), "__call__", _without_memory)
        (failed,) = animator.animate([item], [0])
    assert "--set offload=model" in failed.reason
    assert freed == ["hooks", "cache"]
    assert isinstance(next(animator.animate([item], [0])), Made)


def _without_memory(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_hunyuanvideo15_chooses_the_size_and_keeps_guidance_in_a_part(item, tmp_path):
    tiny_hunyuanvideo15.write_folder(tmp_path / "hunyuan")
    weak, strong = (
        made(open_animator(str(tmp_path / "hunyuan"), Options(frames=9, steps=2, guidance=g)), item) for g in (1.5, 6)
    )
    assert (weak.frames.shape, weak.fps) == ((9, 32, 32, 3), 24)  # as square as the picture
    assert (weak.frames != strong.frames).any()
    whole = open_animator(str(tmp_path / "hunyuan"))
    assert whole._pipeline.vae.use_tiling and whole.settings["tiled"]
    with pytest.raises(ConfigError, match="--size: HunyuanVideo15ImageToVideoPipeline does not take it"):
        open_animator(str(tmp_path / "hunyuan"), Options(size=(64, 64)))


def test_ltx_draws_the_decoders_noise_on_its_own_device(item, tmp_path, monkeypatch):
    """diffusers refuses a generator of the CPU there."""
    tiny_ltx.write_folder(tmp_path / "ltx")
    asked = []
    animator = open_animator(str(tmp_path / "ltx"), Options(size=(64, 96), frames=9, steps=1))
    monkeypatch.setattr(type(animator._pipeline), "_execution_device", torch.device("meta"))
    monkeypatch.setattr("torch.Generator", lambda device="cpu": asked.append(str(device)) or torch.default_generator)
    for conditioned in (False, True):
        animator._pipeline.vae.register_to_config(timestep_conditioning=conditioned)
        next(animator.animate([item], [0]))
    assert asked == ["cpu", "meta"]


def test_ltx_is_told_the_rate(item, tmp_path):
    tiny_ltx.write_folder(tmp_path / "ltx")
    slow, fast = (
        made(open_animator(str(tmp_path / "ltx"), Options(size=(64, 96), frames=9, steps=2, fps=fps)), item)
        for fps in (12, 25)
    )
    assert (slow.fps, fast.fps) == (12, 25)
    assert (slow.frames != fast.frames).any()


def test_a_pipelines_own_refusal_costs_the_item(root, item):
    animator = open_animator(str(root / "wan"), Options(size=(60, 90), frames=9, steps=2))
    (outcome,) = animator.animate([item], [0])
    assert "divisible by" in outcome.reason


def test_missing_weights_are_named_before_anything_is_made(root, item, tmp_path):
    shutil.copytree(root / "wan", tmp_path / "wan")
    next((tmp_path / "wan" / "transformer").glob("*.safetensors")).unlink()
    with pytest.raises(CheckpointError, match="transformer: cannot be loaded"):
        list(open_animator(str(tmp_path / "wan"), WAN).animate([item], [0]))
    shutil.rmtree(tmp_path / "wan" / "transformer")
    with pytest.raises(CheckpointError, match="the folder transformer is missing"):
        list(open_animator(str(tmp_path / "wan"), WAN).animate([item], [0]))


# Converted checkpoints


@pytest.mark.parametrize("kind", SHIPPED)
def test_a_converted_checkpoint_is_sampled_as_shipped(root, item, kind):
    animator = open_animator(kind, Options(weights=str(root / kind), **CRAFTED))
    told = {"dynamicrafter": 24, "videocrafter1": 8}[kind]
    shape = ClipShape(frames=4, height=16, width=24, fps=told)
    family = videocrafter.Family(weights=str(root / kind))
    loaded = LoadedModel(ModelCard(name=kind, model=family, shape=shape), build_model(family, shape, seed=0))
    sampling = {
        "dynamicrafter": SamplingSettings(steps=2, guidance_scale=7.5, guidance_rescale=0.7, eta=1),
        "videocrafter1": SamplingSettings(steps=2, guidance_scale=12, eta=1),
    }[kind]
    picture = stretched(item, (16, 24)) if kind == "videocrafter1" else item.picture((16, 24))
    clip = made(animator, item)
    assert (clip.frames == sample(loaded, picture[None], [item.text], [5], sampling)[0]).all()
    assert clip.fps == {"dynamicrafter": 8, "videocrafter1": 10}[kind]
    assert (made(open_animator(str(root / kind), Options(**CRAFTED)), item).frames == clip.frames).all()


def test_videocrafter1_sees_all_of_a_picture(tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:4] = 255  # above what a crop to 16x24 keeps
    Image.fromarray(pixels).save(tmp_path / "x.png")
    item = BenchmarkItem("x", "x", tmp_path / "x.png", "t")
    assert stretched(item, (16, 24))[0].mean() > 200
    assert item.picture((16, 24))[0].mean() < 50


def test_shipped_sizes_are_those_of_the_table(root):
    for kind, shipped in SHIPPED.items():
        entry = BASELINES[kind]
        shape = shipped.shape
        assert (entry.size, entry.frames) == ((shape.height, shape.width), shape.frames)
        assert (entry.fps, entry.steps) == (shipped.fps, shipped.sampling.steps)


# What is refused


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("wan", {"more": {"motion_bucket_id": 5}}, "--set motion_bucket_id: WanImageToVideoPipeline: it knows no such"),
        ("wan", {"more": {"num_frames": 5}}, "an option of its own"),
        ("wan", {"weights": "x"}, "--weights has no effect on a pipeline"),
        ("wan", {"lora": "nowhere"}, "no such file or folder"),
        ("wan", {"more": {"dtype": "int3"}}, "dtype"),
        ("svd", {"guidance": 3.0}, "--guidance: StableVideoDiffusionPipeline does not take it.*max_guidance_scale"),
        ("run", {"size": (64, 64)}, "--size has no effect on a model of ours"),
        ("run", {"fps": 3.0}, "--fps has no effect"),
        ("run", {"more": {"motion_score": 1}}, "was not trained with a motion score"),
        ("run", {"more": {"etaa": 1}}, "etaa.*settings are steps, guidance_scale"),
        ("dynamicrafter", {"lora": "x"}, "--lora has no effect on dynamicrafter"),
        ("dynamicrafter", {"more": {"fit": "pad"}}, "fit"),
        ("videocrafter2", {}, "VideoCrafter2 takes no image"),
        ("nowhere", {}, "no such folder, no name of the form owner/repository, and no baseline: these are dynamicr"),
    ],
)
def test_what_would_do_nothing_is_refused_before_anything_is_loaded(root, model, options, said, monkeypatch):
    monkeypatch.setattr("motionfocal.models.pipeline_folder.PipelineFolder.load", None)
    monkeypatch.chdir(root)
    with pytest.raises(MotionFocalError, match=said):
        open_animator(f"./{model}" if (root / model).exists() else model, Options(**options))


def test_a_text_to_video_pipeline_is_refused(root, tmp_path):
    shutil.copytree(root / "wan", tmp_path / "t2v")
    tiny_wan.edit_json(tmp_path / "t2v" / "model_index.json", expand_timesteps=False)
    with pytest.raises(CheckpointError, match="WanPipeline takes no image"):
        open_animator(str(tmp_path / "t2v"))


def test_an_unknown_rate_is_asked_for(root, tmp_path):
    shutil.copytree(root / "wan", tmp_path / "x")
    tiny_wan.edit_json(tmp_path / "x" / "model_index.json", _class_name="HunyuanVideoFramepackPipeline")
    with pytest.raises(ConfigError, match="--fps: HunyuanVideoFramepackPipeline does not say"):
        open_animator(str(tmp_path / "x"))


def test_baselines_say_what_they_need(root):
    with pytest.raises(UnavailableError, match=r"motionfocal convert dynamicrafter model\.ckpt FOLDER; then --weights"):
        open_animator("dynamicrafter")
    with pytest.raises(ConfigError, match="holds videocrafter1, not dynamicrafter"):
        open_animator("dynamicrafter", Options(weights=str(root / "videocrafter1")))
    for name in EXTERNAL:
        with pytest.raises(UnavailableError, match=f"{name} is a program of its own.*--checkout and --python"):
            open_animator(name)
    with pytest.raises(ConfigError, match="--fps has no effect on cinemo"):
        open_animator("cinemo", Options(fps=3.0))


def test_a_program_is_opened_from_its_checkout_with_its_options(tmp_path):
    options = Options(checkout=tmp_path, python=tmp_path / "python", steps=7, size=(320, 512), guidance=3.0)
    animator = open_animator("seine", options)
    assert (animator.name, animator.steps) == ("seine", 7)
    assert (animator.options.height, animator.options.width, animator.options.guidance_scale) == (320, 512, 3)


def test_the_table_of_baselines_is_whole(capsys):
    assert [name for name, entry in BASELINES.items() if entry.runs == "external"] == [
        name for name in BASELINES if name in EXTERNAL
    ]
    assert set(EXTERNAL) <= set(BASELINES)
    assert len(BASELINES) == 9
    for name in BASELINES:
        baselines_verb.run(name)
        said = capsys.readouterr().out
        for word in ("licence of the code", "size, frames, fps", "to set up", f"motionfocal generate {name}"):
            assert word in said
    baselines_verb.run(None)
    assert "consisti2v" in capsys.readouterr().out


def test_sizes_and_settings_are_read_as_written():
    assert parse_size("320x512") == (320, 512)
    assert parse_settings(["eta=1", "negative_prompt=a, b", "x=true"]) == {
        "eta": 1,
        "negative_prompt": "a, b",
        "x": True,
    }
    for wrong in ("320", "axb", "0x5", "5x"):
        with pytest.raises(ConfigError, match=re.escape(f"--size {wrong}")):
            parse_size(wrong)
    for wrong in ("eta", "=1", "x=[1"):
        with pytest.raises(ConfigError, match="--set"):
            parse_settings([wrong])


# The verb


def test_a_bad_item_is_listed_and_the_rest_is_kept(root, folder, tmp_path, capsys):
    options = Options(steps=2, guidance=2)
    with pytest.raises(SystemExit) as stopped:
        run(str(root / "run"), str(folder), tmp_path / "out", options, name="tiny")
    assert stopped.value.code == 1
    said = capsys.readouterr().out
    assert "1 items failed" in said
    assert "q3: " in said
    gallery = Gallery.open(tmp_path / "out")
    assert [row.id for row in gallery.rows()] == ["q0", "q1", "q2", "q4", "q5"]
    assert gallery.model == "tiny"
    info = probe(gallery.path("q0"))
    assert (info.frames, info.height, info.fps) == (4, 16, 8)


def test_a_run_that_is_stopped_remembers_its_benchmark(root, folder, tmp_path, monkeypatch):
    """From the moment at which the gallery was accepted; a refused one remembers nothing new."""

    def stopped(*arguments, progress, **more):
        progress(0)
        raise KeyboardInterrupt

    def refused(*arguments, **more):
        raise GalleryError("it holds clips of another shard")

    for out, ends in (("stopped", stopped), ("refused", refused)):
        monkeypatch.setattr("motionfocal.cli.generate.generate", ends)
        with pytest.raises((KeyboardInterrupt, GalleryError)):
            run(str(root / "run"), str(folder), tmp_path / out, Options(steps=2, guidance=2))
    assert benchmark_of([Gallery(tmp_path / "stopped", [])]).name == load_benchmark(folder).name
    assert not (tmp_path / "refused").exists()


def test_a_part_is_made_and_then_the_rest(root, folder, tmp_path):
    shutil.copy(folder / read_image_name(folder, 0), folder / read_image_name(folder, 3))  # mend it
    out, options = tmp_path / "out", Options(steps=2, guidance=2)

    def make(**how):
        run(str(root / "run"), str(folder), out, options, **how)
        return [row.id for row in Gallery.open(out).rows()]

    assert make(ids=["q5"]) == ["q5"]
    assert make(scenarios=["b"], limit=1) == ["q5", "q1"]
    before = (out / "q5.mp4").stat().st_mtime_ns
    assert sorted(make()) == [f"q{n}" for n in range(6)]
    assert (out / "q5.mp4").stat().st_mtime_ns == before
    for shard in ("1/2", "2/2"):
        run(str(root / "run"), str(folder), tmp_path / "parts", options, shard=shard)
    for n in range(6):
        assert (tmp_path / "parts" / f"q{n}.mp4").read_bytes() == (out / f"q{n}.mp4").read_bytes()
    assert len(Gallery.open(tmp_path / "parts").rows()) == 6


def read_image_name(folder, number):
    return (folder / "prompts.csv").read_text().splitlines()[number + 1].split(",")[1]


def command(root, bench, out):
    arguments = ["generate", root / "run", "-b", bench, "-o", out, "--steps", 20, "--limit", 12]
    return ["-m", "motionfocal", *map(str, arguments)]


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_with_the_same_clips(root, ti2v_bench, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole = warm.Warm(*command(root, ti2v_bench, tmp_path / "whole"), env=environment)
    killed = warm.Warm(*command(root, ti2v_bench, tmp_path / "killed"), env=environment)
    index = tmp_path / "killed" / "gallery.jsonl"
    while len(read_jsonl(index)) < 3:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    kept = {str(row["id"]) for row in read_jsonl(index)}
    assert 3 <= len(kept) < 12
    before = {name: (tmp_path / "killed" / f"{name}.mp4").stat().st_mtime_ns for name in kept}
    goes_on = [sys.executable, *command(root, ti2v_bench, tmp_path / "killed")]
    subprocess.run(goes_on, env=environment, stdout=subprocess.DEVNULL, check=True)
    assert whole.wait() == 0
    assert before == {name: (tmp_path / "killed" / f"{name}.mp4").stat().st_mtime_ns for name in kept}
    straight, resumed = (Gallery.open(tmp_path / out) for out in ("whole", "killed"))
    assert straight.rows() == resumed.rows()
    assert len(straight.rows()) == 12
    for row in straight.rows():
        assert straight.path(row.id).read_bytes() == resumed.path(row.id).read_bytes()


def test_errors_reach_a_person_as_one_line(tmp_path):
    out = subprocess.run(
        [sys.executable, "-m", "motionfocal", "generate", "nowhere", "-b", tmp_path, "-o", tmp_path / "out"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert out.returncode == 1
    assert out.stderr.startswith("error: nowhere: no such folder")
    assert not (tmp_path / "out").exists()
