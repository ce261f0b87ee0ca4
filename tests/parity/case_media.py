"""
case_media.py - random clips and pictures for made cases: lossless, by the ffmpeg program, the same for the same seed.

  seed + description -> moving test picture with noise -> FFV1;  tones, noise and offset per channel -> FLAC or PCM -> input.mkv
                     -> one frame -> input.png

Trap:  FFmpeg's noise filter draws from its seed alone, gradients its colours from none; sound is computed here, so that channels,
       offset and length are exact.
"""

import wave

import numpy as np

import media_reference

SOURCES = {
    "testsrc2": "testsrc2=size={w}x{h}:rate={rate}",
    "mandelbrot": "mandelbrot=size={w}x{h}:rate={rate}:start_scale=1.5",
    "rgbtestsrc": "rgbtestsrc=size={w}x{h}:rate={rate},rotate=t",
    "gradients": "gradients=size={w}x{h}:rate={rate}:seed={seed}:c0=0x203060:c1=0xf0d0a0:speed=0.2",
}


def video_source(seed, clip):
    hold = clip.get("hold", 1)
    rate = clip["rate"] if hold == 1 else f"{clip['rate']}/{hold}"
    source = SOURCES[clip["source"]].format(w=clip["width"], h=clip["height"], rate=rate, seed=seed)
    again = "" if hold == 1 else f",fps={clip['rate']}"
    return f"{source},noise=alls=24:allf=t:all_seed={seed}{again},format={clip['pixels']}"


def sound(seed, clip):
    """int16 [L,C]: tones that differ by channel, a noise floor, an offset on the last channel, a silent tenth."""
    rng = np.random.default_rng((seed, 7))
    n, channels, rate = clip["samples"], clip["channels"], clip["sample_rate"]
    t = np.arange(n)[:, None] / rate
    tones = sum(
        rng.uniform(0.02, 0.2)
        * np.sin(2 * np.pi * rng.uniform(90, 0.45 * rate, channels) * t + rng.uniform(0, 6, channels))
        for _ in range(4)
    )
    x = tones * (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.3, 2.0) * t)) + 0.01 * rng.standard_normal((n, channels))
    x[:, -1] += 0.05
    x[n // 2 : n // 2 + n // 10] = 0
    return np.clip(np.round(x * 32767), -32768, 32767).astype("<i2")


def write_sound(path, seed, clip):
    with wave.open(str(path), "wb") as out:
        out.setnchannels(clip["channels"])
        out.setsampwidth(2)
        out.setframerate(clip["sample_rate"])
        out.writeframes(sound(seed, clip).tobytes())


def write_clip(folder, seed, clip):
    """-> name of the written file.

    clip: source, width, height, rate, pixels, frames (0: a picture), hold (frames that a picture stands still: steps repeat);
    with sound: codec, sample_rate, channels, samples
    """
    command = ["ffmpeg", "-v", "error", "-y", "-bitexact", "-f", "lavfi", "-i", video_source(seed, clip)]
    if clip["frames"] == 0:
        media_reference.run(command + ["-frames:v", "1", "-pix_fmt", clip["pixels"], str(folder / "input.png")])
        return "input.png"
    extra = ["-frames:v", str(clip["frames"]), "-c:v", "ffv1", "-flags", "+bitexact"]
    if clip.get("samples"):
        write_sound(folder / "sound.wav", seed, clip)
        command += ["-i", str(folder / "sound.wav"), "-map", "0:v", "-map", "1:a", "-c:a", clip["codec"]]
    media_reference.run(command + extra + [str(folder / "input.mkv")])
    (folder / "sound.wav").unlink(missing_ok=True)
    return "input.mkv"
