"""Checkouts of the official projects as far as an adapter sees them: stand-in programs, configs, empty weights."""

import shutil
from pathlib import Path

import yaml

STAND_INS = Path(__file__).parent / "stand_ins"

CINEMO = {
    "ckpt": None, "save_img_path": "./sample_videos/", "pretrained_model_path": "maxin-cn/Cinemo", "model": "UNet",
    "video_length": 15, "image_size": [320, 512], "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear",
    "use_compile": False, "use_fp16": True, "seed": None, "run_time": 0, "use_dct": True, "guidance_scale": 7.5,
    "motion_bucket_id": 95, "sample_method": "DDIM", "num_sampling_steps": 50, "enable_vae_temporal_decoder": True,
    "image_prompts": [["aircraft.jpg", "aircrafts flying"]],
}  # fmt: skip
SEINE = {
    "ckpt": "pretrained/seine.pt", "pretrained_model_path": "pretrained/stable-diffusion-v1-4/",
    "input_path": "input/i2v/a.png", "save_path": "./results/i2v/", "model": "UNet", "num_frames": 16,
    "image_size": [240, 560], "use_fp16": True, "enable_xformers_memory_efficient_attention": True, "seed": None,
    "run_time": 13, "cfg_scale": 8.0, "sample_method": "ddpm", "num_sampling_steps": 250, "text_prompt": [],
    "additional_prompt": ", slow motion.", "negative_prompt": "", "do_classifier_free_guidance": True,
    "mask_type": "first1", "use_mask": True,
}  # fmt: skip
ANIMATE_ANYTHING = {
    "pretrained_model_path": "output/latent/animate_anything_512_v1.02", "motion_mask": True, "motion_strength": True,
    "seed": None, "output_dir": "./output/latent",
    "validation_data": {
        "prompt": "a girl moves hands", "prompt_image": "output/example/girl4.jpg", "sample_preview": True,
        "num_frames": 16, "width": 512, "height": 512, "num_inference_steps": 25, "guidance_scale": 9,
    },
}  # fmt: skip
CONSISTI2V = {
    "output_dir": "samples/inference", "output_name": "i2v", "pretrained_model_path": "TIGER-Lab/ConsistI2V",
    "unet_path": None, "unet_ckpt_prefix": "module.", "pipeline_pretrained_path": None,
    "sampling_kwargs": {
        "height": 256, "width": 256, "n_frames": 16, "steps": 50, "ddim_eta": 0.0, "guidance_scale_txt": 7.5,
        "guidance_scale_img": 1.0, "guidance_rescale": 0.0, "num_videos_per_prompt": 1, "frame_stride": 3,
    },
    "frameinit_kwargs": {"enable": True, "camera_motion": None, "noise_level": 850},
}  # fmt: skip

PROGRAMS = {
    "cinemo": {"cinemo.py": "pipelines/animation.py"},
    "seine": {"seine.py": "sample_scripts/with_mask_sample.py"},
    "cond-leak": {
        "cond_leak.py": "scripts/evaluation/inference.py",
        "ddp_wrapper.py": "scripts/evaluation/ddp_wrapper.py",
        "torch_launch.py": "torch/distributed/launch.py",
    },
    "ti2v-zero": {"ti2v_zero.py": "demo_img2vid.py"},
    "animate-anything": {"animate_anything.py": "train.py"},
    "consisti2v": {"consisti2v.py": "scripts/animate.py"},
}
CONFIGS = {
    "cinemo": {"configs/sample.yaml": CINEMO},
    "seine": {"configs/sample_i2v.yaml": SEINE},
    "cond-leak": {"configs/inference_512_v1.0.yaml": {"model": {}}},
    "animate-anything": {"output/latent/animate_anything_512_v1.02/config.yaml": ANIMATE_ANYTHING},
    "consisti2v": {"configs/inference/inference.yaml": CONSISTI2V},
}
FILES = {
    "cinemo": ["animated_images/car.jpg"],
    "seine": ["pretrained/seine.pt", "pretrained/stable-diffusion-v1-4/model_index.json"],
    "cond-leak": ["ckpt/finetuned/timenoise.ckpt", "ckpt/initial_noise_512.pt", "torch/__init__.py",
                  "torch/distributed/__init__.py"],
    "ti2v-zero": ["weights/configuration.json"],
}  # fmt: skip
"""Weights, and what else must be there."""


def make_checkout(name: str, folder: Path) -> Path:
    """A checkout of a project at ``folder``, for the interpreter that runs the tests."""
    root = folder / "examples" / "DynamiCrafter" if name == "cond-leak" else folder
    for source, target in ({"paint.py": "paint.py"} | PROGRAMS[name]).items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(STAND_INS / source, root / target)
    for target, content in CONFIGS.get(name, {}).items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        (root / target).write_text(yaml.safe_dump(content))
    for target in FILES.get(name, []):
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        (root / target).touch()
    return folder
