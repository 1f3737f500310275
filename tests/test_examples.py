"""The drop-in examples run as they stand, learn, and compute the equation that docs/drop-in.md states."""

import importlib.util
import os
import re
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from motionfocal import LatentSpec, MotionFocalLoss, pool_to_latent, write_clip
from motionfocal.errors import ShapeError
from motionfocal.jsonl import read_jsonl
from motionfocal.models.build import build_model
from motionfocal.models.protocol import ClipShape, Condition

from . import warm

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def losses(name: str, folder: Path, *options: str) -> list[float]:
    """What an example prints, run as a user would."""
    out = warm.run(ROOT / "examples" / f"{name}.py", *options, cwd=folder, check=True)
    return [float(loss) for loss in re.findall(r"loss (\S+)", out.stdout)]


def of_paper(prediction, target, heat, generated=None):
    """mean(e^2) + mean((m' e)^2) in numpy, over the generated cells."""
    e, m = (prediction - target).detach().numpy(), heat.numpy()
    keep = np.broadcast_to(np.ones_like(m) if generated is None else generated.numpy(), e.shape) > 0
    return (e**2)[keep].mean() + ((m * e) ** 2)[keep].mean()


def moving_square():
    """As the examples draw it."""
    frames = np.zeros((9, 64, 64, 3), np.uint8)
    for k, frame in enumerate(frames):
        frame[24:40, 4 + 4 * k : 20 + 4 * k] = 230
    return frames


def test_there_are_four():
    assert [path.stem for path in EXAMPLES] == [
        "diffusion_pipe_style", "ltx_trainer_style", "musubi_style", "plain_diffusers",
    ]  # fmt: skip


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_and_say_how_they_are_run(path):
    text = path.read_text()
    assert len(text.splitlines()) < 80
    assert f"python examples/{path.name}" in text.split('"""')[1]


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_loss_falls(path, tmp_path):
    seen = losses(path.stem, tmp_path)
    assert len(seen) == 60
    assert np.mean(seen[-15:]) < 0.9 * np.mean(seen[:15])


def test_both_ways_of_diffusion_pipe_train_alike(capsys):
    pipe = example("diffusion_pipe_style")
    seen = []
    for own_loss in (False, True):
        pipe.main(own_loss, steps=6)
        seen.append([float(loss) for loss in re.findall(r"loss (\S+)", capsys.readouterr().out)])
    assert len(seen[0]) == 6
    assert seen[0] == pytest.approx(seen[1], rel=1e-3)


def test_plain_diffusers_computes_the_equation_without_the_given_frame():
    plain, seen = example("plain_diffusers"), {}

    def network(noisy, timesteps, text, return_dict):
        seen.update(noisy=noisy, timesteps=timesteps)
        seen["prediction"] = torch.randn(noisy.shape, requires_grad=True)
        return (seen["prediction"],)

    torch.manual_seed(0)
    latents, heat = torch.randn(1, 4, 3, 4, 6), torch.rand(1, 1, 3, 4, 6)
    torch.manual_seed(1)
    loss = plain.loss_of(network, torch.zeros(1, 2, 8), latents, heat)
    torch.manual_seed(1)
    noise = torch.randn_like(latents)
    generated = torch.ones_like(heat)
    generated[:, :, 0] = 0
    assert loss.item() == pytest.approx(of_paper(seen["prediction"], noise - latents, heat, generated), rel=1e-5)
    loss.backward()
    assert (seen["prediction"].grad[:, :, 0] == 0).all()
    assert (seen["prediction"].grad[:, :, 1:] != 0).all()
    assert torch.equal(seen["noisy"][:, :, 0], latents[:, :, 0])
    timesteps = seen["timesteps"].view(3, 2, 3)
    assert (timesteps[0] == 0).all()
    assert (timesteps[1:] == timesteps[1, 0, 0]).all()
    sigma = timesteps[1, 0, 0] / 1000
    assert torch.allclose(seen["noisy"][:, :, 1:], torch.lerp(latents, noise, sigma)[:, :, 1:], atol=1e-6)


