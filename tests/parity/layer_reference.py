"""
layer_reference.py - the layers that all references share, in float64 and numpy alone.

  gelu, softmax, norms, attention of grouped heads, patches of a convolution, a state dict under a prefix

Ref:   arXiv:1706.03762 (attention), 1607.06450 and 1910.07467 (norms), 1606.08415 (GELU with erf).
Trap:  the norms differ in epsilon from model to model: it is always an argument.
"""

import math

import numpy as np

erf = np.frompyfunc(math.erf, 1, 1)


def gelu(x):
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)).astype(np.float64))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps) * weight + bias


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def attention(q, k, v, heads, mask=0.0):
    """q [B,T,D], k, v [B,S,Dk] with as many or fewer heads of the same width -> [B,T,D]."""
    width = q.shape[-1] // heads
    split = lambda x: x.reshape(*x.shape[:2], -1, width).swapaxes(1, 2)
    q, k, v = split(q), split(k), split(v)
    k, v = (np.repeat(x, heads // x.shape[1], axis=1) for x in (k, v))
    y = softmax(q @ k.swapaxes(2, 3) / math.sqrt(width) + mask) @ v
    return y.swapaxes(1, 2).reshape(y.shape[0], y.shape[2], -1)


class Weights:
    """Float64 view of a state dict under a prefix."""

    def __init__(self, state, prefix=""):
        self.state, self.prefix = state, prefix

    def __getitem__(self, name):
        return self.state[self.prefix + name].astype(np.float64)

    def at(self, name):
        return Weights(self.state, self.prefix + name)

    def has(self, name):
        return self.prefix + name in self.state

    def count(self, pattern):
        """Consecutive numbers i from 0 for which pattern % i exists."""
        i = 0
        while self.has(pattern % i):
            i += 1
        return i

    def linear(self, x, name):
        return x @ self[name + ".weight"].T + self[name + ".bias"]

    def norm(self, x, name, eps):
        return layer_norm(x, self[name + ".weight"], self[name + ".bias"], eps)


def patches(x, side, stride):
    """[B,C,Y,X] -> [B, rows*columns, C*side*side], row-major, as a convolution sees them."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(2, 3))[:, :, ::stride, ::stride]
    b, c, rows, columns = windows.shape[:4]
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(b, rows * columns, c * side * side)
