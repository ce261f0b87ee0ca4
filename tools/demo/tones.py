"""
tones.py - soundtracks of the demo's world.

  random generator, duration -> Track(samples at 16 kHz, kind, pitch, parts) -> facts (kind, pitch, number, first, last
      eighth)

Everything that is asked about lies in what the eight two-second windows of the engine hear: up to 2 + 7/8 (d - 2) seconds.
Trap:  people's beeps begin at t = 0 exactly and are cut off hard, on digital silence: such clips are a good share here.
"""
import math

import numpy as np

from facts import SOUNDS

RATE = 16000
LOW, HIGH = (190, 600), (850, 3100)


def heard_until(duration):
    return duration if duration <= 2 else 2 + 7 / 8 * (duration - 2)


class Track:
    """parts: [(begin, end)] of what sounds, in seconds"""

    def __init__(self, samples, kind, pitch=0, parts=()):
        self.samples, self.kind, self.pitch, self.parts = samples, kind, pitch, list(parts)

    def facts(self):
        duration = self.samples.size / RATE
        number = len(self.parts) if self.kind == "beeps" else 0
        first = last = None
        if self.parts and self.kind not in ("silence", "unknown"):
            first, last = int(8 * self.parts[0][0] / duration), min(7, int(8 * (self.parts[-1][1] - 1e-3) / duration))
        return SOUNDS.index(self.kind), self.pitch, number, first, last


def wave(phase, timbre):
    """One of four timbres of a phase (cycles)."""
    angle = 2 * np.pi * phase
    if timbre == "sine":
        return np.sin(angle)
    if timbre == "square":
        return 0.7 * np.sign(np.sin(angle))
    if timbre == "triangle":
        return 2 / np.pi * np.arcsin(np.sin(angle))
    return 0.7 * np.sin(angle) + 0.25 * np.sin(2 * angle) + 0.12 * np.sin(3 * angle)


