#!/usr/bin/env python3
"""Write the tiny upscalers of tests/data/upscale, each with a picture and what the published module makes of it.

    python3 tests/tools/make_upscale_samples.py PATH_OF_SPANDREL

PATH_OF_SPANDREL is the folder that holds the package `spandrel` (github.com/chaiNNer-org/spandrel,
libs/spandrel): its modules are those of the papers' authors, and only they decide what is right here. Needs torch.
Weights are random, with every norm and statistic away from its start. NAME.safetensors is the network as a user has
it, NAME.case.safetensors holds `input` and `output` [1,C,H,W].
"""
import importlib
import json
import os
import struct
import sys
import types

import torch
from torch import nn

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "upscale")
TYPES = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64"}


def write(name, tensors):
    header, offset, blobs = {}, 0, []
    for key, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        blob = tensor.numpy().tobytes()
        header[key] = {"dtype": TYPES[tensor.dtype], "shape": list(tensor.shape),
                       "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.join(DATA, name + ".safetensors")
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    print("%-28s %7d bytes" % (name, os.path.getsize(path)))


def stand_in(name, path=None, **members):
    """A module that is not run: only what is asked for below it is loaded."""
    module = types.ModuleType(name)
    if path:
        module.__path__ = [path]
    module.__dict__.update(members)
    sys.modules[name] = module


def rearrange(x, pattern, h=None, w=None):
    """The two patterns of einops that are used."""
    if pattern == "b c h w -> b (h w) c":
        return x.flatten(2).transpose(1, 2)
    assert pattern == "b (h w) c -> b c h w"
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], h, w)


class Rearrange(nn.Module):
    def __init__(self, pattern):
        super().__init__()
        self.pattern = pattern

    def forward(self, x):
        return rearrange(x, self.pattern)


def published(root, architecture, module):
    base = "spandrel.architectures." + architecture
    folder = os.path.join(root, "spandrel", "architectures", architecture)
    if base not in sys.modules:
        stand_in(base, folder)
        stand_in(base + ".__arch", os.path.join(folder, "__arch"))
    return importlib.import_module(base + ".__arch." + module)


def randomise(model):
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        leaf = name.rsplit(".", 1)[-1]
        if not tensor.dtype.is_floating_point or leaf in ("rpe_biases", "attn_mask", "attn_mask_0", "attn_mask_1",
                                                          "no_norm"):
            continue
        with torch.no_grad():
            if leaf == "running_var":
                tensor.uniform_(0.5, 1.5)
            elif leaf == "temperature":
                tensor.uniform_(1, 3)
            elif tensor.dim() > 1:
                fan = tensor[0].numel()
                tensor.normal_(0, 0.8 / fan ** 0.5 if leaf != "relative_position_bias_table" else 0.5)
            elif leaf == "weight":
                tensor.uniform_(0.3, 1.2)
            else:
                tensor.normal_(0, 0.1)


def make(name, model, channels=3, height=12, width=9, rename=None, wrap=""):
    randomise(model)
    model.eval()
    picture = torch.rand(1, channels, height, width)
    with torch.no_grad():
        result = model(picture.clone())
        result = model(picture.clone())
    weights = {wrap + (rename(k) if rename else k): v for k, v in model.state_dict().items()}
    write(name, weights)
    write(name + ".case", {"input": picture, "output": result})


def esrgan_names(blocks, doublings, real):
    """From the numbers of the old naming to the words of the other two."""
    outer = {"model.0": "conv_first", "model.1.sub.%d" % blocks: "conv_body" if real else "trunk_conv"}
    for i in range(1, doublings + 1):
        outer["model.%d" % (3 * i)] = ("conv_up%d" if real else "upconv%d") % i
    outer["model.%d" % (3 * doublings + 2)] = "conv_hr" if real else "HRconv"
    outer["model.%d" % (3 * doublings + 4)] = "conv_last"

    def rename(key):
        stem, leaf = key.rsplit(".", 1)
        if stem in outer:
            return outer[stem] + "." + leaf
        parts = key.split(".")  # model.1.sub.N.RDBk.convj.0.leaf
        assert parts[6] == "0"
        if real:
            return "body.%s.%s.%s.%s" % (parts[3], parts[4].lower(), parts[5], leaf)
        return "RRDB_trunk.%s.%s.%s.%s" % (parts[3], parts[4], parts[5], leaf)

    return rename