def test_plain_diffusers_caches_the_heatmap_apart_from_the_latents(tmp_path):
    from motionfocal import Clip

    plain = example("plain_diffusers")
    _, vae, _ = plain.load("", "")
    frames = moving_square()
    stem = plain.prepare(Clip(frames, 24), vae, str(tmp_path / "clip"))
    latents, heat = load_file(f"{stem}.latents")["latents"], load_file(f"{stem}.heat")["heat"]
    assert latents.shape == (1, 16, 3, 8, 8)
    assert heat.shape == (1, 1, 3, 8, 8)
    assert heat[0, 0, :, 3:5, 2].min() > 0.5  # the square's left edge
    assert heat[0, 0, :, 7].max() < 0.05


class TestTokens:
    """LTX: what is packed stays with its latent."""

    @pytest.fixture
    def strategy(self):
        return example("ltx_trainer_style").MotionFocalStrategy(channels=5)

    @pytest.fixture
    def cached(self):
        torch.manual_seed(0)
        text = {"embeds": torch.randn(2, 4, 8), "mask": torch.ones(2, 4, dtype=torch.bool)}
        return {"latents": torch.randn(2, 5, 3, 4, 2), "heat": torch.rand(2, 1, 3, 4, 2), **text}

    def test_weights_align_with_latents(self, strategy, cached):
        """A latent that holds its own heat finds it again at every token, whatever the grid."""
        cached["latents"] = cached["heat"].repeat(1, 5, 1, 1, 1)
        torch.manual_seed(2)
        inputs, (target, heat, generated) = strategy.prepare_batch(cached)
        torch.manual_seed(2)
        clean = torch.randn_like(target) - target
        assert torch.allclose(clean, heat.expand_as(clean), atol=1e-6)
        assert (generated[:, : 4 * 2] == 0).all()
        assert (generated[:, 4 * 2 :] == 1).all()
        assert torch.allclose(inputs["hidden_states"][:, : 4 * 2], clean[:, : 4 * 2], atol=1e-6)
        assert torch.equal(inputs["timestep"] == 0, generated[..., 0] == 0)
        assert (inputs["num_frames"], inputs["height"], inputs["width"]) == (3, 4, 2)

    def test_the_packed_loss_is_that_of_the_grid(self, strategy, cached):
        torch.manual_seed(3)
        _, label = strategy.prepare_batch(cached)
        target, heat, generated = label
        prediction = torch.randn(target.shape, requires_grad=True)
        loss = strategy.compute_loss(prediction, label)
        assert loss.item() == pytest.approx(of_paper(prediction, target, heat, generated), rel=1e-5)
        grids = [x.detach().unflatten(1, (3, 4, 2)).movedim(-1, 1) for x in (prediction, *label)]
        assert loss.item() == pytest.approx(MotionFocalLoss()(*grids).total.item(), rel=1e-6)
        loss.backward()
        assert (prediction.grad[:, : 4 * 2] == 0).all()

    def test_a_still_clip_is_the_plain_loss(self, strategy, cached):
        cached["heat"].zero_()
        _, (target, heat, generated) = strategy.prepare_batch(cached)
        prediction = torch.randn_like(target)
        loss = strategy.compute_loss(prediction, (target, heat, generated))
        assert torch.isclose(loss, F.mse_loss(prediction[:, 4 * 2 :], target[:, 4 * 2 :]))


class TestTwoFilesAClip:
    """musubi: heatmaps in files of their own."""

    def test_another_floor_leaves_the_latents_alone(self, tmp_path):
        musubi = example("musubi_style")
        musubi.main(cache=tmp_path, steps=1)
        latents, motion = tmp_path / "clip_latents.safetensors", tmp_path / "clip_motion.safetensors"
        before, stamp = load_file(motion)["heat"], latents.stat().st_mtime_ns
        frames = moving_square()
        musubi.cache_motion(frames, tmp_path / "clip")
        assert torch.equal(load_file(motion)["heat"], before)
        musubi.cache_motion(frames, tmp_path / "clip", floor=100)
        assert load_file(motion)["heat"].max() < 0.01
        assert latents.stat().st_mtime_ns == stamp

    def test_a_clip_without_a_heatmap_is_an_error(self, tmp_path):
        musubi = example("musubi_style")
        musubi.main(cache=tmp_path, steps=1)
        (tmp_path / "clip_motion.safetensors").unlink()
        with pytest.raises(FileNotFoundError):
            musubi.MotionFocalTrainer().load_item(tmp_path / "clip")

    def test_the_hook_computes_the_equation(self):
        hook = example("musubi_style").MotionFocalTrainer().compute_loss
        prediction, target = torch.randn(2, 16, 3, 4, 4, requires_grad=True), torch.randn(2, 16, 3, 4, 4)
        heat = torch.rand(2, 1, 3, 4, 4)
        assert hook((prediction, target), {"heat": heat}).item() == pytest.approx(
            of_paper(prediction, target, heat), rel=1e-5
        )


