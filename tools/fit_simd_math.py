#!/usr/bin/env python3
"""Prints the coefficients used in src/kernels/simd_math.h (needs mpmath and numpy).

Each function is fitted on Chebyshev points by iteratively reweighted least squares (Lawson), which converges to the
minimax fit of the relative error. Coefficients are printed lowest power first.
"""
import mpmath as mp
import numpy as np

mp.mp.dps = 40


def chebyshev(low, high, count):
    return [(low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]


def solve(rows, right, weights):
    a = np.array([[float(v) for v in row] for row in rows], dtype=np.longdouble)
    b = np.array([mp.mpf(v) for v in right], dtype=object)
    w = np.sqrt(weights)
    columns = np.max(np.abs(a), axis=0)
    solution = np.linalg.lstsq((a / columns * w[:, None]).astype(float), (b * w).astype(float), rcond=None)[0]
    return solution / columns.astype(float)


def fit(function, low, high, p_degree, q_degree=0, count=400, rounds=60):
    """function(z) ~ P(z) / (1 + z Q(z)), relative error."""
    points = chebyshev(mp.mpf(low), mp.mpf(high), count)
    values = [function(z) for z in points]
    weights, q = np.ones(count), np.ones(count)
    for _ in range(rounds):
        rows = [[z**k / v / s for k in range(p_degree + 1)] + [-(z**k) / s for k in range(1, q_degree + 1)]
                for z, v, s in zip(points, values, q)]
        c = solve(rows, [1 / s for s in q], weights)
        q = np.array([1 + sum(float(c[p_degree + k]) * float(z)**k for k in range(1, q_degree + 1)) for z in points])
        p = [sum(float(c[k]) * float(z)**k for k in range(p_degree + 1)) for z in points]
        error = np.abs([a / b / float(v) - 1 for a, b, v in zip(p, q, values)])
        weights = weights * (error / error.mean() + 1e-3)
        weights /= weights.mean()
    return c[:p_degree + 1], c[p_degree + 1:], error.max()


def show(name, result):
    p, q, error = result
    print(f"{name}: relative error {error:.1e}")
    for label, c in (("P", p), ("Q", q)):
        if len(c):
            print(f"  {label} = " + ", ".join(f"{np.float32(v):.9e}f" for v in c))


half = mp.log(2) / 2
show("(exp(r)-1-r)/r^2", fit(lambda r: (mp.expm1(r) - r) / r**2, -half, half, 4))
show("(tanh(x)-x)/x^3 in x^2", fit(lambda z: (mp.tanh(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z)**3, 1e-10, 0.625**2, 4))
show("erf(x)/x in x^2", fit(lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z), 1e-12, 3.92**2, 5, 5))