def make_esrgan(root):
    rrdb = published(root, "ESRGAN", "RRDB")
    blocks = sys.modules["spandrel.architectures.__arch_helpers.block"]
    original = blocks.RRDB
    blocks.RRDB = lambda **options: original(**{**options, "gc": 4})
    small = dict(num_filters=8, num_blocks=2)
    make("esrgan-old-x4", rrdb.RRDBNet(scale=4, **small))
    make("esrgan-plus-x2", rrdb.RRDBNet(scale=2, plus=True, **small))
    make("esrgan-bsrgan-x2", rrdb.RRDBNet(scale=2, **small), rename=esrgan_names(2, 1, False))
    make("esrgan-real-x2", rrdb.RRDBNet(scale=4, in_nc=12, shuffle_factor=2, **small), height=11,
         rename=esrgan_names(2, 2, True), wrap="params_ema.")
    make("esrgan-real-x1", rrdb.RRDBNet(scale=4, in_nc=48, shuffle_factor=4, **small), height=14, width=17,
         rename=esrgan_names(2, 2, True))
    blocks.RRDB = original


def make_plain(root):
    srvgg = published(root, "Compact", "SRVGG")
    make("compact-x3", srvgg.SRVGGNetCompact(num_feat=8, num_conv=3, upscale=3))
    make("compact-gray-x2", srvgg.SRVGGNetCompact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=2, upscale=2),
         channels=1)
    span = published(root, "SPAN", "span")
    make("span-x2", span.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=6, upscale=2))
    make("span-plain-x4", span.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=5, upscale=4, norm=False))
    plksr = published(root, "PLKSR", "RealPLKSR")
    make("realplksr-x2", plksr.RealPLKSR(dim=16, n_blocks=2, upscaling_factor=2, kernel_size=7))
    make("realplksr-norm-x4", plksr.RealPLKSR(dim=8, n_blocks=2, upscaling_factor=4, kernel_size=5,
                                              split_ratio=0.5, use_ea=False, layer_norm=True))


def shrink_tail(model, module, features, upscale):
    """The features of the published ends are fixed at 64; here fewer, so that the file stays small."""
    model.conv_before_upsample = nn.Sequential(nn.Conv2d(model.embed_dim, features, 3, 1, 1), nn.LeakyReLU(inplace=True))
    if hasattr(model, "conv_up1"):
        for name in ("conv_up1", "conv_up2", "conv_hr"):
            setattr(model, name, nn.Conv2d(features, features, 3, 1, 1))
    else:
        model.upsample = module.Upsample(upscale, features)
    model.conv_last = nn.Conv2d(features, 3, 3, 1, 1)
    return model


def make_transformers(root):
    swin = published(root, "SwinIR", "SwinIR")
    small = dict(img_size=8, embed_dim=12, depths=[2, 2], num_heads=[2, 3], window_size=4, mlp_ratio=2)
    model = swin.SwinIR(upscale=4, upsampler="pixelshuffle", **small)
    make("swinir-classical-x4", shrink_tail(model, swin, 8, 4), height=10, width=9)
    make("swinir-light-x3", swin.SwinIR(upscale=3, upsampler="pixelshuffledirect", **small))
    model = swin.SwinIR(upscale=4, upsampler="nearest+conv", resi_connection="3conv", **small)
    make("swinir-real-x4", shrink_tail(model, swin, 8, 4))
    make("swinir-restore-x1", swin.SwinIR(upscale=1, upsampler="", **{**small, "window_size": 7, "img_size": 14, "img_range": 255.0}),
         height=16, width=20)
    dat = published(root, "DAT", "DAT")
    small = dict(img_size=8, embed_dim=32, split_size=[2, 4], depth=[3, 1], num_heads=[2, 4], expansion_factor=1.0)
    make("dat-x2", shrink_tail(dat.DAT(upscale=2, **small), dat, 8, 2), height=10, width=9)
    make("dat-light-x3", dat.DAT(upscale=3, upsampler="pixelshuffledirect", resi_connection="3conv",
                                 **{**small, "split_size": [4, 2], "depth": [1, 2]}), height=8, width=8)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = sys.argv[1]
    architectures = os.path.join(root, "spandrel", "architectures")
    stand_in("spandrel", os.path.join(root, "spandrel"))
    stand_in("spandrel.architectures", architectures)
    stand_in("spandrel.architectures.__arch_helpers", os.path.join(architectures, "__arch_helpers"))
    stand_in("einops", rearrange=rearrange)
    stand_in("einops.layers", "")
    stand_in("einops.layers.torch", Rearrange=Rearrange)
    os.makedirs(DATA, exist_ok=True)
    torch.manual_seed(20250101)
    make_esrgan(root)
    make_plain(root)
    make_transformers(root)


main()