class TestMaskSlot:
    """diffusion-pipe: a moving weight where a still mask was."""

    def test_both_ways_are_the_equation(self):
        pipe = example("diffusion_pipe_style")
        output, target = torch.randn(2, 16, 3, 4, 4), torch.randn(2, 16, 3, 4, 4)
        heat = torch.rand(2, 1, 3, 4, 4)
        expected = of_paper(output, target, heat)
        assert pipe.motion_focal_loss(output, (target, heat)).item() == pytest.approx(expected, rel=1e-5)
        assert pipe.masked_loss(output, (target, pipe.as_mask(heat))).item() == pytest.approx(expected, rel=1e-5)

    def test_a_mask_of_zero_gives_exactly_no_gradient(self):
        pipe = example("diffusion_pipe_style")
        output = torch.randn(2, 16, 3, 4, 4, requires_grad=True)
        mask = torch.ones(2, 1, 3, 4, 4)
        mask[:, :, 0] = 0
        pipe.masked_loss(output, (torch.randn_like(output), mask)).backward()
        assert (output.grad[:, :, 0] == 0).all()
        assert (output.grad[:, :, 1:] != 0).all()

    def test_the_weight_moves(self):
        clips = example("diffusion_pipe_style").drawn_clips()
        assert clips["heat"][0, 0, 2, :4, :4].min() == 1
        assert clips["heat"].sum() == 16


class TestTheTrap:
    """The figures of docs/drop-in.md: 81 frames to 21 latents, the motion of one latent's four frames at a time."""

    TEXT = (ROOT / "docs" / "drop-in.md").read_text()

    @staticmethod
    def landed(k: int, mode: str) -> torch.Tensor:
        heat = torch.zeros(1, 1, 81, 1, 1)
        heat[:, :, 4 * k - 3 : 4 * k + 1] = 1
        return F.interpolate(heat, size=(21, 1, 1), mode=mode).flatten()

    @pytest.mark.parametrize("mode", ["area", "trilinear", "nearest-exact", "nearest"])
    def test_resampling_over_time_leaks(self, mode):
        row = next(line for line in self.TEXT.splitlines() if f'mode="{mode}"' in line and line.startswith("|"))
        eleven = self.landed(11, mode)
        assert f"| {eleven[10]:.2f} | {eleven[11]:.2f} |" in row
        leaks = [1 - (self.landed(k, mode)[k] / self.landed(k, mode).sum()).item() for k in range(1, 21)]
        if mode == "nearest":
            assert leaks == [0] * 20
            assert "0 %, but" in row
        else:
            assert f"{100 * np.mean(leaks):.1f} % ({100 * max(leaks):.0f} %)" in row

    def test_nearest_sees_one_frame_in_four(self):
        seen = [
            F.interpolate(x[None, None], size=(21, 1, 1), mode="nearest").sum() for x in torch.eye(81)[..., None, None]
        ]
        assert sum(seen) == 21

    def test_pooling_does_not(self):
        wan = LatentSpec(16, 8, 4, causal=True)
        for k in range(1, 21):
            heat = torch.zeros(81, 8, 8)
            heat[4 * k - 3 : 4 * k + 1] = 1
            assert pool_to_latent(heat, wan).flatten().nonzero().flatten().tolist() == [k]

    def test_the_snippet_caches_what_it_says(self, tmp_path):
        snippet = re.search(r"```python\n(.*?)```", self.TEXT, re.S).group(1)
        write_clip(tmp_path / "clip.mp4", np.repeat(moving_square()[:1], 9, axis=0), 24)
        small = (
            snippet.replace("clip.mp4", str(tmp_path / "clip.mp4")).replace("81", "9").replace("(480, 832)", "(32, 64)")
        )
        names = {}
        exec(small, names)
        assert names["heat"].shape == (1, 3, 4, 8)
        assert names["wan"].grid(81, 480, 832) == (21, 60, 104)

    def test_the_table_of_bases_is_theirs(self):
        """Against the adapters' own tests, which take the real configs' compression."""
        specs = {
            "LTX-Video": LatentSpec(128, 32, 8, causal=True),
            "Wan2.2-TI2V-5B": LatentSpec(48, 16, 4, causal=True),
            "HunyuanVideo-1.5 I2V": LatentSpec(32, 16, 4, causal=True),
        }
        for base, spec in specs.items():
            said = re.search(rf"^\| {re.escape(base)} \| `(\(.*?\))`", self.TEXT, re.M).group(1)
            assert eval(f"LatentSpec{said}") == spec


