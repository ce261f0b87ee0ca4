"""
mel.py - what the sound tower sees of a track: eight windows of log-mel features, as the engine makes them.

  samples at 16 kHz -> window starts floor(m i 16000 / 8), m = duration - 2 -> Kaldi log-mel [128,198] -> padded to 204,
      normalised

Ref:   ImageBind data.py, torchaudio's kaldi.fbank with 128 bins and a Hann window of 25 ms every 10 ms.
Trap:  the padding is 0 before the normalisation. The mean that the engine takes off a whole window is left out here: every
       frame of 25 ms loses its own mean, so only a step of that size at the edge of overlapping windows differs.
"""
import numpy as np

RATE, CLIP, CLIPS, BINS, COLUMNS, SHIFT, LENGTH = 16000, 32000, 8, 128, 204, 160, 400
HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LENGTH) / (LENGTH - 1))).astype(np.float32)


def bank():

    def mel(f):
        return 1127.0 * np.log(1.0 + f / 700.0)

    low, high = mel(20.0), mel(8000.0)
    step = (high - low) / (BINS + 1)
    left = low + step * np.arange(BINS)[:, None]
    z = mel(31.25 * np.arange(256))[None]
    return np.maximum(0, np.minimum((z - left) / step, (left + 2 * step - z) / step)).astype(np.float32)


BANK = bank().T.copy()


def log_mel(samples):
    """[n] -> [frames,128]"""
    frames = np.lib.stride_tricks.sliding_window_view(samples, LENGTH)[::SHIFT].astype(np.float32)
    frames = frames - frames.mean(1, keepdims=True)
    frames[:, 1:] -= 0.97 * frames[:, :-1].copy()
    frames[:, 0] *= 0.03
    power = np.abs(np.fft.rfft(frames * HANN, 512, axis=1)).astype(np.float32)**2
    return np.log(np.maximum(power[:, :256] @ BANK, np.float32(1.1920929e-07)))


def starts(n):
    return [int(max(n / RATE - 2.0, 0.0) * i * RATE / CLIPS) for i in range(CLIPS)]


def windows_of(features, n):
    """The eight windows [8,128,204] from the log-mel frames of a whole track of n samples; starts are rounded to 10 ms."""
    out = np.zeros((CLIPS, BINS, COLUMNS), np.float32)
    for i, start in enumerate(starts(n)):
        part = features[round(start / SHIFT):][:1 + (CLIP - LENGTH) // SHIFT]
        out[i, :, :len(part)] = part.T
    return (out + 4.268) / 9.138
