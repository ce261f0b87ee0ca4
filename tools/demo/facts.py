"""
facts.py - what is true about a clip, as small whole numbers: the meeting point of pictures, sounds, questions and training
targets.

  Scene, Sound -> Facts -> questions.py (words)
                        -> video_labels [18,5], audio_labels [4,2]  (what every query of the two small Q-Formers has to hold)

Queries of the Video Q-Former: 0-7 the object of each colour; 8 background; 9 not of this world; 10 number of objects; 11, 12
first and last event; 13-16 the object of each shape; 17 the only object. Of the Audio Q-Former: kind and pitch; number of
beeps; first eighth; last eighth. -1: nothing to be said.
"""
import numpy as np

from scene import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, SIZES

SOUNDS = ("silence", "beeps", "tone", "rising", "falling", "noise", "clicks", "unknown")
PITCHES = 3  # none, low, high

# attributes of every query: (name, number of classes), in the order of the columns of the labels
OBJECT = (("status", 3), ("colour", 8), ("shape", 4), ("size", 3), ("motion", 10), ("event", 9))
VIDEO_GROUPS = (("object", range(0, 8), OBJECT), ("background", (8, ), (("background", 9), )),
                ("foreign", (9, ), (("foreign", 2), )), ("count", (10, ), (("count", 5), )), ("first", (11, ), OBJECT),
                ("last", (12, ), OBJECT), ("shape", range(13, 17), OBJECT), ("only", (17, ), OBJECT))
AUDIO_GROUPS = (("kind", (0, ), (("sound", 8), ("pitch", PITCHES))), ("number", (1, ), (("number", 5), )),
                ("start", (2, ), (("eighth", 9), )), ("end", (3, ), (("eighth", 9), )))
NONE, ONE, SEVERAL = 0, 1, 2


class Thing:
    """colour, shape, size, motion: indices; event: sample at which it has appeared or left, or None"""

    def __init__(self, colour, shape, size, motion, event):
        self.colour, self.shape, self.size, self.motion, self.event = colour, shape, size, motion, event


class Facts:
    """sound: None where the clip has no sound stream, else (kind, pitch, number, first eighth, last eighth)"""

    def __init__(self, things, background, foreign, sound):
        self.things = sorted(things, key=lambda t: t.colour)
        self.background, self.foreign, self.sound = background, foreign, sound

    def events(self):
        return sorted((t for t in self.things if t.event is not None), key=lambda t: t.event)

    def of_shape(self, shape):
        return [t for t in self.things if t.shape == shape]


def from_scene(scene, sound):
    things = [] if scene.foreign else [
        Thing(COLOURS.index(t.colour), SHAPES.index(t.shape), SIZES.index(t.size), MOTIONS.index(t.motion), t.event)
        for t in scene.things
    ]
    return Facts(things, BACKGROUNDS.index(scene.background), bool(scene.foreign), sound)


def object_row(status, thing):
    if status != ONE:
        return status, -1, -1, -1, -1, -1
    return status, thing.colour, thing.shape, thing.size, thing.motion, thing.event or 0


def video_labels(facts):
    out = np.full((18, 6), -1, np.int64)
    out[:8, 0] = NONE
    for thing in facts.things:
        out[thing.colour] = object_row(ONE, thing)
    out[8, 0] = -1 if facts.foreign else facts.background
    out[9, 0] = facts.foreign
    out[10, 0] = min(len(facts.things), 4)
    events = facts.events()
    for query, thing in ((11, events[:1]), (12, events[-1:])):
        out[query] = object_row(ONE if thing else NONE, thing[0] if thing else None)
    for shape in range(4):
        same = facts.of_shape(shape)
        out[13 + shape] = object_row(min(len(same), SEVERAL), same[0] if same else None)
    out[17] = object_row(min(len(facts.things), SEVERAL), facts.things[0] if facts.things else None)
    return out


def audio_labels(sound):
    out = np.full((4, 2), -1, np.int64)
    kind, pitch, number, first, last = sound
    out[0] = kind, pitch
    out[1, 0] = number
    out[2, 0], out[3, 0] = (8, 8) if first is None else (first, last)
    return out


def imagined(r):
    """Facts drawn without a scene, for the training of the decoder: every kind often enough to be learnt."""
    kind = r.random()
    if kind < 0.05:
        return Facts([], 0, True, imagined_sound(r))
    n = 0 if kind < 0.08 else r.choice((1, 2, 2, 3, 3))
    common, events = r.choice(range(4)), r.random() < 0.3
    times, things = r.sample(range(2, 7), 3), []
    for i, colour in enumerate(r.sample(range(8), n)):
        motion = r.choice((8, 9)) if events and r.random() < 0.8 else r.randrange(10)
        size = 2 if motion in (5, 6) or r.random() < 0.1 else r.randrange(2)
        shape = common if r.random() < 0.12 else r.randrange(4)
        things.append(Thing(colour, shape, size, motion, times[i] if motion >= 8 else None))
    background = r.choice([b for b in range(9) if b not in {t.colour for t in things}])
    return Facts(things, background, False, imagined_sound(r))


def imagined_sound(r):
    if r.random() < 0.18:
        return None
    kind = r.choice((0, 1, 1, 1, 2, 3, 4, 5, 5, 6, 7))
    first = min(r.randrange(7), r.randrange(7))
    last = r.randrange(first, 8)
    if kind == 2:
        first, last = min(first, 1), max(last, 6)
    pitch = r.choice((1, 2)) if kind in (1, 2) else 0
    return kind, pitch, r.randrange(1, 5) if kind == 1 else 0, None if kind in (0, 7) else first, None if kind in (0,
                                                                                                                   7) else last
