#!/usr/bin/env python3
"""Write tests/data/vision: tiny CLIP, ControlNet and IP-Adapter files, and what the published modules make of them.

    python3 tests/tools/make_vision_samples.py CLIP DIFFUSERS

CLIP is a checkout of openai/CLIP, DIFFUSERS one of huggingface/diffusers v0.31.0; torch, numpy, PIL and what
diffusers needs have to be there. Weights are random numbers rounded to f16, which is how they are stored; everything
is computed in f32.
"""
import importlib.util
import json
import math
import os
import shutil
import struct
import sys
import types
from importlib.machinery import ModuleSpec

import numpy
import torch
from PIL import Image

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(TESTS, "data", "vision")
TINY = os.path.join(TESTS, "data", "sd1-tiny")
TYPES = {torch.float32: "F32", torch.float16: "F16", torch.uint8: "U8", torch.int32: "I32"}


def write(path, tensors):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    header, data = {}, b""
    for name in sorted(tensors):
        t = tensors[name].detach().contiguous()
        raw = t.numpy().tobytes()
        header[name] = {"dtype": TYPES[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    kinds = {"F32": numpy.float32, "F16": numpy.float16}
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    out = {}
    for name, e in header.items():
        start, end = e["data_offsets"]
        out[name] = torch.from_numpy(numpy.frombuffer(data[start:end], kinds[e["dtype"]]).reshape(e["shape"]).copy()).float()
    return out


def settle(module, seed, spread=1.0):
    """Random weights that keep activations of ordinary size, as f16 numbers."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.dim() > 1:
                fan = p[0].numel()
                p.copy_(torch.randn(p.shape, generator=g) * spread / math.sqrt(fan))
            elif name.endswith("weight"):
                p.copy_(1 + 0.1 * torch.randn(p.shape, generator=g))
            else:
                p.copy_(0.1 * torch.randn(p.shape, generator=g))
            p.copy_(p.half().float())
    return module.eval()


def half(tensors):
    return {name: t.half() for name, t in tensors.items()}


def noise(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------------------- CLIP

SIZE, PATCH, WIDTH, LAYERS, HEADS, SPACE, WORDS = 32, 8, 32, 2, 4, 24, 1000
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def picture(width, height):
    y, x = numpy.mgrid[0:height, 0:width]
    rgb = numpy.stack([127 + 127 * numpy.sin(x / 3.1), 255 * y / height, 127 + 100 * numpy.cos((x + 2 * y) / 7)], -1)
    rgb[height // 4 : height // 2, width // 3 : width // 2] = (255, 30, 0)
    return rgb.round().astype("uint8")


def prepare(array):
    """As transformers' CLIPImageProcessor with PIL."""
    image = Image.fromarray(array)
    w, h = image.size
    size = (int(SIZE * w / h), SIZE) if w > h else (SIZE, int(SIZE * h / w))
    image = numpy.asarray(image.resize(size, Image.BICUBIC))
    top, left = (image.shape[0] - SIZE) // 2, (image.shape[1] - SIZE) // 2
    image = image[top : top + SIZE, left : left + SIZE]
    image = (image * (1 / 255)).astype("float32")
    return torch.from_numpy((image - numpy.float32(MEAN)) / numpy.float32(DEVIATION))


def hf_vision(state):
    out = {}
    for name, t in state.items():
        if not name.startswith("visual."):
            continue
        name = name[len("visual."):]
        block = name.split(".")
        if name == "proj":
            out["visual_projection.weight"] = t.t()
        elif name == "class_embedding":
            out["vision_model.embeddings.class_embedding"] = t
        elif name == "positional_embedding":
            out["vision_model.embeddings.position_embedding.weight"] = t
        elif name == "conv1.weight":
            out["vision_model.embeddings.patch_embedding.weight"] = t
        elif block[0] == "ln_pre":
            out["vision_model.pre_layrnorm." + block[1]] = t
        elif block[0] == "ln_post":
            out["vision_model.post_layernorm." + block[1]] = t
        else:
            hf_block(out, "vision_model.", block[2], ".".join(block[3:]), t)
    return out


def hf_block(out, model, number, rest, t):
    place = f"{model}encoder.layers.{number}."
    names = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
             "attn.out_proj": "self_attn.out_proj"}
    if rest.startswith("attn.in_proj_"):
        for part, letter in zip(t.chunk(3), "qkv"):
            out[f"{place}self_attn.{letter}_proj.{rest[len('attn.in_proj_'):]}"] = part
        return
    for old, new in names.items():
        if rest.startswith(old + "."):
            out[place + new + rest[len(old):]] = t


def hf_text(state):
    out = {"text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
           "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
           "text_model.final_layer_norm.weight": state["ln_final.weight"],
           "text_model.final_layer_norm.bias": state["ln_final.bias"],
           "text_projection.weight": state["text_projection"].t(), "logit_scale": state["logit_scale"]}
    for name, t in state.items():
        if name.startswith("transformer.resblocks."):
            block = name.split(".")
            hf_block(out, "text_model.", block[2], ".".join(block[3:]), t)
    return out


def vision_outputs(visual, pixels, prefix):
    kept = []
    hooks = [b.register_forward_hook(lambda m, i, o: kept.append(o)) for b in visual.transformer.resblocks]
    with torch.no_grad():
        embeds = visual(pixels.permute(0, 3, 1, 2))
        pooled = visual.ln_post(kept[-1][0])
    for h in hooks:
        h.remove()
    return {prefix + "image_embeds": embeds, prefix + "last_hidden_state": kept[-1].permute(1, 0, 2),
            prefix + "penultimate": kept[-2].permute(1, 0, 2), prefix + "pooled": pooled}


def clip_model(checkout):
    spec = importlib.util.spec_from_file_location("clip_model", os.path.join(checkout, "clip", "model.py"))
    m = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(m)
    model = m.CLIP(SPACE, SIZE, LAYERS, 64, PATCH, 77, WORDS, WIDTH, HEADS, LAYERS)
    model.visual = m.VisionTransformer(SIZE, PATCH, WIDTH, LAYERS, HEADS, SPACE)
    settle(model, 1)
    with torch.no_grad():
        model.logit_scale.fill_(2.5)
        model.token_embedding.weight.mul_(5.0)
        model.token_embedding.weight.copy_(model.token_embedding.weight.half().float())
    return m, model.eval()


def clip(checkout):
    model = clip_model(checkout)[1]
    state = model.state_dict()
    golden, folder = {}, os.path.join(OUT, "clip-tiny")
    for i, (w, h) in enumerate(((61, 40), (20, 50))):
        array = picture(w, h)
        pixels = prepare(array)[None]
        golden[f"{i}.picture"] = torch.from_numpy(array)
        golden[f"{i}.pixels"] = pixels
        golden.update(vision_outputs(model.visual, pixels, f"{i}."))
    ids = torch.tensor([[998, 5, 17, 300, 999] + [999] * 72])
    with torch.no_grad():
        golden["text.ids"] = ids.int()
        golden["text.text_embeds"] = model.encode_text(ids)
    write(os.path.join(folder, "model.safetensors"), half({**hf_vision(state), **hf_text(state)}))
    towers = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": LAYERS,
              "num_attention_heads": HEADS, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
    config = {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": SPACE, "logit_scale_init_value": 2.6592,
              "text_config": {**towers, "vocab_size": WORDS, "max_position_embeddings": 77, "eos_token_id": 2,
                              "model_type": "clip_text_model"},
              "vision_config": {**towers, "image_size": SIZE, "patch_size": PATCH, "num_channels": 3,
                                "model_type": "clip_vision_model"}}
    prepared = {"crop_size": {"height": SIZE, "width": SIZE}, "do_center_crop": True, "do_convert_rgb": True,
                "do_normalize": True, "do_rescale": True, "do_resize": True,
                "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": MEAN, "image_std": DEVIATION, "resample": 3,
                "rescale_factor": 1 / 255, "size": {"shortest_edge": SIZE}}
    for name, value in (("config", config), ("preprocessor_config", prepared)):
        with open(os.path.join(folder, name + ".json"), "w") as f:
            json.dump(value, f, indent=2)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(os.path.join(TINY, "tokenizer", name), folder)
    # OpenCLIP's form: exact gelu, original names, no configuration.
    for block in model.visual.transformer.resblocks:
        block.mlp.gelu = torch.nn.GELU()
    golden.update(vision_outputs(model.visual, golden["0.pixels"], "openclip."))
    write(os.path.join(OUT, "openclip-tiny.safetensors"),
          half({name: t for name, t in state.items() if name.startswith("visual.")}))
    with open(os.path.join(OUT, "hints.json"), "w") as f:
        json.dump({"openclip-tiny": {"vision_heads": HEADS, "vision_activation": "gelu"},
                   "control-tiny-original": {"heads": 4, "groups": 8}, "control-tiny-diffusers": {"heads": 4, "groups": 8}}, f, indent=2)
    write(os.path.join(OUT, "clip.golden.safetensors"), golden)


# ------------------------------------------------------------------------------------------------- ControlNet

COMMON = {"sample_size": 8, "layers_per_block": 1, "block_out_channels": (16, 24), "norm_num_groups": 8, "cross_attention_dim": 32}
LARGE = {**COMMON, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "transformer_layers_per_block": (1, 2),
         "attention_head_dim": (2, 3), "use_linear_projection": True, "addition_embed_type": "text_time",
         "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 64}


def original_control(state):
    """lllyasviel's names of a ControlNet with two levels of one resnet, attention in the first."""
    out = {}
    swaps = [("controlnet_cond_embedding.conv_in", "input_hint_block.0"), ("controlnet_cond_embedding.blocks.0", "input_hint_block.2"),
             ("controlnet_cond_embedding.blocks.1", "input_hint_block.4"), ("controlnet_cond_embedding.conv_out", "input_hint_block.6"),
             ("controlnet_mid_block", "middle_block_out.0"), ("conv_in", "input_blocks.0.0"),
             ("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2"),
             ("down_blocks.0.resnets.0", "input_blocks.1.0"), ("down_blocks.0.attentions.0", "input_blocks.1.1"),
             ("down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op"), ("down_blocks.1.resnets.0", "input_blocks.3.0"),
             ("mid_block.resnets.0", "middle_block.0"), ("mid_block.attentions.0", "middle_block.1"),
             ("mid_block.resnets.1", "middle_block.2")]
    swaps += [(f"controlnet_down_blocks.{i}", f"zero_convs.{i}.0") for i in range(8)]
    inner = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
             "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
    for name, t in state.items():
        new = next(b + name[len(a):] for a, b in swaps if name.startswith(a + "."))
        if ".resnets." in name:
            leaf = name.split(".")[-2]
            new = new.replace("." + leaf + ".", "." + inner[leaf] + ".")
        out["control_model." + new] = t
    return out


def control(diffusers):
    golden = {}
    sets = {"control-tiny": dict(COMMON, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), attention_head_dim=4),
            "controlxl-tiny": LARGE}
    unet = diffusers.UNet2DConditionModel.from_config(json.load(open(os.path.join(TINY, "unet", "config.json"))))
    unet.load_state_dict(read(os.path.join(TINY, "unet", "diffusion_pytorch_model.safetensors")))
    unet.eval()
    for seed, (name, config) in enumerate(sets.items()):
        config.pop("sample_size", None)
        net = settle(diffusers.ControlNetModel(**config, conditioning_embedding_out_channels=(4, 8)), 10 + seed)
        inputs = {"sample": noise(20, 2, 4, 8, 6), "timestep": torch.tensor([701.0, 3.0]), "context": noise(21, 2, 7, 32),
                  "hint": (noise(22, 2, 3, 16, 12) / 4 + 0.5).clamp(0, 1)}
        added = None
        if name == "controlxl-tiny":
            inputs["text_embeds"], inputs["time_ids"] = noise(23, 2, 16), torch.tensor([[64.0, 48, 0, 8, 64, 48]] * 2)
            added = {"text_embeds": inputs["text_embeds"], "time_ids": inputs["time_ids"]}
        with torch.no_grad():
            down, mid = net(inputs["sample"], inputs["timestep"], inputs["context"], inputs["hint"], added_cond_kwargs=added,
                            return_dict=False)
            guess, guess_mid = net(inputs["sample"], inputs["timestep"], inputs["context"], inputs["hint"],
                                   added_cond_kwargs=added, guess_mode=True, conditioning_scale=0.7, return_dict=False)
            hint = net.controlnet_cond_embedding(inputs["hint"])
        golden.update({f"{name}.{k}": v for k, v in inputs.items()})
        golden[f"{name}.hint_embedding"] = hint
        golden.update({f"{name}.control_{i}": v for i, v in enumerate(down)})
        golden[f"{name}.control_mid"] = mid
        golden.update({f"{name}.guess_{i}": v for i, v in enumerate(guess)})
        golden[f"{name}.guess_mid"] = guess_mid
        if name == "control-tiny":
            with torch.no_grad():
                golden[f"{name}.unet"] = unet(inputs["sample"], inputs["timestep"], inputs["context"],
                                              down_block_additional_residuals=tuple(v * 0.8 for v in down),
                                              mid_block_additional_residual=mid * 0.8, return_dict=False)[0]
        folder = os.path.join(OUT, name)
        write(os.path.join(folder, "diffusion_pytorch_model.safetensors"), half(net.state_dict()))
        with open(os.path.join(folder, "config.json"), "w") as f:
            f.write(net.to_json_string())
        if name == "control-tiny":
            write(os.path.join(OUT, "control-tiny-original.safetensors"), half(original_control(net.state_dict())))
    write(os.path.join(OUT, "control.golden.safetensors"), golden)


# ------------------------------------------------------------------------------------------------- IP-Adapter

TOKENS, QUERIES, INNER, DEPTH = 4, 5, 16, 4


def adapter_layers(seed, channels):
    out = {}
    for i, c in enumerate(channels):
        for k, letter in enumerate("kv"):
            out[f"{2 * i + 1}.to_{letter}_ip.weight"] = noise(seed + 2 * i + k, c, 32) / math.sqrt(32)
    return out


def plus(seed):
    def matrix(i, rows, columns):
        return noise(seed + i, rows, columns) / math.sqrt(columns)

    def norm(i, width):
        return {"weight": 1 + noise(seed + i, width) / 10, "bias": noise(seed + i + 1, width) / 10}

    out = {"latents": noise(seed, 1, QUERIES, INNER), "proj_in.weight": matrix(1, INNER, WIDTH), "proj_in.bias": noise(seed + 2, INNER) / 10,
           "proj_out.weight": matrix(3, 32, INNER), "proj_out.bias": noise(seed + 4, 32) / 10}
    out.update({f"norm_out.{k}": v for k, v in norm(5, 32).items()})
    for d in range(DEPTH):
        at = 100 * (d + 1)
        for n, place in enumerate(("0.norm1", "0.norm2", "1.0")):
            out.update({f"layers.{d}.{place}.{k}": v for k, v in norm(at + 10 * n, INNER).items()})
        out[f"layers.{d}.0.to_q.weight"] = matrix(at + 50, 128, INNER)
        out[f"layers.{d}.0.to_kv.weight"] = matrix(at + 51, 256, INNER)
        out[f"layers.{d}.0.to_out.weight"] = matrix(at + 52, INNER, 128)
        out[f"layers.{d}.1.1.weight"] = matrix(at + 53, 4 * INNER, INNER)
        out[f"layers.{d}.1.3.weight"] = matrix(at + 54, INNER, 4 * INNER)
    return out


def full(seed):
    return {"proj.0.weight": noise(seed, WIDTH, WIDTH) / math.sqrt(WIDTH), "proj.0.bias": noise(seed + 1, WIDTH) / 10,
            "proj.2.weight": noise(seed + 2, 32, WIDTH) / math.sqrt(WIDTH), "proj.2.bias": noise(seed + 3, 32) / 10,
            "proj.3.weight": 1 + noise(seed + 4, 32) / 10, "proj.3.bias": noise(seed + 5, 32) / 10}


def adapter(diffusers):
    golden = {"sample": noise(40, 2, 4, 8, 6), "timestep": torch.tensor([701.0, 3.0]), "context": noise(41, 2, 7, 32)}
    simple = {"proj.weight": noise(50, TOKENS * 32, SPACE) / math.sqrt(SPACE), "proj.bias": noise(51, TOKENS * 32) / 10,
              "norm.weight": 1 + noise(52, 32) / 10, "norm.bias": noise(53, 32) / 10}
    sets = {"ip-tiny": (simple, noise(60, 2, SPACE)), "ipplus-tiny": (plus(1000), noise(61, 2, 17, WIDTH)),
            "ipfull-tiny": (full(70), noise(62, 2, 17, WIDTH))}
    for seed, (name, (projection, image)) in enumerate(sets.items()):
        unet = diffusers.UNet2DConditionModel.from_config(json.load(open(os.path.join(TINY, "unet", "config.json"))))
        unet.load_state_dict(read(os.path.join(TINY, "unet", "diffusion_pytorch_model.safetensors")))
        layers = adapter_layers(200 + 50 * seed, (16, 16, 16, 24))
        projection = {k: v.half().float() for k, v in projection.items()}
        layers = {k: v.half().float() for k, v in layers.items()}
        # The order of diffusers' processors: attn1 and attn2 by turns, down, up, middle.
        unet._load_ip_adapter_weights([{"image_proj": projection, "ip_adapter": layers}])
        unet.eval()
        for p in unet.attn_processors.values():
            if hasattr(p, "scale"):
                p.scale = [0.6]
                p.num_tokens = [17 if name == "ipfull-tiny" else p.num_tokens[0]]
        with torch.no_grad():
            golden[f"{name}.image"] = image
            golden[f"{name}.tokens"] = unet.encoder_hid_proj.image_projection_layers[0](image)
            golden[f"{name}.unet"] = unet(golden["sample"], golden["timestep"], golden["context"], return_dict=False,
                                          added_cond_kwargs={"image_embeds": [image[:, None]]})[0]
        flat = {"image_proj." + k: v for k, v in projection.items()}
        flat.update({"ip_adapter." + k: v for k, v in layers.items()})
        write(os.path.join(OUT, name + ".safetensors"), half(flat))
        if name == "ip-tiny":
            torch.save({"image_proj": half(projection), "ip_adapter": half(layers)}, os.path.join(OUT, name + ".bin"))
    write(os.path.join(OUT, "ip.golden.safetensors"), golden)


# ------------------------------------------------------------------------------------------------- whole drawings

def steered(diffusers, checkout):
    """Drawings of sd1-tiny from given contexts, steered: the loop of diffusers' pipelines, without text encoders."""
    def load(cls, part):
        folder = os.path.join(TINY, part)
        model = cls.from_config(json.load(open(os.path.join(folder, "config.json"))))
        model.load_state_dict(read(os.path.join(folder, "diffusion_pytorch_model.safetensors")))
        return model.eval()

    visual = clip_model(checkout)[1].visual
    vae = load(diffusers.AutoencoderKL, "vae")
    net = diffusers.ControlNetModel.from_config(json.load(open(os.path.join(OUT, "control-tiny", "config.json"))))
    net.load_state_dict(read(os.path.join(OUT, "control-tiny", "diffusion_pytorch_model.safetensors")))
    net.eval()
    steps, cfg, seed, size = 5, 3.0, 77, (32, 24)
    context, negative = noise(90, 1, 7, 32), noise(91, 1, 7, 32)
    hint, other = picture(24, 32), picture(61, 40)
    golden = {"context": context, "negative": negative, "hint": torch.from_numpy(hint), "picture": torch.from_numpy(other)}
    cond = torch.from_numpy(hint).float().permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        embeds = visual(prepare(other)[None].permute(0, 3, 1, 2))
    flat = read(os.path.join(OUT, "ip-tiny.safetensors"))
    parts = {k: {n[len(k) + 1:]: t for n, t in flat.items() if n.startswith(k + ".")} for k in ("image_proj", "ip_adapter")}
    cases = {"plain": {}, "control": {"control": 0.8, "span": (0.0, 0.7)}, "late": {"control": 1.0, "span": (0.4, 1.0)},
             "guess": {"control": 1.0, "guess": True}, "image": {"image": 0.6}, "both": {"control": 0.5, "image": 0.9}}
    for name, case in cases.items():
        unet = load(diffusers.UNet2DConditionModel, "unet")
        if "image" in case:
            unet._load_ip_adapter_weights([parts])
            for p in unet.attn_processors.values():
                if hasattr(p, "scale"):
                    p.scale = [case["image"]]
        scheduler = diffusers.PNDMScheduler.from_config(json.load(open(os.path.join(TINY, "scheduler", "scheduler_config.json"))))
        scheduler.set_timesteps(steps)
        x = torch.randn((1, 4, size[0] // 2, size[1] // 2), generator=torch.Generator().manual_seed(seed))
        both = torch.cat([negative, context])
        start, end = case.get("span", (0.0, 1.0))
        count = len(scheduler.timesteps)
        with torch.no_grad():
            for i, t in enumerate(scheduler.timesteps):
                twice, more = torch.cat([x] * 2), {}
                if "image" in case:
                    more["added_cond_kwargs"] = {"image_embeds": [torch.cat([torch.zeros_like(embeds), embeds])[:, None]]}
                if "control" in case:
                    strength = case["control"] if not (i / count < start or (i + 1) / count > end) else 0.0
                    guess = case.get("guess", False)
                    inputs = (x, t, context, cond) if guess else (twice, t, both, torch.cat([cond] * 2))
                    down, mid = net(*inputs, conditioning_scale=strength, guess_mode=guess, return_dict=False)
                    if guess:
                        down, mid = [torch.cat([torch.zeros_like(d), d]) for d in down], torch.cat([torch.zeros_like(mid), mid])
                    more["down_block_additional_residuals"], more["mid_block_additional_residual"] = down, mid
                blank, told = unet(twice, t, both, return_dict=False, **more)[0].chunk(2)
                x = scheduler.step(blank + cfg * (told - blank), t, x, return_dict=False)[0]
            image = vae.decode(x / vae.config.scaling_factor, return_dict=False)[0]
        golden[name] = (image / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0)
    write(os.path.join(OUT, "steered.golden.safetensors"), golden)


def varied(diffusers, checkout):
    """Drawings of an unCLIP model from given contexts: the loop of StableUnCLIPImg2ImgPipeline."""
    folder = os.path.join(OUT, "unclip-tiny")
    unet = settle(diffusers.UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=32,
        attention_head_dim=(2, 2), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), use_linear_projection=True, class_embed_type="projection",
        projection_class_embeddings_input_dim=2 * SPACE), 95)
    mean, std = noise(96, 1, SPACE).half().float() / 4, (1 + noise(97, 1, SPACE).abs()).half().float()
    config = {"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
              "num_train_timesteps": 1000, "prediction_type": "v_prediction", "set_alpha_to_one": False, "skip_prk_steps": True,
              "steps_offset": 1, "timestep_spacing": "leading"}
    os.makedirs(os.path.join(folder, "scheduler"), exist_ok=True)
    for path, value in (("scheduler/scheduler_config.json", config),
                        ("model_index.json", {"_class_name": "StableUnCLIPImg2ImgPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
                                              "image_normalizer": ["stable_diffusion", "StableUnCLIPImageNormalizer"],
                                              "scheduler": ["diffusers", "PNDMScheduler"]})):
        with open(os.path.join(folder, path), "w") as f:
            json.dump(value, f, indent=2)
    write(os.path.join(folder, "unet", "diffusion_pytorch_model.safetensors"), half(unet.state_dict()))
    with open(os.path.join(folder, "unet", "config.json"), "w") as f:
        f.write(unet.to_json_string())
    write(os.path.join(folder, "image_normalizer", "diffusion_pytorch_model.safetensors"), {"mean": mean, "std": std})
    vae = diffusers.AutoencoderKL.from_config(json.load(open(os.path.join(TINY, "vae", "config.json"))))
    vae.load_state_dict(read(os.path.join(TINY, "vae", "diffusion_pytorch_model.safetensors")))
    vae.eval()
    visual, other = clip_model(checkout)[1].visual, picture(61, 40)
    context, negative = noise(90, 1, 7, 32), noise(91, 1, 7, 32)
    golden = {"context": context, "negative": negative, "picture": torch.from_numpy(other)}
    from diffusers.models.embeddings import get_timestep_embedding
    for level in (0, 250):
        generator = torch.Generator().manual_seed(78)
        noising = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")
        scheduler = diffusers.PNDMScheduler.from_config(config)
        scheduler.set_timesteps(5)
        with torch.no_grad():
            embeds = visual(prepare(other)[None].permute(0, 3, 1, 2))
            at = torch.tensor([level])
            embeds = noising.add_noise((embeds - mean) / std, torch.randn(embeds.shape, generator=generator), at) * std + mean
            labels = torch.cat([embeds, get_timestep_embedding(at, SPACE, flip_sin_to_cos=True, downscale_freq_shift=0)], 1)
            x = torch.randn((1, 4, 16, 12), generator=generator)
            for t in scheduler.timesteps:
                out = unet(torch.cat([x] * 2), t, torch.cat([negative, context]), return_dict=False,
                           class_labels=torch.cat([torch.zeros_like(labels), labels]))[0]
                blank, told = out.chunk(2)
                x = scheduler.step(blank + 3.0 * (told - blank), t, x, return_dict=False)[0]
            image = vae.decode(x / vae.config.scaling_factor, return_dict=False)[0]
        golden[f"level_{level}"] = (image / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0)
        golden[f"labels_{level}"] = labels
    write(os.path.join(OUT, "varied.golden.safetensors"), golden)


def load_diffusers(checkout):
    stub = types.ModuleType("safetensors")
    stub.torch = types.ModuleType("safetensors.torch")
    stub.torch.load_file = stub.torch.save_file = stub.safe_open = None
    for m in (stub, stub.torch):
        m.__spec__ = ModuleSpec(m.__name__, None)
        sys.modules.setdefault(m.__name__, m)
    sys.path.insert(0, os.path.join(checkout, "src"))
    import diffusers
    return diffusers


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    clip(sys.argv[1])
    library = load_diffusers(sys.argv[2])
    control(library)
    adapter(library)
    steered(library, sys.argv[1])
    varied(library, sys.argv[1])
    Image.fromarray(picture(61, 40)).save(os.path.join(OUT, "picture.png"))
    Image.fromarray(picture(24, 32)).save(os.path.join(OUT, "hint.png"))
