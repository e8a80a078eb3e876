#!/usr/bin/env python3
"""Write tests/data/vision/canny.golden.safetensors: pictures, and the edges that OpenCV finds in them.

    python3 tests/tools/make_canny_samples.py PROGRAM      (canny_reference.cc, compiled)
"""
import os
import subprocess
import sys

import numpy
import torch

import make_vision_samples as samples


def noisy(seed, height, width, channels, smooth):
    a = numpy.random.RandomState(seed).rand(height, width, channels) * 255
    for _ in range(smooth):
        a = (a + numpy.roll(a, 1, 0) + numpy.roll(a, 1, 1) + numpy.roll(a, -1, 0) + numpy.roll(a, -1, 1)) / 5
    a = (a - a.min()) / (a.max() - a.min()) * 255
    return a.round().astype("uint8")


CASES = [
    ("drawn", samples.picture(96, 72), 100, 200),
    ("noise", noisy(1, 60, 80, 3, 0), 100, 200),
    ("smooth", noisy(2, 61, 83, 3, 4), 100, 200),
    ("smooth_low", noisy(2, 61, 83, 3, 4), 30.7, 90.2),
    ("swapped", noisy(3, 50, 50, 3, 3), 150, 60),
    ("grey", noisy(4, 47, 64, 1, 3), 50, 100),
    ("steps", (noisy(5, 48, 48, 1, 6) // 64 * 64).astype("uint8"), 100, 200),
    ("thin", noisy(6, 1, 40, 3, 1), 20, 40),
    ("point", noisy(7, 1, 1, 1, 0), 100, 200),
]

if __name__ == "__main__":
    out = {}
    for name, picture, low, high in CASES:
        h, w, c = picture.shape
        edges = subprocess.run([sys.argv[1], str(w), str(h), str(c), str(low), str(high)], input=picture.tobytes(),
                               capture_output=True, check=True).stdout
        out[name + ".picture"] = torch.from_numpy(picture)
        out[name + ".edges"] = torch.from_numpy(numpy.frombuffer(edges, "uint8").reshape(h, w).copy())
        out[name + ".thresholds"] = torch.tensor([float(low), float(high)])
        print(name, out[name + ".edges"].float().mean().item() / 255)
    samples.write(os.path.join(samples.OUT, "canny.golden.safetensors"), out)
