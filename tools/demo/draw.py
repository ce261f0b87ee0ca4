"""
draw.py - pixels of a scene.

  Scene, u, width, height -> texture -> objects (nine samples a pixel at soft edges, one at hard ones) -> drift, noise -> uint8
      RGB [H,W,3] FOREIGN kinds: pictures that do not belong to the world

Any width and height may be asked for: the picture is squashed to them as the engine's scaling does.
"""
import math

import numpy as np

FOREIGN = ("cloud", "waves", "mosaic", "text", "fractal", "photo", "lines", "bars", "blobs")


def inside(thing, u, v):
    """Which points (in units of the radius, y down) belong to the shape; boolean array."""
    c, s = math.cos(thing.turn), math.sin(thing.turn)
    u, v = (u * c + v * s) / thing.stretch, (v * c - u * s) * thing.stretch
    if thing.shape == "circle":
        return u * u + v * v < 1.0
    if thing.shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) < 0.9
    if thing.shape == "triangle":
        return (v > -1.0) & (v < 0.8) & (np.abs(u) < (v + 1.0) / 1.8)
    sector = 2 * math.pi / 5
    angle = np.abs((np.arctan2(u, -v) + sector / 2) % sector - sector / 2)
    # the edge from the tip (1, 0) to the notch at half a sector
    x1, y1 = thing.inner * math.cos(sector / 2), thing.inner * math.sin(sector / 2)
    return np.sqrt(u * u + v * v) * (y1 * np.cos(angle) + (1.0 - x1) * np.sin(angle)) < y1


def paint(image, scene, thing, where):
    x, y, radius = where
    height, width = image.shape[:2]
    sx, sy = width / scene.x_max, height / scene.y_max
    reach = radius * 1.5
    x0, x1 = max(0, int((x - reach) * sx)), min(width, int((x + reach) * sx) + 2)
    y0, y1 = max(0, int((y - reach) * sy)), min(height, int((y + reach) * sy) + 2)
    if x0 >= x1 or y0 >= y1:
        return
    n = 3 if thing.soft or sx < 110 or sy < 110 else 1
    u = ((np.arange((x1 - x0) * n, dtype=np.float32) + 0.5) / n + x0) / sx
    v = ((np.arange((y1 - y0) * n, dtype=np.float32) + 0.5) / n + y0) / sy
    hit = inside(thing, (u[None, :] - x) / radius, (v[:, None] - y) / radius)
    cover = hit.reshape(y1 - y0, n, x1 - x0, n).mean(axis=(1, 3), dtype=np.float32)[..., None]
    image[y0:y1, x0:x1] += cover * (np.array(thing.rgb, np.float32) - image[y0:y1, x0:x1])


def smooth_noise(rng, height, width, cells):
    """Bilinear noise in -1..1 with about that many cells across."""
    grid = rng.uniform(-1, 1, (cells + 2, cells + 2)).astype(np.float32)
    y, x = np.linspace(0, cells, height, dtype=np.float32), np.linspace(0, cells, width, dtype=np.float32)
    i, j = y.astype(int), x.astype(int)
    fy, fx = (y - i)[:, None], (x - j)[None, :]
    rows = grid[i] * (1 - fy) + grid[i + 1] * fy
    return rows[:, j] * (1 - fx) + rows[:, j + 1] * fx


def background(scene, height, width):
    image = np.empty((height, width, 3), np.float32)
    image[:] = np.array(scene.background_rgb, np.float32)
    if scene.texture:
        kind, amount, seed = scene.texture
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:1:height * 1j, 0:1:width * 1j].astype(np.float32)
        angle = rng.uniform(0, 2 * math.pi)
        along = x * math.cos(angle) + y * math.sin(angle)
        if kind == "gradient":
            field = 2 * along - 1
        elif kind == "stripes":
            field = np.sin(along * rng.uniform(20, 70))
        elif kind == "cloud":
            field = smooth_noise(rng, height, width, int(rng.integers(2, 9)))
        else:
            field = 0.5 * smooth_noise(rng, height, width, 40)
        image += (amount * field)[..., None]
    return image


