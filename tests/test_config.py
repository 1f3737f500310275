"""Configs: every key is known, every value is checked, and what is resolved can be read back."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from motionfocal.errors import ConfigError
from motionfocal.training.config import TrainingConfig, dump_config, load_config, recipe


def test_defaults_are_the_papers():
    config = TrainingConfig()
    assert (config.loss.weighting, config.loss.strength) == ("paper", 1.0)
    assert config.model.schedule.prediction_type == "v_prediction"
    assert config.model.schedule.beta_schedule == "scaled_linear"
    assert config.text_dropout == 0.1
    assert (config.motion.midpoint, config.motion.steepness) == (0.05, 100.0)


@pytest.mark.parametrize("name", ["sprites", "clips"])
def test_shipped_recipes_are_valid_and_round_trip(name, tmp_path):
    config = load_config(recipe(name))
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config
    assert load_config(path).fingerprint() == config.fingerprint()


BAD = {
    "loss.strenght=2": "loss.strenght: unknown key",
    "lr=1": "lr: unknown key",
    "steps=0": "steps",
    "loss.weighting=fast": "loss.weighting",
    "data.kind=tarball": "data",
    "data.world.size=3": "data.world.size",
    "model.famly=compact": "model.famly: unknown key",
    "motion.flor=1": "motion.flor: unknown key",
    "motion.estimator=raft_huge": "raft_huge",
    "motion.scale=-3": "motion.scale",
    "steps.more=1": "steps",
    "steps": "KEY=VALUE",
    "text_dropout=1": "text_dropout",
    "loss.strength=.inf": "loss.strength: Input should be a finite number",
    "image_noise=.nan": "image_noise: Input should be a finite number",
    "optimizer.betas=[2, 3]": "optimizer.betas.0",
    "optimizer.betas=[1.0, 0.9]": "optimizer.betas.0: Input should be less than 1",
    "model.family=compat": "model.family: there is no compat; choose one of cogvideox, compact, dit3d",
}


@pytest.mark.parametrize(("override", "named"), BAD.items(), ids=BAD)
def test_a_wrong_key_or_value_is_named(override, named):
    base = [] if override.startswith("steps") else ["steps=100"]
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        load_config(None, [*base, "data.kind=sprites", "model.family=compact", override])


def test_an_error_names_the_change_that_it_is_of_and_not_the_file(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("stepz: 3")
    with pytest.raises(ConfigError) as caught:
        load_config(mine, ["steps=5", "loss.strenght=2", "optimizer=3"])
    assert set(str(caught.value).split("; ")) >= {
        f"{mine}: stepz: unknown key", "--set loss.strenght=2: loss.strenght: unknown key",
    }  # fmt: skip
    assert "--set optimizer=3: optimizer: " in str(caught.value)
    with pytest.raises(ConfigError, match=r"^--set steps=10, --set seed=3: optimizer\.warmup_steps is"):
        load_config(recipe("sprites"), ["steps=10", "seed=3"])
    with pytest.raises(ConfigError, match=r"^--set motion\.source=difference: motion: floor: no effect"):
        load_config(None, ["steps=900", "motion.floor=0.4", "motion.source=difference"])


MISSING = {
    "model.width=64": "config: model.family: missing; choose one of cogvideox, compact, dit3d",
    "data.frames=8": "config: data.kind: missing; choose one of sprites, folder",
    "model={family: dit3d, schedule: {shift: 3}}": "model.schedule.kind: missing; choose one of diffusion, flow",
}


@pytest.mark.parametrize(("override", "said"), MISSING.items(), ids=MISSING)
def test_a_group_that_does_not_say_what_it_is_is_told_the_choices(override, said):
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        load_config(None, [override])


def test_a_value_that_is_none_of_several_things_is_named_once():
    with pytest.raises(ConfigError) as raised:
        load_config(None, ["motion.scale=foo"])
    assert str(raised.value) == (
        "--set motion.scale=foo: motion.scale: Input should be 'robust', 'clip_max' or 'diagonal', or Input should be"
        " a valid number, unable to parse string as a number"
    )


def test_settings_that_would_do_nothing_are_refused():
    with pytest.raises(ConfigError, match="no effect"):
        load_config(None, ["loss.weighting=none", "loss.strength=2"])
    with pytest.raises(ConfigError, match="warmup_steps"):
        load_config(None, ["steps=10", "optimizer.warmup_steps=20"])


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1, 2")
    with pytest.raises(ConfigError, match=r"broken\.yaml: not YAML"):
        load_config(broken)
    broken.write_text("- a\n- b")
    with pytest.raises(ConfigError, match="mapping"):
        load_config(broken)
    with pytest.raises(ConfigError, match="recipes: clips, cogvideox-5b-i2v"):
        recipe("nonsense")


@given(strength=st.floats(0, 100), seed=st.integers(0, 2**31), decay=st.sampled_from(["constant", "cosine"]))
@settings(max_examples=25)
def test_overrides_reach_their_keys(strength, seed, decay):
    config = load_config(None, [f"loss.strength={strength}", f"seed={seed}", f"optimizer.decay={decay}"])
    assert (config.loss.strength, config.seed, config.optimizer.decay) == (strength, seed, decay)
    assert TrainingConfig.model_validate(yaml.safe_load(dump_config(config))) == config
