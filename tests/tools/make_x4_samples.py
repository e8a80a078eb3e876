#!/usr/bin/env python3
"""Write tests/data/x4-tiny: a tiny model of the x4 upscaler's kind, and what StableDiffusionUpscalePipeline makes with it.

    python3 tests/tools/make_x4_samples.py DIFFUSERS [X4UNET]

DIFFUSERS is a checkout of huggingface/diffusers v0.31.0; torch, numpy and PIL have to be there. X4UNET is a folder with
another UNet of that kind (x4unet-tiny of the golden set), which is drawn with as well. Text encoder and tokenizer are those
of sd1-tiny. Weights are random numbers rounded to f16; everything is computed in f32. The loop is the pipeline's own, from
given contexts: noise on the small picture, start noise, then denoising with both side by side.
"""
import json
import os
import sys

import torch

from make_vision_samples import TESTS, half, load_diffusers, noise, picture, read, settle, write

OUT = os.path.join(TESTS, "data", "x4-tiny")
STEPS, CFG, LEVEL, SEED = 5, 4.0, 20, 55
SCHEDULER = {"_class_name": "DDIMScheduler", "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "scaled_linear",
             "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "v_prediction", "set_alpha_to_one": False,
             "steps_offset": 1}
LOW = {"_class_name": "DDPMScheduler", "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "scaled_linear",
       "clip_sample": True, "num_train_timesteps": 1000, "prediction_type": "epsilon", "variance_type": "fixed_small"}
INDEX = {"_class_name": "StableDiffusionUpscalePipeline", "max_noise_level": 90,
         "low_res_scheduler": ["diffusers", "DDPMScheduler"], "scheduler": ["diffusers", "DDIMScheduler"],
         "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
         "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}


def put(name, value):
    path = os.path.join(OUT, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(value if isinstance(value, str) else json.dumps(value, indent=2))


def draw(diffusers, unet, vae, small, context, negative):
    """Of steps 5 to 10 of StableDiffusionUpscalePipeline.__call__."""
    generator = torch.Generator().manual_seed(SEED)
    low, scheduler = diffusers.DDPMScheduler.from_config(LOW), diffusers.DDIMScheduler.from_config(SCHEDULER)
    scheduler.set_timesteps(STEPS)
    level = torch.tensor([LEVEL], dtype=torch.long)
    image = torch.from_numpy(small).float().permute(2, 0, 1)[None] / 255 * 2 - 1
    image = low.add_noise(image, torch.randn(image.shape, generator=generator), level)
    x = torch.randn((1, 4, *image.shape[2:]), generator=generator) * scheduler.init_noise_sigma
    with torch.no_grad():
        for t in scheduler.timesteps:
            both = torch.cat([scheduler.scale_model_input(torch.cat([x] * 2), t), torch.cat([image] * 2)], dim=1)
            out = unet(both, t, torch.cat([negative, context]), class_labels=torch.cat([level] * 2), return_dict=False)[0]
            blank, told = out.chunk(2)
            x = scheduler.step(blank + CFG * (told - blank), t, x, return_dict=False)[0]
        large = vae.decode(x / vae.config.scaling_factor, return_dict=False)[0]
    return (large / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0)


def main():
    diffusers = load_diffusers(sys.argv[1])
    unet = settle(diffusers.UNet2DConditionModel(
        sample_size=16, in_channels=7, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        cross_attention_dim=32, attention_head_dim=2, num_class_embeds=100, only_cross_attention=(True, False),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        use_linear_projection=True), 61)
    vae = settle(diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8), norm_num_groups=4, layers_per_block=1, latent_channels=4, scaling_factor=0.08333,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3), 62, 0.7)
    small, context, negative = picture(17, 14), noise(90, 1, 7, 32), noise(91, 1, 7, 32)
    golden = {"small": torch.from_numpy(small), "context": context, "negative": negative}
    golden["large"] = draw(diffusers, unet, vae, small, context, negative)
    if len(sys.argv) > 2:
        other = diffusers.UNet2DConditionModel.from_config(json.load(open(os.path.join(sys.argv[2], "config.json"))))
        other.load_state_dict(read(os.path.join(sys.argv[2], "diffusion_pytorch_model.safetensors")))
        golden["x4unet_large"] = draw(diffusers, other.eval(), vae, small, context, negative)
    write(os.path.join(OUT, "golden.safetensors"), golden)
    for part, model in (("unet", unet), ("vae", vae)):
        write(os.path.join(OUT, part, "diffusion_pytorch_model.safetensors"), half(model.state_dict()))
        put(part + "/config.json", model.to_json_string())
    put("scheduler/scheduler_config.json", SCHEDULER)
    put("low_res_scheduler/scheduler_config.json", LOW)
    put("model_index.json", INDEX)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
