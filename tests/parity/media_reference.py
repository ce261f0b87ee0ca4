"""
media_reference.py - pixels and samples of a file by the ffmpeg program, for the reference and the case maker.

  video -> ffprobe: frames, rate -> indices -> ffmpeg scale=SxS:flags=bilinear -> RGB -> normalised float32 [T,3,S,S]
  picture -> ffmpeg rgb24 -> PIL's bicubic -> RGB -> normalised float32 [1,3,S,S]
  sound -> ffmpeg f32le -> samples [C,L]

Ref:   spec 3.1-3.5; Pillow 9 libImaging/Resample.c (the fixed-point recipe).
Trap:  a frame index counts packets in order of presentation; both passes of the bicubic round to bytes.
"""

import json
import subprocess

import numpy as np

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def run(command, **kw):
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, **kw)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.decode(errors='replace')[-600:]}")
    return done.stdout


def probe(path):
    """-> (packets of the video stream, frames per second, sample rate or None, channels)"""
    text = run(["ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", str(path)])
    streams = json.loads(text)["streams"]
    video = next(s for s in streams if s["codec_type"] == "video")
    sound = next((s for s in streams if s["codec_type"] == "audio"), None)
    num, den = map(int, video["avg_frame_rate"].split("/"))
    rate = num / den if den else float("nan")
    return (
        int(video["nb_read_packets"]),
        rate,
        int(sound["sample_rate"]) if sound else None,
        sound["channels"] if sound else 0,
    )


def frame_indices(total, wanted=8):
    n = min(wanted, total)
    return np.array([i * total // n for i in range(n)], np.int32)


def scaled_frames(path, indices, width, height):
    """RGB frames [T,height,width,3] of the indices."""
    scale = f"scale={width}:{height}:flags=bilinear"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0", "-vf", scale, "-fps_mode", "passthrough"]
    raw = run(command + ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"])
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)[indices]


def frames(path, indices, side):
    """RGB frames [T,side,side,3] of the indices, squashed as decord does."""
    return scaled_frames(path, indices, side, side)


def native_frames(path, indices):
    """RGB frames of the indices at the size of the picture."""
    info = json.loads(run(["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_streams", "-of", "json", str(path)]))
    return scaled_frames(path, indices, info["streams"][0]["width"], info["streams"][0]["height"])


def picture(path):
    """RGB [Y,X,3] of a still picture."""
    info = json.loads(run(["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]))["streams"][0]
    raw = run(["ffmpeg", "-v", "error", "-i", str(path), "-pix_fmt", "rgb24", "-f", "rawvideo", "-"])
    return np.frombuffer(raw, np.uint8).reshape(info["height"], info["width"], 3)


def samples(path, channels):
    """Float samples [C,L] of the first sound stream."""
    raw = run(["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", "-"])
    return np.frombuffer(raw, "<f4").reshape(-1, channels).T


def cubic(x):
    x, a = abs(x), -0.5
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def bicubic_axis(image, size):
    """image [n,...] uint8 -> [size,...] uint8 along the first axis."""
    n = image.shape[0]
    if n == size:
        return image
    step = n / size
    filter_scale = max(step, 1.0)
    out = np.empty((size, *image.shape[1:]), np.uint8)
    for o in range(size):
        centre, support = (o + 0.5) * step, 2.0 * filter_scale
        low, high = max(0, int(centre - support + 0.5)), min(n, int(centre + support + 0.5))
        weights = [cubic((low + k - centre + 0.5) / filter_scale) for k in range(high - low)]
        total = sum(weights)
        fixed = np.array([int(w / total * (1 << 22) + (-0.5 if w / total < 0 else 0.5)) for w in weights], np.int64)
        acc = np.tensordot(fixed, image[low:high].astype(np.int64), 1) + (1 << 21)
        out[o] = np.clip(acc >> 22, 0, 255)
    return out


def bicubic(image, height, width=None):
    """[Y,X,3] uint8 -> [height,width,3]; width None: a square"""
    wide = bicubic_axis(image.swapaxes(0, 1), width or height).swapaxes(0, 1)
    return bicubic_axis(wide, height)


def normalise(rgb):
    """uint8 [T,Y,X,3] -> float32 [T,3,Y,X]; every step in float32."""
    x = (rgb.astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def seconds(indices, rate):
    """The list of times in the sentence about the frames."""
    return ", ".join(f"{i / rate:.1f}" for i in indices.tolist())