class TestAddingABase:
    """docs/adding-a-base.md: the family on that page is taken from it, installed as a package, and trained."""

    SOURCE = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "adding-a-base.md").read_text(), re.S).group(1)
    SHAPE = ClipShape(frames=3, height=8, width=8, fps=8)

    @pytest.fixture
    def model(self):
        module = types.ModuleType("postcard")
        exec(self.SOURCE, module.__dict__)
        model = build_model(module.Family(width=16), self.SHAPE, seed=0)
        for weight in model.network.parameters():
            torch.nn.init.normal_(weight, std=0.2, generator=torch.Generator().manual_seed(weight.numel()))
        return model

    @staticmethod
    def predict(model, noisy, image, text="a ball rolls", fps=8.0, timestep=500.0):
        condition = Condition(model.encode_image(image, 3), model.encode_text([text]), torch.tensor([fps]))
        return model.predict(noisy, torch.tensor([timestep]), condition)

    def test_every_condition_reaches_the_network(self, model):
        rng = torch.Generator().manual_seed(0)
        noisy, image = torch.randn(1, 12, 3, 4, 4, generator=rng), torch.randint(256, (1, 8, 8, 3), generator=rng)
        image = image.to(torch.uint8)
        before = self.predict(model, noisy, image)
        assert before.shape == noisy.shape
        for change in (
            {"image": 255 - image}, {"text": "a ball jumps"}, {"fps": 24.0}, {"timestep": 900.0}, {"noisy": noisy + 1},
        ):  # fmt: skip
            after = self.predict(model, **{"noisy": noisy, "image": image, **change})
            assert (after - before).abs().max() > 1e-3, change

    def test_the_given_frame_is_put_in(self, model):
        noisy, image = torch.randn(1, 12, 3, 4, 4), torch.randint(256, (1, 8, 8, 3), dtype=torch.uint8)
        other = noisy.clone()
        other[:, :, 0] = 7
        assert torch.equal(self.predict(model, noisy, image), self.predict(model, other, image))

    def test_pixels_come_back(self, model):
        frames = torch.randint(256, (1, 3, 8, 8, 3), dtype=torch.uint8)
        assert torch.equal(model.decode(model.encode(frames)), frames)

    def test_a_size_that_does_not_fit_is_named(self, model):
        with pytest.raises(ShapeError, match="9x8"):
            model.check(ClipShape(frames=3, height=9, width=8, fps=8))

    @pytest.mark.slow
    def test_as_a_package_of_its_own_it_trains(self, tmp_path):
        (tmp_path / "postcard.py").write_text(self.SOURCE)
        about = tmp_path / "postcard-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: postcard\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[motionfocal.families]\npostcard = postcard\n")
        changes = [
            "model={family: postcard, width: 16}", "steps=30", "batch_size=4", "validation=null", "device=cpu",
            "optimizer.warmup_steps=2", "data.world.size=16", "data.world.frames=4", "data.clips=4",
        ]  # fmt: skip
        command = ["-m", "motionfocal", "train", "sprites", "--out", tmp_path / "run"]
        for change in changes:
            command += ["--set", change]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        warm.run(*command, env=environment, check=True)
        seen = [row["loss"] for row in read_jsonl(tmp_path / "run" / "metrics.jsonl")]
        assert len(seen) == 30
        assert np.mean(seen[-8:]) < 0.9 * np.mean(seen[:8])
