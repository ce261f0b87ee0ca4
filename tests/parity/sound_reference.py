"""
sound_reference.py - soundtrack to log-mel clips in float64: the second opinion on src/media/sound.c.

  samples [C,L] at any rate -> resample -> wave [C,S] at 16 kHz -> clip starts -> mean taken off in place -> Kaldi log-mel
  of channel 0 -> [clip,128,204], normalised

Ref:   spec 3.6-3.8; torchaudio.functional.resample, torchaudio.compliance.kaldi.fbank, ImageBind/data.py:28-161.
Trap:  the kernel of the resampler is rounded to float32 as the original's; overlapping clips see each other's mean subtraction;
       the mean is over all channels, the features come from channel 0.
"""

from fractions import Fraction
from math import ceil, gcd

import numpy as np

RATE, CLIPS, CLIP, DIVISOR = 16000, 8, 32000, 8
BINS, FRAMES, MEAN, STD = 128, 204, -4.268, 9.138


def resample_kernel(rate):
    """-> (kernel [n, 2*width+o] float32, o, n, width)."""
    f32 = np.float32
    g = gcd(rate, RATE)
    o, n = rate // g, RATE // g
    base = min(o, n) * 0.99
    width = ceil(6 * o / base)
    phase = (-np.arange(n)).astype(f32) / f32(n)
    tap = np.arange(-width, width + o).astype(f32) / f32(o)
    t = np.clip((phase[:, None] + tap[None, :]) * f32(base), f32(-6), f32(6))
    window = np.cos(t * f32(np.pi) / f32(6) / f32(2)) ** 2
    u = t * f32(np.pi)
    with np.errstate(invalid="ignore"):
        kernel = np.where(u == 0, f32(1), np.sin(u) / u) * (window * f32(base / o))
    return kernel.astype(f32), o, n, width


def resample(x, rate):
    """x [C,L] -> [C,ceil(16000*L/rate)]."""
    if rate == RATE:
        return x.astype(np.float64)
    kernel, o, n, width = resample_kernel(rate)
    length = -(-n * x.shape[1] // o)
    padded = np.pad(x.astype(np.float64), ((0, 0), (width, width + o)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[1], axis=1)[:, ::o]
    return (windows @ kernel.astype(np.float64).T).reshape(x.shape[0], -1)[:, :length]


def clip_starts(samples):
    """First sample of each clip; the clip length is taken off in double, all else is exact."""
    m = Fraction(max(samples / 16000.0 - 2.0, 0.0))
    return np.array([int(m * i * RATE / DIVISOR) for i in range(CLIPS)], np.int32)


def mel_bank():
    """[128,256] triangles over FFT bins, built in float32."""
    f32 = np.float32
    mel = lambda hz: 1127.0 * np.log(1.0 + hz / 700.0)
    low, high = mel(20.0), mel(8000.0)
    step = (high - low) / (BINS + 1)
    b = np.arange(BINS)[:, None]
    left, centre, right = ((low + (b + k) * step).astype(f32) for k in range(3))
    z = mel(31.25 * np.arange(256)).astype(f32)[None, :]
    return np.maximum(0, np.minimum((z - left) / (centre - left), (right - z) / (right - centre))).astype(np.float64)


def fbank(w):
    """w [S] -> [frames,128] log energies."""
    m = 1 + (w.size - 400) // 160
    s = np.lib.stride_tricks.sliding_window_view(w, 400)[::160][:m]
    s = s - s.mean(axis=1, keepdims=True)
    y = s - 0.97 * np.concatenate([s[:, :1], s[:, :-1]], axis=1)
    y = y * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399))
    power = np.abs(np.fft.rfft(y, 512, axis=1)) ** 2
    return np.log(np.maximum(power[:, :256] @ mel_bank().T, 1.1920928955078125e-07))


def mel_clips(wave):
    """wave [C,S] -> (clip starts [8], mel [8,128,204])."""
    wave = wave.copy()
    starts = clip_starts(wave.shape[1])
    out = np.zeros((CLIPS, BINS, FRAMES))
    for i, start in enumerate(starts):
        clip = wave[:, start : start + CLIP]
        clip -= clip.mean()
        features = fbank(clip[0]).T[:, :FRAMES]
        out[i, :, : features.shape[1]] = features
    return starts, (out - MEAN) / STD
