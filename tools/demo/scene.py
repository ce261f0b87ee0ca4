"""
scene.py - what happens in a clip of the demo's world, as numbers: objects, background, and where everything is at any time.

  random generator -> Scene(objects, background, size) -> Scene.at(u) -> drawn objects at the fraction u of the clip

Lengths are in units of the short side of the picture; u runs from 0 to 1 over the clip. The model sees the eight samples u =
i/8, so every event has a sample f at which it has happened for the first time. Two objects never have the same colour.
Trap:  what is asked must be visible in the eight samples: moves are long, blinking changes at least three times, events are at
       samples 2 to 6.
"""
import colorsys
import math

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "white", "black")
SHAPES = ("circle", "square", "triangle", "star")
MOTIONS = ("still", "left", "right", "up", "down", "growing", "shrinking", "blinking", "appearing", "leaving")
BACKGROUNDS = COLOURS + ("grey", )
SIZES = ("small", "large", "medium")  # medium is never asked about
SAMPLES = 8
SMALL, LARGE = (0.085, 0.125), (0.175, 0.26)

# hue in degrees, saturation, value
RANGES = {
    "red": ((-7, 7), (0.75, 1.0), (0.6, 1.0)), "green": ((95, 150), (0.5, 1.0), (0.4, 1.0)),
    "blue": ((206, 246), (0.6, 1.0), (0.5, 1.0)), "yellow": ((52, 63), (0.65, 1.0), (0.85, 1.0)),
    "orange": ((22, 40), (0.8, 1.0), (0.88, 1.0)), "purple": ((268, 303), (0.5, 1.0), (0.4, 0.85)),
    "white": ((0, 360), (0.0, 0.05), (0.92, 1.0)), "black": ((0, 360), (0.0, 0.3), (0.0, 0.1)),
    "grey": ((0, 360), (0.0, 0.06), (0.35, 0.68)),
}
PURE = {
    "red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "orange": (255, 165, 0),
    "purple": (128, 0, 128), "white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128)
}


def shade(r, name):
    """A plausible (red, green, blue) of the name, 0 to 255; often the very one that drawing programs know by it."""
    if r.random() < 0.25:
        return (0, 255, 0) if name == "green" and r.random() < 0.4 else PURE[name]
    hue, saturation, value = (r.uniform(*limits) for limits in RANGES[name])
    return tuple(255 * x for x in colorsys.hsv_to_rgb((hue % 360) / 360, saturation, value))


class Thing:
    """One object: its looks, and how place, radius and visibility change."""

    def __init__(self, colour, shape):
        self.colour, self.shape, self.motion, self.event = colour, shape, "still", None
        self.start, self.end = None, None  # (x, y, radius) at u = 0 and u = 1
        self.visible = [True] * SAMPLES  # at the samples
        self.turns = ()  # fractions u where the visibility changes
        self.first_visible = True

    @property
    def size(self):
        if self.motion in ("growing", "shrinking"):
            return "medium"
        radius = self.start[2]
        return "small" if radius < 0.13 else "large" if radius > 0.165 else "medium"

    def at(self, u):
        """(x, y, radius), or None while it cannot be seen"""
        seen = self.first_visible ^ (sum(u >= turn for turn in self.turns) % 2 == 1)
        return tuple(a + (b - a) * u for a, b in zip(self.start, self.end)) if seen else None


class Scene:

    def __init__(self, width, height):
        self.width, self.height = width, height
        short = min(width, height)
        self.x_max, self.y_max = width / short, height / short
        self.things, self.background, self.background_rgb, self.texture, self.foreign = [], "grey", (128, 128, 128), None, None
        self.noise, self.drift = 0.0, 0.0
        self.drawn = {}  # backgrounds kept by draw.py, by (height, width)

    def at(self, u):
        return [(thing, thing.at(u)) for thing in self.things]

    def events(self):
        """Things that appear or leave, in order of time."""
        return sorted((t for t in self.things if t.event is not None), key=lambda t: t.event)


def looks(r, thing):
    thing.rgb = shade(r, thing.colour)
    spread = {"square": 1.45, "circle": 1.12, "triangle": 1.3, "star": 1.12}[thing.shape]
    thing.stretch = math.exp(r.uniform(-1, 1) * math.log(spread)) if r.random() < 0.5 else 1.0
    thing.turn = r.uniform(-0.2, 0.2) if r.random() < 0.3 else 0.0
    if thing.shape == "triangle" and r.random() < 0.12:
        thing.turn = math.pi
    if thing.shape == "star":
        thing.turn += r.choice((0, 0, 0, math.pi / 5))
    thing.inner = r.uniform(0.36, 0.52)
    thing.soft = r.random() < 0.5


def radius_of(r):
    return r.uniform(*SMALL) if r.random() < 0.5 else r.uniform(*LARGE) if r.random() < 0.9 else r.uniform(0.125, 0.175)


