"""Schedules against the reference sampler, against diffusers, and against the equations."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file

from motionfocal.errors import ConfigError
from motionfocal.generation.sampler import _rescaled
from motionfocal.models.schedule import DiffusionSettings, FlowSchedule, FlowSettings

from .lvdm import CLOSE, load_lvdm_unet, read_golden

CELLS = 4 * 8 * 8
SETTINGS = [
    DiffusionSettings(),
    DiffusionSettings(prediction_type="epsilon"),
    DiffusionSettings(signal_scale=0.7),
    FlowSettings(shift=3),
]
VARIANTS = {
    "v_uniform": (DiffusionSettings(), 0.0),
    "v_uniform_eta1": (DiffusionSettings(), 1.0),
    "v_dyn_uniform": (DiffusionSettings(signal_scale=0.7), 0.0),
    "v_zsnr_trailing": (DiffusionSettings(zero_terminal_snr=True, timestep_spacing="trailing"), 0.0),
    "v_zsnr_trailing_rescale0.7_dyn_eta1": (
        DiffusionSettings(zero_terminal_snr=True, timestep_spacing="trailing", signal_scale=0.7),
        1.0,
    ),
}


@pytest.fixture(scope="module")
def reference(golden):
    return load_file(golden / "ddim_v_reference.safetensors")


def test_the_schedule_is_lvdms():
    """Values of lvdm's sampler: leading timesteps 1, 21, ..., 981, and alpha-bar 0.00466 at the last step."""
    schedule = DiffusionSettings().build()
    assert schedule.sampler(50, CELLS).timesteps.tolist() == list(range(981, 0, -20))
    assert schedule.noise_level(torch.tensor([999])).item() == pytest.approx((1 - 0.00466) ** 0.5, abs=1e-5)


@pytest.mark.parametrize("steps", [10, 25, 50])
def test_timesteps_are_the_references(reference, steps):
    leading = DiffusionSettings().build().sampler(steps, CELLS)
    trailing = DiffusionSettings(timestep_spacing="trailing").build().sampler(steps, CELLS)
    assert torch.equal(leading.timesteps.flip(0), reference[f"ddim_timesteps_uniform_{steps}"])
    assert torch.equal(trailing.timesteps.flip(0), reference[f"ddim_timesteps_trailing_{steps}"])


@pytest.mark.parametrize("zero_snr", [False, True])
def test_noising_and_the_velocity_are_the_references(reference, zero_snr):
    schedule = DiffusionSettings(
        zero_terminal_snr=zero_snr, timestep_spacing="trailing" if zero_snr else "leading"
    ).build()
    suffix = "_zero_snr" if zero_snr else ""
    clean, noise, timestep = (reference[f"v.{name}"] for name in ("x0", "eps", "t"))
    torch.testing.assert_close(schedule.add_noise(clean, noise, timestep), reference["v.q_sample" + suffix], **CLOSE)
    torch.testing.assert_close(schedule.target(clean, noise, timestep), reference["v.target" + suffix], **CLOSE)


@pytest.mark.parametrize("index", [0, 1, 25, 49])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_guided_step_is_the_references(reference, variant, index):
    settings, eta = VARIANTS[variant]
    sampler = settings.build().sampler(50, CELLS, eta)
    unconditional, conditional = reference["step.out_uncond"], reference["step.out_cond"]
    guided = _rescaled(
        unconditional + 7.5 * (conditional - unconditional), conditional, 0.7 if "rescale" in variant else 0.0
    )
    timestep = reference[f"{variant}.ddim_timesteps"][index]
    assert sampler.timesteps[49 - index] == timestep
    stepped = sampler.step(guided, timestep, reference["step.x"], lambda: reference["step.noise"])
    # At zero terminal SNR with eta 1 the reference takes the root of a rounding error; see its README.
    close = {"rtol": 1e-4, "atol": 2e-3} if "eta1" in variant and index == 49 else CLOSE
    torch.testing.assert_close(stepped, reference[f"{variant}.step{index}.x_prev"], **close)


