#!/usr/bin/env python3
"""Write the LoRA files of tests/data/lora and what each makes of its weights, computed with torch from the papers' definitions.

    python3 tests/tools/make_lora_samples.py

Three modules are adapted, linear [12,8], conv [6,4,3,3] and norm [4], at a strength of 0.7. expected.safetensors holds the
weights as they are ("base.linear") and as each file leaves them ("loha.linear").
"""
import json
import os
import struct

import torch

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "lora")
STRENGTH = 0.7
LINEAR = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONV = "mid_block.resnets.0.conv1"
NORM = "mid_block.resnets.0.norm1"
torch.manual_seed(5)

BASE = {
    "linear": torch.randn(12, 8),
    "conv": torch.randn(6, 4, 3, 3),
    "norm": torch.randn(4),
    "conv_bias": torch.randn(6),
    "norm_bias": torch.randn(4),
}
expected = {"base." + k: v for k, v in BASE.items()}


def write(path, tensors, metadata=None):
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name in sorted(tensors):
        t = tensors[name].contiguous()
        raw = t.numpy().tobytes()
        kind = {torch.float32: "F32", torch.bool: "BOOL"}[t.dtype]
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def kohya(module):
    return "lora_unet_" + module.replace(".", "_")


def save(case, tensors, changed, metadata=None):
    write(os.path.join(DATA, case + ".safetensors"), tensors, metadata)
    for name, delta in changed.items():
        expected[f"{case}.{name}"] = BASE[name] + STRENGTH * delta


def rand(*shape):
    return torch.randn(*shape) * 0.5


def scalar(x):
    return torch.tensor(float(x))