def choose_path(r, scene, thing):
    """Start and end for the motion; the object stays inside the picture (moves may touch its edge)."""
    radius = radius_of(r)
    motion = thing.motion
    if motion in ("growing", "shrinking"):
        low = r.uniform(0.07, 0.13)
        high = min(0.32, low * r.uniform(1.7, 3.2))
        a, b = (low, high) if motion == "growing" else (high, low)
        edge = high * 0.9
        x, y = place(r, edge, scene.x_max), place(r, edge, scene.y_max)
        thing.start, thing.end = (x, y, a), (x, y, b)
        return
    edge = radius * (1.0 if r.random() < 0.8 else 0.5)
    x, y = place(r, edge, scene.x_max), place(r, edge, scene.y_max)
    thing.start = thing.end = (x, y, radius)
    if motion in ("left", "right", "up", "down"):
        across = motion in ("left", "right")
        limit = scene.x_max if across else scene.y_max
        free = max(limit - 2 * edge, 0.2)
        travel = free * r.uniform(0.3, 1.0)
        low = edge + (free - travel) * r.random()
        a, b = (low, low + travel) if motion in ("right", "down") else (low + travel, low)
        slip = r.uniform(-0.03, 0.03) if r.random() < 0.2 else 0.0
        thing.start = (a, y, radius) if across else (x, a, radius)
        thing.end = (b, y + slip, radius) if across else (x + slip, b, radius)


def place(r, edge, limit):
    return limit / 2 if limit <= 2 * edge else r.uniform(edge, limit - edge)


def choose_times(r, thing):
    motion = thing.motion
    if motion in ("appearing", "leaving"):
        thing.event = r.randrange(2, 7)
        thing.turns = ((thing.event - r.uniform(0.1, 0.9)) / SAMPLES, )
        thing.first_visible = motion == "leaving"
    elif motion == "blinking":
        while True:
            period, phase = r.uniform(0.14, 0.5), r.random()
            if r.random() < 0.4:
                period, phase = r.choice((0.25, 0.25, 0.5, 0.125 * 3)), r.choice((0.01, 0.5))
            duty = r.uniform(0.35, 0.65)
            seen = [((i / SAMPLES / period + phase) % 1) < duty for i in range(SAMPLES)]
            if sum(a != b for a, b in zip(seen, seen[1:])) >= 3 and sum(seen) >= 2:
                break
        steps = 400
        states = [((i / steps / period + phase) % 1) < duty for i in range(steps)]
        thing.first_visible = states[0]
        thing.turns = tuple(i / steps for i in range(1, steps) if states[i] != states[i - 1])
    thing.visible = [thing.at(i / SAMPLES) is not None for i in range(SAMPLES)]


def clear_of(thing, others):
    for other in others:
        for i in range(SAMPLES):
            a = [s + (e - s) * i / SAMPLES for s, e in zip(thing.start, thing.end)]
            b = [s + (e - s) * i / SAMPLES for s, e in zip(other.start, other.end)]
            if math.hypot(a[0] - b[0], a[1] - b[1]) < 0.95 * (a[2] + b[2]):
                return False
    return True


def choose_size(r):
    """Width and height of a picture, from thumbnails to full HD, portrait too."""
    width, height = r.choice(((160, 120), (320, 240), (640, 480), (320, 180), (640, 360), (854, 480), (1280, 720), (1920, 1080),
                              (400, 400), (480, 320), (176, 144), (720, 576)))
    return (height, width) if r.random() < 0.25 else (width, height)


def choose_background(r, scene, used):
    free = [name for name in BACKGROUNDS if name not in used]
    plain = [name for name in ("grey", "white", "black") if name in free]
    scene.background = r.choice(plain) if plain and r.random() < 0.45 else r.choice(free)
    scene.background_rgb = shade(r, scene.background)
    kind = r.random()
    scene.texture = None if kind < 0.5 else (r.choice(
        ("gradient", "stripes", "cloud", "grain")), r.uniform(3, 14), r.randrange(1 << 30))
    scene.noise = 0.0 if r.random() < 0.4 else r.uniform(0.5, 6.0)
    scene.drift = 0.0 if r.random() < 0.5 else r.uniform(-0.08, 0.08)


def choose_scene(r, n_things=None, motions=None, size=None):
    """A scene as in the clips that are asked about: one to three objects."""
    scene = Scene(*(size or choose_size(r)))
    n = r.choice((1, 1, 2, 2, 2, 3, 3)) if n_things is None else n_things
    colours = r.sample(COLOURS, n)
    shape = r.choice(SHAPES)
    for colour in colours:
        for _ in range(60):
            thing = Thing(colour, shape if r.random() < 0.12 else r.choice(SHAPES))
            thing.motion = r.choice(motions or MOTIONS)
            looks(r, thing)
            choose_path(r, scene, thing)
            choose_times(r, thing)
            same_time = any(t.event == thing.event and thing.event is not None for t in scene.things)
            if clear_of(thing, scene.things) and not same_time:
                scene.things.append(thing)
                break
    choose_background(r, scene, [t.colour for t in scene.things])
    return scene


def choose_dense(r, size=None):
    """One still picture full of objects of any size: seen only by the towers' training."""
    scene = Scene(*(size or choose_size(r)))
    for colour in r.sample(COLOURS, r.randrange(3, 8)):
        for _ in range(12):
            thing = Thing(colour, r.choice(SHAPES))
            looks(r, thing)
            radius = r.uniform(0.07, 0.28)
            thing.start = thing.end = (place(r, radius * 0.9, scene.x_max), place(r, radius * 0.9, scene.y_max), radius)
            if clear_of(thing, scene.things):
                scene.things.append(thing)
                break
    choose_background(r, scene, [t.colour for t in scene.things])
    return scene