@pytest.mark.parametrize(("steps", "instead"), [(334, 250), (501, 500), (600, 500), (1000, 500), (1001, 500)])
def test_steps_that_would_leave_out_much_of_the_noise_are_refused(steps, instead):
    with pytest.raises(ConfigError, match=rf"steps is {steps}.*; take {instead}"):
        DiffusionSettings().build().sampler(steps, CELLS)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30, 50, 90, 100, 150, 300, 333, 500])
def test_steps_that_are_taken_begin_in_the_noise(steps):
    """Not more than a tenth below where counts that divide the timesteps begin, within a stride of the end."""
    timesteps = DiffusionSettings().build().sampler(steps, CELLS).timesteps
    assert len(timesteps) == steps
    assert 900 - 1000 // steps < timesteps[0] < 1000
    assert timesteps[-1] == 1


def test_trailing_steps_can_be_as_many_as_there_are_timesteps():
    schedule = DiffusionSettings(timestep_spacing="trailing").build()
    assert schedule.sampler(1000, CELLS).timesteps[0] == 999
    for steps in (600, 1001):
        with pytest.raises(ConfigError, match="take 500"):
            schedule.sampler(steps, CELLS)


def test_a_guided_trajectory_is_the_references(reference, golden):
    """Fifty steps of a whole network: what a single step hides, adds up here."""
    arrays, state, meta = read_golden(golden / "dc_unet_tiny.safetensors")
    unet = load_lvdm_unet(state, meta["config"])
    beside, tokens = arrays["in.x_cat"][:1, 4:], arrays["in.image_tokens_perframe"][:1]
    texts = arrays["in.text"][:1], torch.zeros_like(arrays["in.text"][:1])
    sampler = DiffusionSettings().build().sampler(50, CELLS)
    x = reference["traj.x_T"]
    for index, timestep in zip(reversed(range(50)), sampler.timesteps, strict=True):  # the reference counts to 0
        with torch.no_grad():
            conditional, unconditional = (
                unet(torch.cat([x, beside], 1), timestep[None], torch.cat([text, tokens], 1), fps=8) for text in texts
            )
        guided = unconditional + 7.5 * (conditional - unconditional)
        x = sampler.step(guided, timestep, x, lambda: torch.zeros(()))
        if f"traj.x_after_step{index}" in reference:
            torch.testing.assert_close(x, reference[f"traj.x_after_step{index}"], **CLOSE)


def test_guidance_rescale_is_the_references(reference):
    ours = _rescaled(reference["rescale_cfg.noise_cfg"], reference["rescale_cfg.text"], 0.7)
    torch.testing.assert_close(ours, reference["rescale_cfg.out_0.7"], **CLOSE)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_steps_are_those_of_diffusers(prediction_type):
    settings = DiffusionSettings(prediction_type=prediction_type)
    sampler = settings.build().sampler(10, CELLS)
    theirs = DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=prediction_type,
        timestep_spacing="leading", steps_offset=1, clip_sample=False, set_alpha_to_one=False,
    )  # fmt: skip
    theirs.set_timesteps(10)
    rng = torch.Generator().manual_seed(0)
    ours_x = theirs_x = torch.randn(1, 4, 2, 4, 4, generator=rng)
    for timestep in sampler.timesteps:
        prediction = torch.randn(1, 4, 2, 4, 4, generator=rng)
        ours_x = sampler.step(prediction, timestep, ours_x, lambda: torch.zeros(()))
        theirs_x = theirs.step(prediction, timestep, theirs_x).prev_sample
    torch.testing.assert_close(ours_x, theirs_x, **CLOSE)


@pytest.mark.parametrize(
    "settings",
    SETTINGS,
    ids=["v", "epsilon", "scaled", "flow"],
)  # fmt: skip
def test_sampling_with_the_true_target_ends_at_the_clean_latents(settings):
    """Training's target and sampling's step agree: the exact prediction leads from noise to the clip."""
    schedule = settings.build()
    rng = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(1, 4, 2, 4, 4, generator=rng) for _ in range(2))
    sampler = schedule.sampler(50, CELLS)
    x = schedule.add_noise(clean, noise, sampler.timesteps[:1])
    for timestep in sampler.timesteps:
        target = schedule.target(clean, noise, timestep[None])
        x = sampler.step(target, timestep, x, lambda: torch.zeros(()))
    assert (x - clean).abs().max() < 0.15  # DDIM's last timestep is 1, not 0