def edges(r, x, hard):
    """Fades of a few milliseconds, or a hard cut."""
    if not hard and x.size > 20:
        n = min(x.size // 2 - 1, int(RATE * r.uniform(0.003, 0.03)))
        ramp = np.linspace(0, 1, n)
        x[:n] *= ramp
        x[-n:] *= ramp[::-1]
    return x


def frequency(r):
    pitch = r.choice((1, 2))
    if r.random() < 0.35:
        return pitch, r.choice(((200, 220, 250, 262, 300, 330, 349, 392, 400, 440, 500) if pitch == 1 else
                                (880, 900, 1000, 1000, 1000, 1200, 1500, 2000, 2500, 3000)))
    low, high = LOW if pitch == 1 else HIGH
    return pitch, math.exp(r.uniform(math.log(low), math.log(high)))


def put(samples, begin, x):
    i = int(begin * RATE)
    n = min(x.size, samples.size - i)
    samples[i:i + n] += x[:n]


def beep_times(r, limit):
    """Begins and lengths of one to four beeps before `limit` seconds."""
    number = r.choice((1, 2, 2, 3, 3, 4, 4))
    for _ in range(50):
        length = r.uniform(0.08, 0.5) if r.random() < 0.7 else r.choice((0.1, 0.2, 0.2, 0.25, 0.3, 0.5))
        period = length + r.uniform(0.12, 1.1) if r.random() < 0.6 else r.choice((0.4, 0.5, 0.5, 0.6, 0.75, 1.0, 1.0, 1.0))
        span = period * (number - 1) + length
        if period < length + 0.1 or span > limit:
            continue
        start = 0.0 if r.random() < 0.3 else r.uniform(0, limit - span)
        if r.random() < 0.15 and start + span < limit:
            start = float(int(2 * start)) / 2
        wobble = 0.25 * (period - length - 0.1) if r.random() < 0.2 else 0.0
        return [(max(0.0, start + i * period + (r.uniform(-wobble, wobble) if 0 < i < number - 1 else 0)), length)
                for i in range(number)]
    return [(0.0, min(0.2, limit))]


def beeps(r, samples, limit):
    pitch, f = frequency(r)
    timbre, hard, level = r.choice(
        ("sine", "sine", "sine", "square", "triangle", "rich")), r.random() < 0.55, r.uniform(0.06, 0.9)
    parts = []
    for begin, length in beep_times(r, limit):
        t = np.arange(int(length * RATE)) / RATE
        put(samples, begin, level * edges(r, wave(f * t, timbre), hard))
        parts.append((begin, begin + length))
    return "beeps", pitch, parts


def tone(r, samples, limit):
    pitch, f = frequency(r)
    duration = samples.size / RATE
    begin, end = (0.0, duration) if r.random() < 0.6 else (r.uniform(0, 0.15 * duration), duration * r.uniform(0.85, 1))
    t = np.arange(int((end - begin) * RATE)) / RATE
    level, x = r.uniform(0.06, 0.8), wave(f * t, r.choice(("sine", "sine", "triangle", "rich")))
    put(samples, begin, level * edges(r, x, r.random() < 0.6))
    return "tone", pitch, [(begin, end)]


def sweep(r, samples, limit):
    kind = r.choice(("rising", "falling"))
    length = r.uniform(0.6, min(3.0, limit)) if r.random() < 0.85 else limit
    begin = 0.0 if r.random() < 0.3 else r.uniform(0, limit - length)
    low = math.exp(r.uniform(math.log(180), math.log(1200)))
    high = min(6000.0, low * r.uniform(2.0, 7.0))
    a, b = (low, high) if kind == "rising" else (high, low)
    t = np.arange(int(length * RATE)) / RATE
    u = t / length
    f = a + (b - a) * u if r.random() < 0.5 else a * (b / a)**u
    level, x = r.uniform(0.06, 0.8), wave(np.cumsum(f) / RATE, r.choice(("sine", "sine", "triangle")))
    put(samples, begin, level * edges(r, x, r.random() < 0.5))
    return kind, 0, [(begin, begin + length)]


def coloured(rng, n, slope):
    """Noise with a spectrum of f^-slope, peak about 1."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum /= np.maximum(np.arange(spectrum.size), 20 * n / RATE)**slope
    x = np.fft.irfft(spectrum, n)
    return x / (3 * x.std() + 1e-9)


def noise(r, samples, limit, rng):
    length = r.uniform(0.3, min(2.5, limit)) if r.random() < 0.85 else limit
    begin = 0.0 if r.random() < 0.25 else r.uniform(0, limit - length)
    x = coloured(rng, int(length * RATE), r.choice((0, 0, 0.5, 1)))
    put(samples, begin, r.uniform(0.08, 0.8) * edges(r, x, r.random() < 0.5))
    return "noise", 0, [(begin, begin + length)]


def clicks(r, samples, limit, rng):
    number, parts = r.randrange(2, 9), []
    period = r.uniform(0.12, 0.6)
    number = max(2, min(number, int(limit / period)))
    start = 0.0 if r.random() < 0.2 else r.uniform(0, max(0.0, limit - period * number))
    decay, level, thump = r.uniform(0.004, 0.03), r.uniform(0.15, 0.9), r.random() < 0.4
    for i in range(number):
        begin = start + i * period * (1 + (r.uniform(-0.1, 0.1) if i else 0))
        t = np.arange(int(8 * decay * RATE)) / RATE
        x = np.sin(2 * np.pi * r.uniform(60, 140) * t) if thump else rng.standard_normal(t.size) * 0.5
        put(samples, begin, level * x * np.exp(-t / (decay * (2 if thump else 1))))
        parts.append((begin, begin + 4 * decay))
    return "clicks", 0, parts


def unknown(r, samples, rng):
    """Chords, tunes, something like speech, hum: nothing that the world has a word for."""
    n, t = samples.size, np.arange(samples.size) / RATE
    kind = r.choice(("tune", "chords", "speech", "speech", "rumble"))
    if kind in ("tune", "chords"):
        step, at, roots = r.uniform(0.12, 0.5), 0.0, [220 * 2**(k / 12) for k in (0, 2, 3, 5, 7, 8, 10, 12, 14, 15)]
        while at * RATE < n:
            length = step * r.choice((1, 1, 2))
            u = np.arange(int(length * RATE)) / RATE
            for _ in range(3 if kind == "chords" else r.choice((1, 2))):
                note = wave(r.choice(roots) * r.choice((0.5, 1, 2)) * u, "rich")
                put(samples, at, 0.3 * note * np.exp(-u * r.uniform(0.5, 5)))
            at += length
        samples += 0.1 * coloured(rng, n, 0.5) * (np.sin(2 * np.pi * t / step / 2) > 0.8)
    elif kind == "speech":
        at = 0.0
        while at * RATE < n:
            length = r.uniform(0.06, 0.3)
            u = np.arange(int(length * RATE)) / RATE
            if r.random() < 0.75:
                f0 = r.uniform(90, 240)
                pulse = np.sum([
                    np.sin(2 * np.pi * f0 * (1 + 0.1 * np.sin(3 * u)) * u * k) *
                    (math.exp(-((f0 * k - r.uniform(300, 900)) / 250)**2) + 0.6 * math.exp(-(
                        (f0 * k - r.uniform(1000, 2500)) / 400)**2) + 0.05) for k in range(1, 18)
                ], 0)
                put(samples, at, 0.25 * pulse * np.sin(np.pi * u / length))
            elif r.random() < 0.6:
                hiss = np.arange(max(u.size, 64))
                put(samples, at, 0.12 * coloured(rng, hiss.size, 0) * np.sin(np.pi * hiss / hiss.size))
            at += length * r.uniform(0.8, 1.6)
    else:
        samples += 0.5 * coloured(rng, n, 1) * (0.6 + 0.4 * np.sin(2 * np.pi * t * r.uniform(0.3, 3)))
        samples += 0.1 * np.sin(2 * np.pi * r.choice((50, 60, 100)) * t)
        samples += 0.1 * coloured(rng, n, 0) * (np.sin(2 * np.pi * t * r.uniform(2, 9)) > 0.5)
    samples *= r.uniform(0.3, 1.0)
    return "unknown", 0, []


def choose_track(r, duration, kind=None):
    rng = np.random.default_rng(r.randrange(1 << 40))
    samples, limit = np.zeros(int(round(duration * RATE))), heard_until(duration)
    kind = kind or r.choice(
        ("silence", "beeps", "beeps", "beeps", "beeps", "tone", "sweep", "sweep", "noise", "clicks", "unknown"))
    if kind == "silence":
        made = "silence", 0, []
    elif kind in ("beeps", "tone", "sweep"):
        made = {"beeps": beeps, "tone": tone, "sweep": sweep}[kind](r, samples, limit)
    elif kind == "unknown":
        made = unknown(r, samples, rng)
    else:
        made = {"noise": noise, "clicks": clicks}[kind](r, samples, limit, rng)
    if r.random() < 0.5:
        samples += math.exp(r.uniform(math.log(0.0002), math.log(0.006))) * 3 * coloured(rng, samples.size, r.choice(
            (0, 0.5, 1)))
    if r.random() < 0.12:  # as if it had been sampled at a lower rate
        spectrum = np.fft.rfft(samples)
        spectrum[int(spectrum.size * r.choice((4000, 5512, 5512, 6000)) / 8000):] = 0
        samples = np.fft.irfft(spectrum, samples.size)
    return Track(np.clip(samples, -1, 1).astype(np.float32), *made)