def frame(scene, u, height, width, rng):
    """The picture at the fraction u; rng draws the camera noise only."""
    if scene.foreign:
        return foreign(scene.foreign, u, height, width)
    if (height, width) not in scene.drawn:
        scene.drawn[height, width] = background(scene, height, width)
    image = scene.drawn[height, width].copy()
    for thing, where in scene.at(u):
        if where:
            paint(image, scene, thing, where)
    if scene.drift:
        image *= 1 + scene.drift * math.sin(2 * math.pi * u)
    if scene.noise:
        image += rng.normal(0, scene.noise, image.shape).astype(np.float32)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def foreign(kind_seed, u, height, width):
    """A picture that is not of the world, moving a little with u."""
    kind, seed = kind_seed
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:1:height * 1j, 0:1:width * 1j].astype(np.float32)
    x = x + np.float32(rng.uniform(-0.3, 0.3) * u)
    if kind == "cloud":
        image = sum(
            np.stack([smooth_noise(rng, height, width, c) for _ in range(3)], -1) * (140 / k)
            for k, c in enumerate((3, 7, 15, 31), 1)) + 128
    elif kind == "waves":
        image = np.stack(
            [128 + 127 * np.sin(x * rng.uniform(5, 60) + y * rng.uniform(5, 60) + rng.uniform(0, 6) + 3 * u) for _ in range(3)],
            -1)
    elif kind == "mosaic":
        n = int(rng.integers(5, 24))
        tiles = rng.integers(0, 256, (n + 1, n + 1, 3))
        image = tiles[(y * n).astype(int) % n, (np.abs(x) * n).astype(int) % n].astype(np.float32)
    elif kind == "text":
        image = np.full((height, width, 3), rng.uniform(150, 255), np.float32)
        ink, rows = rng.uniform(0, 90), int(rng.integers(6, 16))
        letters = rng.random((rows, 40)) < 0.75
        strokes = rng.random((rows * 4, 160)) < 0.55
        row, col = np.clip((y * rows * 1.3).astype(int), 0, rows - 1), np.clip((np.abs(x) * 40).astype(int), 0, 39)
        on = letters[row, col] & strokes[(y * rows * 5.2).astype(int) % (rows * 4),
                                         (np.abs(x) * 160).astype(int) % 160] & ((y * rows * 1.3) % 1 < 0.62)
        image[on] = ink
    elif kind == "fractal":
        z = (x - 0.7) * 3 * rng.uniform(0.3, 1) + 1j * (y - 0.5) * 2.4
        c, n, steps = z + rng.uniform(-0.3, 0.1), np.zeros(z.shape, np.float32), 16
        for _ in range(steps):
            live = np.abs(z) < 2
            z = np.where(live, z * z + c, z)
            n += live
        image = np.stack([n * rng.uniform(4, 16), (n * rng.uniform(8, 40)) % 256, 255 - n * rng.uniform(2, 14)], -1)
    elif kind == "photo":
        horizon = rng.uniform(0.3, 0.7)
        sky, ground = rng.uniform(60, 255, 3), rng.uniform(20, 180, 3)
        image = np.where((y < horizon + 0.06 * smooth_noise(rng, height, width, 6))[..., None], sky, ground).astype(np.float32)
        image *= 1 + 0.3 * smooth_noise(rng, height, width, 5)[..., None] + 0.25 * smooth_noise(rng, height, width, 25)[...,
                                                                                                                        None]
        for _ in range(int(rng.integers(3, 9))):
            cx, cy, w, h = rng.uniform(0, 1), rng.uniform(0.2, 1), rng.uniform(0.02, 0.2), rng.uniform(0.05, 0.5)
            blob = (np.abs(x - cx) / w)**3 + (np.abs(y - cy) / h)**3 < 1 + 0.6 * smooth_noise(rng, height, width, 12)
            image[blob] = image[blob] * 0.3 + rng.uniform(10, 210, 3) * 0.7
    elif kind == "lines":
        image = np.full((height, width, 3), rng.uniform(0, 255), np.float32)
        for _ in range(int(rng.integers(6, 22))):
            a, off, wide = rng.uniform(0, math.pi), rng.uniform(-0.5, 1), rng.uniform(0.004, 0.03)
            image[np.abs(x * math.cos(a) + y * math.sin(a) - off) < wide] = rng.uniform(0, 255, 3)
    elif kind == "bars":
        n = int(rng.integers(4, 12))
        image = rng.integers(0, 2, (n, 3))[np.clip(
            (np.abs(x) * n).astype(int), 0, n - 1)] * rng.uniform(140, 255) * np.ones_like(x)[..., None]
        low = y > rng.uniform(0.6, 1.1)
        image[low] = (rng.integers(0, 2, (2 * n, 3)) * 200)[np.clip((np.abs(x) * 2 * n).astype(int), 0, 2 * n - 1)][low]
    else:
        image = np.full((height, width, 3), rng.uniform(0, 255, 3), np.float32)
        for _ in range(int(rng.integers(14, 40))):
            cx, cy, w = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.02, 0.16)
            reach = np.exp(-((x - cx)**2 + (y - cy)**2) / w**2)[..., None]
            image += reach * (rng.uniform(0, 255, 3) - image)
    image = image + rng.normal(0, rng.uniform(0, 8), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)
