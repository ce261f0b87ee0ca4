"""
codec.py - through real H.264 and AAC and back, many pictures or sounds in one file.

  frames uint8 [n,H,W,3] -> x264 (preset, crf) -> mp4 -> swscale bilinear to 112 x 112, as the engine scales -> uint8
      [n,112,112,3]
  samples float [n] -> AAC (bits a second) -> m4a -> samples

Needs the ffmpeg program.
"""
import os
import subprocess
import tempfile

import numpy as np


def call(arguments, data=None):
    done = subprocess.run(["ffmpeg", "-v", "error", "-nostdin" if data is None else "-y", "-y", *arguments],
                          input=data,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(f"ffmpeg: {done.stderr.decode(errors='replace')[-500:]}")
    return done.stdout


def frames_through_h264(frames, side, crf, preset="veryfast", rate=25):
    _, height, width, _ = frames.shape
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.mp4")
        call([
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r",
            str(rate), "-i", "-", "-c:v", "libx264", "-threads", "1", "-preset", preset, "-crf",
            str(crf), "-pix_fmt", "yuv420p", path
        ],
             np.ascontiguousarray(frames).tobytes())
        raw = call([
            "-threads", "1", "-i", path, "-vf", f"scale={side}:{side}:flags=bilinear", "-fps_mode", "passthrough", "-pix_fmt",
            "rgb24", "-f", "rawvideo", "-"
        ])
    return np.frombuffer(raw, np.uint8).reshape(-1, side, side, 3)


def sound_through_aac(samples, bits, rate=16000):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.m4a")
        call(["-f", "f32le", "-ar",
              str(rate), "-ac", "1", "-i", "-", "-c:a", "aac", "-b:a",
              str(bits), path],
             samples.astype("<f4").tobytes())
        raw = call(["-i", path, "-f", "f32le", "-ar", str(rate), "-ac", "1", "-"])
    out = np.zeros(samples.size, np.float32)
    got = np.frombuffer(raw, "<f4")[:samples.size]
    out[:got.size] = got
    return out