@given(st.floats(0.1, 20), st.integers(0, 2**31))
def test_flow_draws_lie_inside_and_follow_their_shift(shift, seed):
    rng, again = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    plain, shifted = FlowSettings(density="uniform"), FlowSettings(density="uniform", shift=shift)
    sigma = plain.build().draw(CELLS, rng).double() / 1000
    timestep = shifted.build().draw(CELLS, again)
    assert 0 <= timestep <= 1000
    assert timestep.item() / 1000 == pytest.approx((shift * sigma / (1 + (shift - 1) * sigma)).item(), rel=1e-4)


def test_flow_noising_is_that_of_diffusers():
    scheduler = FlowMatchEulerDiscreteScheduler()
    schedule = FlowSettings().build()
    rng = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(2, 4, 2, 4, 4, generator=rng) for _ in range(2))
    timestep = scheduler.timesteps[[3, 700]]
    theirs = scheduler.scale_noise(clean, timestep, noise)
    torch.testing.assert_close(schedule.add_noise(clean, noise, timestep), theirs, **CLOSE)


def test_a_part_of_the_noise_can_be_trained_alone():
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    schedule = FlowSchedule(FlowSettings(), scheduler, trained=(0.9, 1.0))
    rng = torch.Generator().manual_seed(0)
    drawn = torch.stack([schedule.draw(CELLS, rng) for _ in range(50)])
    assert (drawn >= 900).all()
    assert (drawn < 1000).all()


def test_a_multistep_sampler_begins_anew_each_time():
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    schedule = FlowSchedule(FlowSettings(), scheduler)
    results = []
    for _ in range(2):
        sampler, x = schedule.sampler(4, CELLS), torch.ones(1, 4, 2, 4, 4)
        for timestep in sampler.timesteps:
            x = sampler.step(0.3 * x, timestep, x, lambda: torch.zeros(()))
        results.append(x)
    assert torch.equal(*results)


def test_flow_models_are_sampled_without_noise():
    with pytest.raises(ConfigError, match="eta is"):
        FlowSettings().build().sampler(4, CELLS, eta=0.5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"zero_terminal_snr": True, "prediction_type": "epsilon", "timestep_spacing": "trailing"}, "v_prediction"),
        ({"zero_terminal_snr": True}, "trailing"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        DiffusionSettings(**wrong)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("place", [0, 1, 25, 49])
def test_videocrafter2s_own_steps(place, eta):
    """lvdm's sampler with ``use_scale``, in float64: x_0 is divided by s_t, and the last step ends at s = 1."""
    schedule = DiffusionSettings(prediction_type="epsilon", signal_scale=0.7).build()
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = np.cumprod(1 - betas)
    scales = np.concatenate([np.linspace(1, 0.7, 400), np.full(600, 0.7)])
    times = np.arange(1, 1000, 20)[::-1]
    now, before = times[place], times[place + 1] if place < 49 else 0
    alpha, alpha_before = alphas[now], alphas[before]
    rng = np.random.default_rng(0)
    x, epsilon, fresh = rng.normal(size=(3, 1, 4, 2, 4, 4))
    sigma = eta * np.sqrt((1 - alpha_before) / (1 - alpha) * (1 - alpha / alpha_before))
    clean = (x - np.sqrt(1 - alpha) * epsilon) / np.sqrt(alpha) / scales[now]
    direction = np.sqrt(1 - alpha_before - sigma**2) * epsilon
    expected = np.sqrt(alpha_before) * scales[before] * clean + direction + sigma * fresh
    sampler = schedule.sampler(50, CELLS, eta)
    assert sampler.timesteps[place] == now
    got = sampler.step(
        torch.from_numpy(epsilon), sampler.timesteps[place], torch.from_numpy(x), lambda: torch.from_numpy(fresh)
    )
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=2e-5)