def low_rank():
    d, u, cd, cu = rand(3, 8), rand(12, 3), rand(2, 4, 3, 3), rand(6, 2, 1, 1)
    plain = u @ d
    conv = torch.einsum("orxy,rikl->oikl", cu, cd)
    k, c = kohya(LINEAR), kohya(CONV)
    save("kohya", {k + ".lora_down.weight": d, k + ".lora_up.weight": u, k + ".alpha": scalar(1.5),
                   c + ".lora_down.weight": cd, c + ".lora_up.weight": cu, c + ".alpha": scalar(4)},
         {"linear": plain * 1.5 / 3, "conv": conv * 4 / 2})
    # A1111 and older trainers know the original names: middle_block.1 is the attention, middle_block.0 the first resnet.
    save("original", {"lora_unet_middle_block_1_transformer_blocks_0_attn1_to_out_0.lora_down.weight": d,
                      "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_out_0.lora_up.weight": u}, {"linear": plain})
    save("peft", {"unet." + LINEAR + ".lora_A.weight": d, "unet." + LINEAR + ".lora_B.weight": u},
         {"linear": plain * 6 / 3}, {"lora_adapter_metadata": json.dumps({"unet.r": 3, "unet.lora_alpha": 6})})
    os.makedirs(os.path.join(DATA, "peft"), exist_ok=True)
    with open(os.path.join(DATA, "peft", "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "r": 3, "lora_alpha": 1.5}, f)
    save("peft/adapter_model", {"base_model.model." + LINEAR + ".lora_A.weight": d,
                                "base_model.model." + LINEAR + ".lora_B.weight": u}, {"linear": plain * 1.5 / 3})
    save("peft_adapter", {"base_model.model." + LINEAR + ".lora_A.weight": d,
                          "base_model.model." + LINEAR + ".lora_B.weight": u}, {"linear": plain})
    save("diffusers", {"unet." + LINEAR + ".lora.down.weight": d, "unet." + LINEAR + ".lora.up.weight": u}, {"linear": plain})
    attention = LINEAR[: -len(".to_out.0")]
    save("processors", {attention + ".processor.to_out_lora.down.weight": d,
                        attention + ".processor.to_out_lora.up.weight": u}, {"linear": plain})
    mid, md = rand(2, 3, 3, 3), rand(3, 4, 1, 1)
    core = torch.einsum("op,pqkl,qi->oikl", cu[:, :, 0, 0], mid, md[:, :, 0, 0])
    save("locon_core", {c + ".lora_down.weight": md, c + ".lora_up.weight": cu, c + ".lora_mid.weight": mid,
                        c + ".alpha": scalar(1.5)}, {"conv": core * 1.5 / 3})


def hadamard():
    k, c = kohya(LINEAR), kohya(CONV)
    a1, b1, a2, b2 = rand(12, 2), rand(2, 8), rand(12, 2), rand(2, 8)
    ca1, cb1, ca2, cb2 = rand(6, 2), rand(2, 36), rand(6, 2), rand(2, 36)
    save("loha", {k + ".hada_w1_a": a1, k + ".hada_w1_b": b1, k + ".hada_w2_a": a2, k + ".hada_w2_b": b2,
                  k + ".alpha": scalar(1), c + ".hada_w1_a": ca1, c + ".hada_w1_b": cb1, c + ".hada_w2_a": ca2,
                  c + ".hada_w2_b": cb2}, {"linear": (a1 @ b1) * (a2 @ b2) / 2,
                                           "conv": ((ca1 @ cb1) * (ca2 @ cb2)).reshape(6, 4, 3, 3)})
    t1, t2, a1, a2, b1, b2 = rand(2, 2, 3, 3), rand(2, 2, 3, 3), rand(2, 6), rand(2, 6), rand(2, 4), rand(2, 4)
    made = [torch.einsum("io,ijkl,jc->ockl", a, t, b) for a, t, b in ((a1, t1, b1), (a2, t2, b2))]
    save("loha_core", {c + ".hada_t1": t1, c + ".hada_t2": t2, c + ".hada_w1_a": a1, c + ".hada_w1_b": b1,
                       c + ".hada_w2_a": a2, c + ".hada_w2_b": b2, c + ".alpha": scalar(3)},
         {"conv": made[0] * made[1] * 3 / 2})


def kron(w1, w2):
    while w1.dim() < w2.dim():
        w1 = w1.unsqueeze(-1)
    return torch.kron(w1.contiguous(), w2.contiguous())


def kronecker():
    k, c = kohya(LINEAR), kohya(CONV)
    w1, a2, b2 = rand(3, 2), rand(4, 2), rand(2, 4)
    cw1a, cw1b, cw2 = rand(2, 1), rand(1, 2), rand(3, 2, 3, 3)
    save("lokr", {k + ".lokr_w1": w1, k + ".lokr_w2_a": a2, k + ".lokr_w2_b": b2, k + ".alpha": scalar(1),
                  c + ".lokr_w1_a": cw1a, c + ".lokr_w1_b": cw1b, c + ".lokr_w2": cw2, c + ".alpha": scalar(0.5)},
         {"linear": kron(w1, a2 @ b2) / 2, "conv": kron(cw1a @ cw1b, cw2) * 0.5})
    t2, a2, b2, cw1 = rand(2, 2, 3, 3), rand(2, 3), rand(2, 2), rand(2, 2)
    core = torch.einsum("io,ijkl,jc->ockl", a2, t2, b2)
    # Without a low-rank factor alpha says nothing.
    w2 = rand(4, 4)
    save("lokr_core", {k + ".lokr_w1": w1, k + ".lokr_w2": w2, k + ".alpha": scalar(7), c + ".lokr_w1": cw1,
                       c + ".lokr_t2": t2, c + ".lokr_w2_a": a2, c + ".lokr_w2_b": b2, c + ".alpha": scalar(4)},
         {"linear": kron(w1, w2), "conv": kron(cw1, core) * 4 / 2})


def magnitude():
    k, c = kohya(LINEAR), kohya(CONV)
    d, u, cd, cu = rand(3, 8), rand(12, 3), rand(2, 4, 3, 3), rand(6, 2, 1, 1)
    linear = BASE["linear"] + u @ d * 1.5 / 3
    conv = BASE["conv"] + torch.einsum("orxy,rikl->oikl", cu, cd)
    factors = {k + ".lora_down.weight": d, k + ".lora_up.weight": u, k + ".alpha": scalar(1.5),
               c + ".lora_down.weight": cd, c + ".lora_up.weight": cu}
    columns, ccolumns = torch.rand(1, 8) + 1, torch.rand(1, 4, 1, 1) + 1
    rows, crows = torch.rand(12, 1) + 1, torch.rand(6, 1, 1, 1) + 1
    by_column = linear / linear.norm(dim=0, keepdim=True) * columns
    cby_column = conv / conv.pow(2).sum(dim=(0, 2, 3), keepdim=True).sqrt() * ccolumns
    by_row = linear / linear.norm(dim=1, keepdim=True) * rows
    cby_row = conv / conv.pow(2).sum(dim=(1, 2, 3), keepdim=True).sqrt() * crows
    save("dora", {**factors, k + ".dora_scale": columns, c + ".dora_scale": ccolumns},
         {"linear": by_column - BASE["linear"], "conv": cby_column - BASE["conv"]})
    save("dora_rows", {**factors, k + ".dora_scale": rows, c + ".dora_scale": crows},
         {"linear": by_row - BASE["linear"], "conv": cby_row - BASE["conv"]})
    plain = BASE["linear"] + u @ d
    save("dora_peft", {"unet." + LINEAR + ".lora_A.weight": d, "unet." + LINEAR + ".lora_B.weight": u,
                       "unet." + LINEAR + ".lora_magnitude_vector": rows[:, 0]},
         {"linear": plain / plain.norm(dim=1, keepdim=True) * rows - BASE["linear"]})


def others():
    k, c, n = kohya(LINEAR), kohya(CONV), kohya(NORM)
    w, cw = rand(12), rand(4)
    save("ia3", {k + ".weight": w, k + ".on_input": torch.tensor(False), c + ".weight": cw, c + ".on_input": torch.tensor(True)},
         {"linear": BASE["linear"] * w[:, None], "conv": BASE["conv"] * cw[None, :, None, None]})
    tensors = {k + ".diff": rand(12, 8), c + ".diff": rand(6, 4, 3, 3), c + ".diff_b": rand(6), n + ".w_norm": rand(4),
               n + ".b_norm": rand(4)}
    save("full", tensors, {"linear": tensors[k + ".diff"], "conv": tensors[c + ".diff"], "conv_bias": tensors[c + ".diff_b"],
                           "norm": tensors[n + ".w_norm"], "norm_bias": tensors[n + ".b_norm"]})


def damaged():
    k = kohya(LINEAR)
    good = {k + ".lora_down.weight": rand(3, 8), k + ".lora_up.weight": rand(12, 3)}
    nan = {**good, k + ".lora_up.weight": torch.full((12, 3), float("nan"))}
    for case, tensors in {
        "bad_nan": nan,
        "bad_width": {**good, k + ".lora_down.weight": rand(3, 16)},
        "bad_half": {k + ".lora_down.weight": good[k + ".lora_down.weight"]},
        "bad_rank": {**good, k + ".lora_down.weight": rand(2, 8)},
        "bad_key": {**good, k + ".surprise": rand(2)},
        "bad_place": {key.replace("mid_block", "side_block"): v for key, v in good.items()},
        "bad_oft": {k + ".oft_diag": rand(4, 3, 3)},
        "bad_flux": {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": rand(3, 8),
                     "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": rand(12, 3)},
    }.items():
        write(os.path.join(DATA, case + ".safetensors"), tensors)


def gradients():
    """Of sum(W' * weighting) by every factor, W' at a strength of 1."""
    weighting = {"linear": torch.randn(12, 8), "conv": torch.randn(6, 4, 3, 3)}
    k, c = kohya(LINEAR), kohya(CONV)
    factors, made = {}, {}

    def leaf(case, key, *shape):
        t = rand(*shape).requires_grad_()
        factors.setdefault(case, {})[key] = t
        return t

    d, u = leaf("kohya", k + ".lora_down.weight", 3, 8), leaf("kohya", k + ".lora_up.weight", 12, 3)
    cd, cu = leaf("kohya", c + ".lora_down.weight", 2, 4, 3, 3), leaf("kohya", c + ".lora_up.weight", 6, 2, 1, 1)
    made["kohya"] = {"linear": BASE["linear"] + u @ d, "conv": BASE["conv"] + torch.einsum("orxy,rikl->oikl", cu, cd)}
    ends = (".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b")
    f = [leaf("loha", k + e, *s) for e, s in zip(ends, ((12, 2), (2, 8), (12, 2), (2, 8)))]
    g = [leaf("loha", c + e, *s) for e, s in zip(ends, ((6, 2), (2, 36), (6, 2), (2, 36)))]
    made["loha"] = {"linear": BASE["linear"] + (f[0] @ f[1]) * (f[2] @ f[3]),
                    "conv": BASE["conv"] + ((g[0] @ g[1]) * (g[2] @ g[3])).reshape(6, 4, 3, 3)}
    w1, a2, b2 = leaf("lokr", k + ".lokr_w1", 3, 2), leaf("lokr", k + ".lokr_w2_a", 4, 2), leaf("lokr", k + ".lokr_w2_b", 2, 4)
    cw1, ca2, cb2 = leaf("lokr", c + ".lokr_w1", 3, 2), leaf("lokr", c + ".lokr_w2_a", 2, 2), leaf("lokr", c + ".lokr_w2_b", 2, 18)
    made["lokr"] = {"linear": BASE["linear"] + kron(w1, a2 @ b2), "conv": BASE["conv"] + kron(cw1, (ca2 @ cb2).reshape(2, 2, 3, 3))}
    w1, w2 = leaf("lokr_whole", k + ".lokr_w1", 3, 2), leaf("lokr_whole", k + ".lokr_w2", 4, 4)
    cw1, cw2 = leaf("lokr_whole", c + ".lokr_w1", 3, 2), leaf("lokr_whole", c + ".lokr_w2", 2, 2, 3, 3)
    made["lokr_whole"] = {"linear": BASE["linear"] + kron(w1, w2), "conv": BASE["conv"] + kron(cw1, cw2)}
    d, u = leaf("dora", k + ".lora_down.weight", 3, 8), leaf("dora", k + ".lora_up.weight", 12, 3)
    cd, cu = leaf("dora", c + ".lora_down.weight", 2, 4, 3, 3), leaf("dora", c + ".lora_up.weight", 6, 2, 1, 1)
    m, cm = leaf("dora", k + ".dora_scale", 12, 1), leaf("dora", c + ".dora_scale", 6, 1, 1, 1)
    v, cv = BASE["linear"] + u @ d, BASE["conv"] + torch.einsum("orxy,rikl->oikl", cu, cd)
    made["dora"] = {"linear": v / v.norm(dim=1, keepdim=True).detach() * m,
                    "conv": cv / cv.pow(2).sum(dim=(1, 2, 3), keepdim=True).sqrt().detach() * cm}
    out = {"weighting." + name: w for name, w in weighting.items()}
    for case, weights in made.items():
        sum((w * weighting[name]).sum() for name, w in weights.items()).backward()
        for name, w in weights.items():
            out[f"{case}.{name}"] = w.detach()
        for key, t in factors[case].items():
            out[f"{case}.grad.{key}"] = t.grad
        write(os.path.join(DATA, f"taught_{case}.safetensors"), {key: t.detach() for key, t in factors[case].items()})
    write(os.path.join(DATA, "gradients.safetensors"), out)


def generalized():
    k = kohya(LINEAR)
    a1, a2, b1, b2 = rand(2, 8), rand(8, 2), rand(3, 8), rand(12, 3)
    save("glora", {k + ".a1.weight": a1, k + ".a2.weight": a2, k + ".b1.weight": b1, k + ".b2.weight": b2, k + ".alpha": scalar(1)},
         {"linear": (b2 @ b1 + BASE["linear"] @ a2 @ a1) / 2})


def cayley(blocks, limit=None):
    """R = (I + Q)(I - Q)^-1 of Q = B - B^T, the length of all Q together at most `limit`."""
    q = blocks - blocks.transpose(-1, -2)
    if limit is not None and q.norm() > limit:
        q = q * limit / q.norm()
    one = torch.eye(q.shape[-1])
    return (one + q) @ torch.linalg.inv(one - q)


def butterfly(weight, turns):
    """Factor i turns rows that are 2^i b / 2 apart (Liu et al. 2023, section 4)."""
    b = turns.shape[-1]
    for i, r in enumerate(turns):
        apart = 2**i * b // 2
        taken = weight.unflatten(0, (-1, 2, apart)).transpose(1, 2).flatten(0, 2).unflatten(0, (-1, b))
        turned = torch.einsum("nij,nj...->ni...", r, taken)
        weight = turned.flatten(0, 1).unflatten(0, (-1, apart, 2)).transpose(1, 2).flatten(0, 2)
    return weight


def orthogonal():
    k, c = kohya(LINEAR), kohya(CONV)
    blocks, cblocks, rescale = rand(4, 3, 3), rand(2, 3, 3), torch.rand(6, 1, 1, 1) + 0.5
    turned = torch.einsum("knm,kni->kmi", cayley(blocks, 0.05 * 12), BASE["linear"].reshape(4, 3, 8)).reshape(12, 8)
    cturned = torch.einsum("knm,knixy->kmixy", cayley(cblocks), BASE["conv"].reshape(2, 3, 4, 3, 3)).reshape(6, 4, 3, 3)
    save("oft", {k + ".oft_blocks": blocks, k + ".alpha": scalar(0.05), c + ".oft_blocks": cblocks, c + ".alpha": scalar(0),
                 c + ".rescale": rescale},
         {"linear": turned - BASE["linear"], "conv": cturned * rescale - BASE["conv"]})
    wide, cblocks = rand(2, 6, 2, 2), rand(1, 3, 2, 2)
    save("boft", {k + ".oft_blocks": wide, c + ".oft_blocks": cblocks},
         {"linear": butterfly(BASE["linear"], cayley(wide)) - BASE["linear"],
          "conv": butterfly(BASE["conv"], cayley(cblocks)) - BASE["conv"]})


os.makedirs(DATA, exist_ok=True)
low_rank()
hadamard()
kronecker()
magnitude()
others()
damaged()
gradients()
generalized()
orthogonal()
write(os.path.join(DATA, "expected.safetensors"), expected)
