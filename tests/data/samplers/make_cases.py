#!/usr/bin/python3
"""Reference trajectories for samplers, and levels of noise curves, from independent statements of their formulas.

Run: python3 make_cases.py   (torch; writes cases.json and trajectories.safetensors beside itself)

Everything is in double precision on an analytic network, so that an implementation in single precision is held to
what the formulas say and not to another implementation. Integrals that a sampler has in closed form are computed here
by quadrature.

network   eps(x_in, k) = 0.25 x_in + 0.5 pattern[k mod 7], k counting evaluations; x_in = x / sqrt(sigma^2 + 1) for
          diffusion, and v(x, k) by the same formula with x_in = x for flow matching
unguided  the answer without the prompt: 0.8 of the answer plus 0.1 pattern[(k + 3) mod 7]
noise     recorded normal numbers, in the order of drawing
"""
import json
import math
import os
import struct

import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(20240)
SHAPE = (1, 4, 2, 2)
PATTERN = torch.randn((7,) + SHAPE).float().double()
X_INIT = torch.randn(SHAPE).float().double()

betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000).square()
ALPHA_BAR = torch.cumprod(1 - betas, 0)
TABLE = ((1 - ALPHA_BAR) / ALPHA_BAR).sqrt()
FLOW_SHIFT = 3.0
NODES, WEIGHTS = None, None


def gauss(n=60):
    """Nodes and weights of Gauss-Legendre on [-1, 1], by the Golub-Welsch eigenproblem."""
    global NODES, WEIGHTS
    if NODES is None:
        k = torch.arange(1, n, dtype=torch.float64)
        off = k / (4 * k * k - 1).sqrt()
        values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
        NODES, WEIGHTS = values, 2 * vectors[0].square()
    return NODES, WEIGHTS


def integral(f, a, b):
    t, w = gauss()
    return float((w * torch.tensor([f(float((a + b) / 2 + (b - a) / 2 * u)) for u in t])).sum() * (b - a) / 2)


def lagrange(nodes, k):
    def poly(u):
        value = 1.0
        for j, node in enumerate(nodes):
            if j != k:
                value *= (u - node) / (nodes[k] - node)
        return value

    return poly


class Net:
    def __init__(self, kind="vp"):
        self.kind, self.calls, self.levels, self.noise, self.rows = kind, 0, [], [], []

    def raw(self, x_in):
        out = 0.25 * x_in + 0.5 * PATTERN[self.calls % 7]
        self.unguided_raw = 0.8 * out + 0.1 * PATTERN[(self.calls + 3) % 7]
        self.calls += 1
        return out

    def x0(self, x, sigma):
        """x_0 of a VE latent, or of a flow latent."""
        sigma = float(sigma)
        self.levels.append(sigma)
        if self.kind == "flow":
            out = self.raw(x)
        else:
            out = self.raw(x / math.sqrt(sigma**2 + 1))
        self.x0_unguided = x - sigma * self.unguided_raw
        return x - sigma * out

    def z(self):
        n = torch.randn(SHAPE).float().double()
        self.noise.append(n)
        return n


def karras(n, low, high, rho=7.0):
    return [(high ** (1 / rho) + i / (n - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho for i in range(n)]


def split(s, t, eta):
    """Ancestral: where the step goes, and the noise up from there."""
    up = min(t, eta * math.sqrt(t * t * (s * s - t * t) / (s * s)))
    return math.sqrt(t * t - up * up), up


def exponential_step(x, predictions, nodes, h, extra=1.0):
    """e^(-a h) x + a int_0^h e^(-a (h - u)) D(u) du, D the polynomial through the predictions, a = extra."""
    out = math.exp(-extra * h) * x
    for k in range(len(nodes)):
        poly = lagrange(nodes, k)
        out = out + predictions[k] * integral(lambda u: extra * math.exp(-extra * (h - u)) * poly(u), 0, h)
    return out


# ------------------------------------------------------------------------------------------- samplers


def euler_cfg_pp(n, x, s, eta=0.0):
    for a, b in zip(s, s[1:]):
        x0 = n.x0(x, a)
        down, up = split(a, b, eta) if b > 0 else (0.0, 0.0)
        x = x0 + down * (x - n.x0_unguided) / a
        if up > 0:
            x = x + up * n.z()
        n.rows.append(x)
    return x


def dpmpp_2m_cfg_pp(n, x, s):
    last = None
    for i, (a, b) in enumerate(zip(s, s[1:])):
        x0 = n.x0(x, a)
        u = n.x0_unguided
        x = x0 + b / a * (x - u)
        if i > 0 and b > 0:
            h, h_last = math.log(a / b), math.log(s[i - 1] / a)
            x = x + (1 - b / a) * h / (2 * h_last) * (x0 - last)
        last = u
        n.rows.append(x)
    return x


def dpmpp_2s_a_cfg_pp(n, x, s, eta=1.0):
    for a, b in zip(s, s[1:]):
        x0 = n.x0(x, a)
        u = n.x0_unguided
        guidance = x0 - u
        down, up = split(a, b, eta) if b > 0 else (0.0, 0.0)
        if down > 0:
            m = math.sqrt(a * down)
            n.x0(m / a * x + (1 - m / a) * u, m)
            u = n.x0_unguided
        x = down / a * x + (1 - down / a) * u
        if up > 0:
            x = x + up * n.z()
        x = x + guidance
        n.rows.append(x)
    return x


def res_multistep(n, x, s, eta=0.0, plus=False):
    last = down_last = None
    for i, (a, b) in enumerate(zip(s, s[1:])):
        x0 = n.x0(x, a)
        u = n.x0_unguided if plus else x0
        down, up = split(a, b, eta) if b > 0 else (0.0, 0.0)
        if down == 0 or last is None:
            x = x0 + down / a * (x - u)
        else:
            h = math.log(a / down)
            back = math.log(down_last / s[i - 1])
            x = exponential_step(x + x0 - u, [u, last], [0.0, back], h)
        if up > 0:
            x = x + up * n.z()
        last, down_last = u, down
        n.rows.append(x)
    return x


def gradient_estimation(n, x, s, plus=False):
    last = None
    for i, (a, b) in enumerate(zip(s, s[1:])):
        x0 = n.x0(x, a)
        d = (x - (n.x0_unguided if plus else x0)) / a
        if b == 0:
            x = x0
        else:
            x = x0 + d * b if plus else x + d * (b - a)
            if i > 0:
                x = x + (d - last) * (b - a)
        last = d
        n.rows.append(x)
    return x


def er_sde(n, x, s, s_noise=1.0):
    phi = lambda v: v * (math.exp(v**0.3) + 10)
    d0s, d1_last = [], None
    for i, (a, b) in enumerate(zip(s, s[1:])):
        x0 = n.x0(x, a)
        if b == 0:
            x = x0
        else:
            r = phi(b) / phi(a)
            y = r * x + (1 - r) * x0
            d1 = None
            if i > 0:
                grid = [b + p * (a - b) / 200 for p in range(200)]
                one = sum(1 / phi(v) for v in grid) * (a - b) / 200
                slope = sum((v - a) / phi(v) for v in grid) * (a - b) / 200
                d1 = (x0 - d0s[-1]) / (a - s[i - 1])
                y = y + (b - a + one * phi(b)) * d1
                if i > 1:
                    d2 = (d1 - d1_last) / ((a - s[i - 2]) / 2)
                    y = y + ((b - a) ** 2 / 2 + slope * phi(b)) * d2
            x = y + math.sqrt(max(b * b - a * a * r * r, 0)) * s_noise * n.z()
            d1_last = d1
        d0s.append(x0)
        n.rows.append(x)
    return x


def seeds(n, x, s, inner, weights, eta):
    """Inner points at shares of the step in log noise; weights(a) gives those of the predictions for each point and
    for the end, for a = h (1 + eta)."""
    for a, b in zip(s, s[1:]):
        ds = [n.x0(x, a)]
        if b == 0:
            x = ds[0]
            n.rows.append(x)
            continue
        h = math.log(a / b)
        where, path = 0.0, torch.zeros(SHAPE)
        for r, w in zip(inner + [1.0], weights(h * (1 + eta))):
            if eta > 0:
                decay = (where - r) * h * eta
                path = math.exp(decay) * path + math.sqrt(1 - math.exp(2 * decay)) * n.z()
            level = a * math.exp(-r * h)
            y = math.exp(-r * h * (1 + eta)) * x + sum(wk * d for wk, d in zip(w, ds)) + level * path
            where = r
            if r < 1.0:
                ds.append(n.x0(y, level))
        x = y
        n.rows.append(x)
    return x


def phi_1(a):  # int_0^1 a e^(-a (1 - u)) du
    return integral(lambda u: a * math.exp(-a * (1 - u)), 0, 1)


def phi_2(a):  # the same with u
    return integral(lambda u: a * math.exp(-a * (1 - u)) * u, 0, 1)


def seeds_2(n, x, s, eta=1.0):
    return seeds(n, x, s, [0.5], lambda a: [[phi_1(a / 2)], [0.0, phi_1(a)]], eta)


def seeds_3(n, x, s, eta=1.0):
    third, late = 1 / 3, 2 / 3

    def weights(a):
        inner = phi_2(late * a) * late / third
        end = phi_2(a) / late
        return [[phi_1(third * a)], [phi_1(late * a) - inner, inner], [phi_1(a) - end, 0.0, end]]

    return seeds(n, x, s, [third, late], weights, eta)


def exp_heun(n, x, s, eta=0.0):
    for a, b in zip(s, s[1:]):
        d = n.x0(x, a)
        if b == 0:
            x = d
        else:
            h = math.log(a / b)
            q = h * (1 + eta)
            noise = b * math.sqrt(1 - math.exp(-2 * h * eta)) * n.z() if eta > 0 else 0
            ahead = math.exp(-q) * x + phi_1(q) * d + noise
            d2 = n.x0(ahead, b)
            x = math.exp(-q) * x + (phi_1(q) - phi_2(q)) * d + phi_2(q) * d2 + noise
        n.rows.append(x)
    return x


def heunpp2(n, x, s):
    for i, (a, b) in enumerate(zip(s, s[1:])):
        slope = lambda y, v: (y - n.x0(y, v)) / v
        d = [slope(x, a)]
        left = len(s) - 1 - i
        y, w = x, [1.0]
        for j in range(1, min(left, 3)):
            y = y + d[-1] * (s[i + j] - s[i + j - 1])
            d.append(slope(y, s[i + j]))
            w.append(s[i + j] / (min(left, 3) * s[0]))
            w[0] -= w[-1]
        x = x + (b - a) * sum(wj * dj for wj, dj in zip(w, d))
        n.rows.append(x)
    return x


def multistep(n, x, s, weights):
    """weights(i, order) of the last slopes, newest first, times the step."""
    ds = []
    for i, (a, b) in enumerate(zip(s, s[1:])):
        x0 = n.x0(x, a)
        ds.insert(0, (x - x0) / a)
        x = x0 if b == 0 else x + sum(w * d for w, d in zip(weights(i, min(i + 1, 4)), ds))
        n.rows.append(x)
    return x


def ipndm(n, x, s):
    table = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]
    return multistep(n, x, s, lambda i, order: [(s[i + 1] - s[i]) * w for w in table[order - 1]])


def ipndm_v(n, x, s):
    def weights(i, order):
        h = s[i + 1] - s[i]
        back = [s[i - k] - s[i - k - 1] for k in range(order - 1)]
        w = [1.0, 0.0, 0.0, 0.0]
        if order > 1:
            w[0] += h / back[0] / 2
            w[1] -= h / back[0] / 2
        if order > 2:
            h1, h2 = back[:2]
            t = (1 - h / (3 * (h + h1)) * h * (h + h1) / (h1 * (h1 + h2))) / 2
            w = [w[0] + t, w[1] - (1 + h1 / h2) * t, t * h1 / h2, 0.0]
        if order > 3:
            h3 = back[2]
            far = h1 * (h1 + h2) / (h2 * (h2 + h3))
            q = ((1 - h / (3 * (h + h1))) / 2 + (1 - h / (2 * (h + h1))) * h / (6 * (h + h1 + h2))) * (
                h * (h + h1) * (h + h1 + h2) / (h1 * (h1 + h2) * (h1 + h2 + h3)))
            w = [w[0] + q, w[1] - (1 + h1 / h2 + far) * q, w[2] + (h1 / h2 + far * (1 + h2 / h3)) * q, -far * h1 / h2 * q]
        return [h * v for v in w]

    return multistep(n, x, s, weights)


def deis(n, x, s):
    low, high = math.log(0.002**2 + 1), math.log(80.0**2 + 1)
    beta_d = 2 * (low / 0.001 - high) / (0.001 - 1)
    beta_min = high - beta_d / 2
    time = lambda v: (math.sqrt(beta_min**2 + 2 * beta_d * math.log(v * v + 1)) - beta_min) / beta_d

    def weights(i, order):
        nodes = [time(s[i - k]) for k in range(min(order, 3))]
        cuts = [s[i] + (s[i + 1] - s[i]) * p / 20 for p in range(21)]
        return [sum(integral(lambda v: lagrange(nodes, k)(time(v)), p, q) for p, q in zip(cuts, cuts[1:]))
                for k in range(len(nodes))]

    return multistep(n, x, s, weights)


def unipc(n, x, s, kind, order_most):
    """On VP latents, predicting x_0: predictor and corrector of Zhao et al. 2023, by its linear systems."""
    alpha = lambda v: 1 / math.sqrt(v * v + 1)
    lam = lambda v: -math.log(v)
    steps = len(s) - 1
    m, order_used = [], 1

    def move(x, i, m0, others, nodes, h):
        """sum over B(h) rho_k D_k / r_k; nodes r_k of `others`."""
        b_h = -h if kind == "bh1" else math.expm1(-h)
        size = len(nodes)
        if size == 1:
            rho = [0.5]
        else:
            rhs, phi, fact = [], math.expm1(-h) / -h - 1, 1.0
            for p in range(size):
                rhs.append(phi * fact / b_h)
                fact *= p + 2
                phi = phi / -h - 1 / fact
            matrix = torch.tensor([[r**p for r in nodes] for p in range(size)])
            rho = torch.linalg.solve(matrix, torch.tensor(rhs)).tolist() if size else []
        total = sum(rk * (d - m0) / r for rk, d, r in zip(rho, others, nodes)) if size else 0
        a, b = s[i], s[i + 1]
        return b * alpha(b) / (a * alpha(a)) * x - alpha(b) * (math.expm1(-h) * m0 + b_h * total)

    base = None
    for i in range(steps):
        n.levels.append(s[i])
        eps = n.raw(x)
        x0 = (x - s[i] * alpha(s[i]) * eps) / alpha(s[i])
        if i > 0:
            h = lam(s[i]) - lam(s[i - 1])
            nodes = [(lam(s[i - 1 - k]) - lam(s[i - 1])) / h for k in range(1, order_used)] + [1.0]
            x = move(base, i - 1, m[0], m[1:order_used] + [x0], nodes, h)
        m.insert(0, x0)
        order_used = min(order_most, steps - i, i + 1)
        base = x
        h = lam(s[i + 1]) - lam(s[i])
        nodes = [(lam(s[i - k]) - lam(s[i])) / h for k in range(1, order_used)]
        x = move(base, i, m[0], m[1:order_used], nodes, h)
        n.rows.append(x)
    return x


def sa_solver(n, x, s, pece=False, eta=1.0):
    steps = len(s) - 1
    lam = lambda v: -math.log(v)
    tau_at = lambda v: eta if float(TABLE[199]) <= v <= float(TABLE[799]) else 0.0
    tau, noise, base, ds = 0.0, 0, None, []

    def adams(x, a, b, nodes, predictions, tau):
        h, q = lam(b) - lam(a), 1 + tau * tau
        out = math.exp(-tau * tau * h) * b / a * x
        shifted = [lam(v) - lam(b) for v in nodes]
        for k, d in enumerate(predictions):
            out = out + q * integral(lambda u: math.exp(q * u) * lagrange(shifted, k)(u), -h, 0) * d
        return out

    for i in range(steps):
        d = n.x0(x, s[i])
        ds.insert(0, d)
        order = min(4, i + 1, steps - i)
        if i > 0 and order > 0 and (s[i + 1] > 0 or pece):
            x = adams(base, s[i - 1], s[i], [s[i - k] for k in range(order)], ds[:order], tau) + noise
            if pece:
                d = n.x0(x, s[i])
                ds[0] = d
        if s[i + 1] == 0:
            x = d
        else:
            tau = tau_at(s[i + 1])
            base = x
            order = max(1, min(3, i + 1, steps - 1 - i))
            h = lam(s[i + 1]) - lam(s[i])
            noise = s[i + 1] * math.sqrt(1 - math.exp(-2 * tau * tau * h)) * n.z() if tau > 0 else 0
            x = adams(base, s[i], s[i + 1], [s[i - k] for k in range(order)], ds[:order], tau) + noise
        n.rows.append(x)
    return x


def heun_step(n, x, a, b):
    d = (x - n.x0(x, a)) / a
    y = x + d * (b - a)
    return y if b == 0 else x + (d + (y - n.x0(y, b)) / b) / 2 * (b - a)


def restart(n, x, s):
    steps = len(s) - 1
    again, times = (0, 0) if steps < 20 else (9, 1) if steps < 36 else (steps // 4, 2)
    levels = karras(steps - again * times, s[-2], s[0]) + [0.0] if times else s
    nearest = lambda v: min(range(len(levels)), key=lambda i: abs(levels[i] - v))
    low, high = nearest(0.1), nearest(2)
    ways = []
    for i in range(len(levels) - 1):
        ways.append((levels[i], levels[i + 1]))
        if times and i + 1 == low and high < low:
            up = karras(again + 1, levels[low], levels[high])
            ways += list(zip(up, up[1:])) * times
    last = ways[0][0]
    for a, b in ways:
        if a > last:
            x = x + math.sqrt(a * a - last * last) * n.z()
        x = heun_step(n, x, a, b)
        last = b
        n.rows.append(x)
    return x


def lcm(n, x, s):
    for a, b in zip(s, s[1:]):
        x = n.x0(x, a)
        if b > 0:
            x = x + b * n.z()
        n.rows.append(x)
    return x


def ddpm(n, x, s):
    """The posterior on VP latents: Ho et al. 2020, eq. 6 and 7, with alpha_bar = 1 / (sigma^2 + 1)."""
    for a, b in zip(s, s[1:]):
        x0 = n.x0(x, a)
        bar, bar_next = 1 / (a * a + 1), 1 / (b * b + 1)
        y, alpha = x * math.sqrt(bar), bar / bar_next
        y = math.sqrt(bar_next) * (1 - alpha) / (1 - bar) * x0 + math.sqrt(alpha) * (1 - bar_next) / (1 - bar) * y
        if b > 0:
            y = y + math.sqrt((1 - alpha) * (1 - bar_next) / (1 - bar)) * n.z()
        x = y / math.sqrt(bar_next)
        n.rows.append(x)
    return x


def timestep(sigma):
    logs = TABLE.log()
    i = int((logs <= math.log(sigma)).sum()) - 1
    i = max(0, min(i, 998))
    w = (math.log(sigma) - float(logs[i])) / float(logs[i + 1] - logs[i])
    return i + min(max(w, 0.0), 1.0)


def level(t):
    i = min(int(t), 998)
    return math.exp(float((1 - (t - i)) * TABLE[i].log() + (t - i) * TABLE[i + 1].log()))


def tcd(n, x, s, gamma=0.3):
    for a, b in zip(s, s[1:]):
        x0 = n.x0(x, a)
        below = min(b, level((1 - gamma) * timestep(b))) if b > 0 else 0.0
        x = x0 + below / a * (x - x0)
        if b > 0:
            x = x + math.sqrt(b * b - below * below) * n.z()
        n.rows.append(x)
    return x


def ddim_a1111(n, x, steps, plus=False, eta=0.0):
    """x is a VP latent; timesteps of CompVis, the last left out."""
    ts = [min(t + 1, 999) for t in range(0, 1000, 1000 // steps)]
    for i in range(len(ts) - 1, 0, -1):
        a, b = float(ALPHA_BAR[ts[i]]), float(ALPHA_BAR[ts[i - 1]])
        n.levels.append(float(TABLE[ts[i]]))
        e = n.raw(x)
        x0 = (x - math.sqrt(1 - a) * e) / math.sqrt(a)
        spread = eta * math.sqrt((1 - b) / (1 - a) * (1 - a / b))
        x = math.sqrt(b) * x0 + math.sqrt(1 - b - spread**2) * (n.unguided_raw if plus else e)
        if spread > 0:
            x = x + spread * n.z()
        n.rows.append(x)
    return x


# -------------------------------------------------------------------------- flow, in flow latents


def flow_euler_a(n, x, s, eta=1.0):
    for a, b in zip(s, s[1:]):
        x0 = n.x0(x, a)
        down = b * (1 + (b / a - 1) * eta)
        x = down / a * x + (1 - down / a) * x0
        if b > 0 and eta > 0:
            scale = (1 - b) / (1 - down)
            x = scale * x + math.sqrt(b * b - (down * scale) ** 2) * n.z()
        n.rows.append(x)
    return x


def flow_dpmpp_2m_sde(n, x, s, eta=1.0):
    """ComfyUI's form: with alpha = 1 - sigma and lambda = log(alpha / sigma)."""
    alpha, lam = lambda v: 1 - v, lambda v: math.log((1 - v) / v)
    last = None
    for i, (a, b) in enumerate(zip(s, s[1:])):
        x0 = n.x0(x, a)
        if b == 0:
            x = x0
        else:
            h = lam(b) - lam(a)
            q = h * (1 + eta)
            x = b / a * math.exp(-h * eta) * x + alpha(b) * -math.expm1(-q) * x0
            if last is not None:
                r = (lam(a) - lam(s[i - 1])) / h
                x = x + 0.5 * alpha(b) * -math.expm1(-q) / r * (x0 - last)
            x = x + b * math.sqrt(-math.expm1(-2 * h * eta)) * n.z()
        last = x0
        n.rows.append(x)
    return x


def flow_er_sde(n, x, s):
    """In flow latents: the ratio of noise to signal is the level, and the signal scales x."""
    ve = Net.__new__(Net)
    ve.kind, ve.rows = "ve of flow", []
    ve.x0 = lambda y, v: n.x0(y / (1 + v), v / (1 + v))
    ve.z = n.z
    levels = [v / (1 - v) for v in s]
    out = er_sde(ve, x * (1 + levels[0]), levels)
    n.rows = [row / (1 + v) for row, v in zip(ve.rows, levels[1:])]
    return out


# ------------------------------------------------------------------------------------------- curves


def curves(n):
    low, high = float(TABLE[0]), float(TABLE[-1])
    last = 999
    out = {}
    line = lambda points, count: [level(last - last * i / (points - 1)) for i in range(count)]
    out["Uniform"] = out["Normal"] = line(n, n) + [0.0]
    out["SGM Uniform"] = line(n + 1, n) + [0.0]
    out["Karras"] = karras(n, low, high) + [0.0]
    out["Exponential"] = [high * (low / high) ** (i / (n - 1)) for i in range(n)] + [0.0]
    out["Simple"] = [float(TABLE[999 - int(i * 1000 / n)]) for i in range(n)] + [0.0]
    out["DDIM"] = [float(TABLE[t]) for t in range(1, 1000, 1000 // n)][::-1] + [0.0]
    arc = lambda r: math.tan(r * math.atan(low) + (1 - r) * math.atan(high))
    out["KL Optimal"] = [arc(i / n) for i in range(n + 1)]
    out["KL Optimal to zero"] = [arc(i / (n - 1)) for i in range(n)] + [0.0]
    tables = {
        "SD1": [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029],
        "SDXL": [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029],
        "SVD": [700.00, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002],
    }
    for name, table in tables.items():
        levels = []
        for i in range(n):
            at = 10 * i / (n - 1)
            k = min(int(at), 9)
            levels.append(table[k] ** (1 - (at - k)) * table[k + 1] ** (at - k))
        out["Align Your Steps " + name] = levels + [0.0]
    quantile, skewed = beta_quantiles(), skewed_quantiles()
    out["Beta"] = [low + quantile(1 - i / (n - 1)) * (high - low) for i in range(n)] + [0.0]
    for name, at in (("Beta timesteps", quantile), ("Beta 57", skewed)):
        whole = []
        for i in range(n):
            t = round(at(1 - i / n) * 999)
            if not whole or whole[-1] != t:
                whole.append(t)
        out[name] = [float(TABLE[t]) for t in whole] + [0.0]
    bend, slope = int((n + 2) * 0.6), 0.2 * 40 / (n + 2)
    shape = lambda x: math.atan(slope * (bend - x)) - math.atan(slope)
    upper = [high / 2 + high / 2 * shape(x) / shape(0) for x in range(bend - 1)]
    fall = [math.atan(slope * x) / math.atan(slope * (n + 1 - bend)) for x in range(n + 2 - bend)]
    out["Bong tangent"] = upper + [high / 2 * (1 - f) for f in fall]
    out["Laplace"] = []
    for i in range(n):
        rank = 2 * min(i, n - 1 - i) / (n - 1) + 1e-5  # twice the share of the distribution beyond
        sigma = min(max((rank**-0.5 if 2 * i < n - 1 else rank**0.5), low), high)
        sigma = 1.0 if 2 * i == n - 1 else sigma
        if not out["Laplace"] or sigma < out["Laplace"][-1]:
            out["Laplace"].append(sigma)
    out["Laplace"].append(0.0)
    half, rest = n // 2, n - n // 2
    over = half - 0.025 * n
    square, slope = over / (half * rest**2), 0.025 / half - 2 * over / rest**2
    gone = [0.025 * i / half for i in range(half)]
    gone += [square * i * i + slope * i + square * half**2 for i in range(half, n)]
    out["Linear quadratic"] = [high * (1 - g) for g in gone] + [0.0]
    out["Trailing"] = [float(TABLE[round(1000 - i * 1000 / n) - 1]) for i in range(n)] + [0.0]
    out["Leading"] = [float(TABLE[(n - 1 - i) * (1000 // n) + 1]) for i in range(n)] + [0.0]
    out["Linspace"] = [float(TABLE[round(999 - 999 * i / (n - 1))]) for i in range(n)] + [0.0]
    return out


def beta_quantiles(a=0.6):
    """The inverse of the integral of (t (1 - t))^(a - 1), with t = sin^2(v) to take the ends' poles away."""
    # sin^(0.2) is not smooth at 0: v = w^5
    def mass(v):
        top = v**0.2
        return integral(lambda w: 10 * w**4 * (math.sin(w**5) * math.cos(w**5)) ** (2 * a - 1), 0, top)

    half = mass(math.pi / 4)

    def quantile(p):
        if p <= 0 or p >= 1 or p == 0.5:  # the distribution is symmetric
            return 0.5 if p == 0.5 else float(p >= 1)
        if p > 0.5:
            return 1 - quantile(1 - p)
        lo, hi = 0.0, math.pi / 4
        for _ in range(200):
            mid = (lo + hi) / 2
            lo, hi = (mid, hi) if mass(mid) / (2 * half) < p else (lo, mid)
        return math.sin(lo) ** 2

    return quantile


def skewed_quantiles():
    """The same for t^-0.5 (1 - t)^-0.3, with t = 1 - u^(10/7), u = 1 - v^2: the integrand is smooth at both ends."""

    def mass(v):  # from t = 0 up to 1 - (1 - v^2)^(10/7)
        part = lambda w: 2 * w * 10 / 7 / math.sqrt(-math.expm1(10 / 7 * math.log1p(-w * w))) if w > 0 else 2 * math.sqrt(10 / 7)
        return integral(part, 0, v)

    whole = mass(1 - 1e-15)

    def quantile(p):
        lo, hi = 0.0, 1.0
        for _ in range(100):
            mid = (lo + hi) / 2
            lo, hi = (mid, hi) if mass(min(mid, 1 - 1e-15)) / whole < p else (lo, mid)
        return 1.0 if p >= 1 else -math.expm1(10 / 7 * math.log1p(-lo * lo))

    return quantile


# -------------------------------------------------------------------------------------------- output


def main():
    low, high = float(TABLE[0]), float(TABLE[-1])
    tensors = {"pattern": PATTERN, "x_init": X_INIT}
    cases = []

    def add(name, run, levels=None, kind="vp", n=None, scale=None, **more):
        net = Net(kind)
        levels_used = levels
        start = X_INIT * (levels[0] if scale is None else scale)
        run(net, start, levels) if levels is not None else run(net, start, n)
        ident = "s%03d" % len(cases)
        tensors[ident + ".x"] = torch.stack([start] + net.rows)
        if net.noise:
            tensors[ident + ".noise"] = torch.stack(net.noise)
        case = {"id": ident, "sampler": name, "kind": kind, "n": n or len(levels) - 1, "model_sigmas": net.levels}
        if levels_used is not None:
            case["sigmas"] = levels_used
        case.update(more)
        cases.append(case)

    f32 = lambda values: [struct.unpack("f", struct.pack("f", v))[0] for v in values]
    for n in (6, 13):
        s = f32(karras(n, low, high) + [0.0])
        add("euler_cfg_pp", euler_cfg_pp, s)
        add("euler_ancestral_cfg_pp", lambda *a: euler_cfg_pp(*a, eta=0.7), s, eta=0.7)
        add("dpmpp_2m_cfg_pp", dpmpp_2m_cfg_pp, s)
        add("dpmpp_2s_ancestral_cfg_pp", dpmpp_2s_a_cfg_pp, s)
        add("res_multistep", res_multistep, s)
        add("res_multistep_cfg_pp", lambda *a: res_multistep(*a, plus=True), s)
        add("res_multistep_ancestral", lambda *a: res_multistep(*a, eta=0.6), s, eta=0.6)
        add("res_multistep_ancestral_cfg_pp", lambda *a: res_multistep(*a, eta=0.6, plus=True), s, eta=0.6)
        add("gradient_estimation", gradient_estimation, s)
        add("gradient_estimation_cfg_pp", lambda *a: gradient_estimation(*a, plus=True), s)
        add("er_sde", er_sde, s)
        add("er_sde", lambda *a: er_sde(*a, s_noise=0.9), s, s_noise=0.9)
        add("seeds_2", seeds_2, s)
        add("seeds_2", lambda *a: seeds_2(*a, eta=0), s, eta=0)
        add("seeds_3", lambda *a: seeds_3(*a, eta=0.5), s, eta=0.5)
        add("exp_heun_2_x0", exp_heun, s)
        add("exp_heun_2_x0_sde", lambda *a: exp_heun(*a, eta=1.0), s)
        add("heunpp2", heunpp2, s)
        add("ipndm", ipndm, s)
        add("ipndm_v", ipndm_v, s)
        add("deis", deis, s)
        add("sa_solver", sa_solver, s)
        add("sa_solver_pece", lambda *a: sa_solver(*a, pece=True), s)
        add("sa_solver", lambda *a: sa_solver(*a, eta=0.4), s, eta=0.4)
        add("lcm", lcm, s)
        add("ddpm", ddpm, s)
        add("tcd", tcd, s)
        add("tcd", lambda *a: tcd(*a, gamma=0.8), s, eta=0.8)
        for name, kind in (("uni_pc", "bh1"), ("uni_pc_bh2", "bh2")):
            add(name, lambda net, x, v: unipc(net, x, v[:-1] + [0.001], kind, min(3, n - 1)), s,
                scale=s[0] / math.sqrt(s[0] ** 2 + 1))
        for name, kind in (("UniPC", "bh1"), ("UniPC bh2", "bh2")):
            logs = ALPHA_BAR.log()

            def at(t):
                i = min(int(t), 998)
                ab = math.exp(float((1 - (t - i)) * logs[i] + (t - i) * logs[i + 1]))
                return math.sqrt((1 - ab) / ab)

            own = [at(999 - 999 * i / n) for i in range(n + 1)]
            add(name, lambda net, x, count: unipc(net, x, own, kind, 3), n=n, scale=1.0)
        add("DDIM A1111", ddim_a1111, n=n, scale=1.0)
        add("DDIM A1111", lambda *a: ddim_a1111(*a, eta=0.8), n=n, scale=1.0, eta=0.8)
        add("DDIM CFG++", lambda *a: ddim_a1111(*a, plus=True), n=n, scale=1.0)
        f = f32([FLOW_SHIFT * u / (1 + (FLOW_SHIFT - 1) * u) for u in [1 - i / n for i in range(n)]] + [0.0])
        add("euler_ancestral", flow_euler_a, f, kind="flow")
        g = f32([0.98 * v for v in f])
        add("dpmpp_2m_sde", flow_dpmpp_2m_sde, g, kind="flow")
        add("er_sde", flow_er_sde, g, kind="flow")
    for n in (24, 40):
        add("restart", restart, f32(karras(n, low, high) + [0.0]))
    lists = {str(n): curves(n) for n in (4, 10, 11, 25)}
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "cases.json"), "w") as out:
        json.dump({"shape": SHAPE, "flow_shift": FLOW_SHIFT, "cases": cases, "curves": lists}, out, indent=0)
    header, data = {}, b""
    for name, tensor in tensors.items():
        raw = struct.pack("<%df" % tensor.numel(), *tensor.flatten().tolist())
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(here, "trajectories.safetensors"), "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
