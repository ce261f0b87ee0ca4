"""
questions.py - questions about a clip in varied wording, and their truthful short answers.

  Facts, kind of question -> (question, answer), or None where the question makes no sense for this clip

Rules of the answers: an object is spoken of only if it is there ("There is no blue square."); a name that fits several objects
is said to; a picture or sound from outside the world is refused; an event and a sound are compared only where their eighths of
the clip differ.
"""
from facts import SOUNDS
from scene import BACKGROUNDS, COLOURS, SHAPES, SIZES

NUMBERS = ("None", "One", "Two", "Three", "Four")
MOVES = ("stays still", "moves left", "moves right", "moves up", "moves down", "grows", "shrinks", "blinks", "appears",
         "disappears")
NO_PICTURE = "I can't tell: the picture is not of my world."
NO_SOUND = "I can't tell: the sound is not of my world."
HEARD = {
    "silence": "nothing", "rising": "a rising tone", "falling": "a falling tone", "noise": "a burst of noise",
    "clicks": "clicks"
}

ASK = {
    "describe": ("Describe the video.", "What is happening in the video?", "What do you see?", "What happens in the video?",
                 "What can you see?", "Describe what you see.", "What is in the video?", "Tell me what you see.",
                 "Describe the clip.", "Describe the scene.", "What is going on?", "What does the video show?",
                 "Please describe the video."),
    "both": ("Describe what you see and hear.", "What do you see and hear?", "Tell me what you see and hear.",
             "Describe the picture and the sound.", "Describe the video and its sound.", "What can you see and hear?"),
    "colour": ("What colour is {the}?", "Which colour is {the}?", "Tell me the colour of {the}.",
               "What is the colour of {the}?", "What colour does {the} have?", "Which colour does {the} have?"),
    "shape": ("What shape is {the}?", "Which shape is {the}?", "What is the shape of {the}?", "What shape does {the} have?",
              "What kind of shape is {the}?", "Tell me the shape of {the}."),
    "size": ("How big is {the}?", "Is {the} small or large?", "Is {the} large or small?", "What size is {the}?",
             "How large is {the}?", "What is the size of {the}?", "Is {the} big or small?"),
    "motion": ("Which way does {the} move?", "How does {the} move?", "What does {the} do?", "What is {the} doing?",
               "In which direction does {the} move?", "Where does {the} move?", "In what direction is {the} moving?",
               "Which way is {the} moving?", "What happens to {the}?", "How is {the} moving?", "Where is {the} going?",
               "Which direction does {the} move?", "Where does {the} go?", "Which way does {the} go?", "Does {the} move?"),
    "count": ("How many objects are there?", "How many shapes are there?", "How many objects do you see?",
              "How many things are in the video?", "Count the objects.", "How many objects are in the video?",
              "What is the number of objects?", "How many shapes do you see?", "How many things do you see?"),
    "exist": ("Is there {a}?", "Do you see {a}?", "Can you see {a}?", "Is {a} in the video?", "Does the video show {a}?",
              "Is there {a} in the video?"),
    "background": ("What colour is the background?", "Which colour is the background?", "What is the colour of the background?",
                   "What colour does the background have?", "Tell me the colour of the background.", "What is the background?"),
    "first": ("What happens first?", "What is the first event?", "What happens at first?", "Which event comes first?",
              "What comes first?", "Tell me what happens first."),
    "last": ("What happens last?", "What is the last event?", "What happens at last?", "Which event comes last?",
             "What comes last?", "What happens in the end?", "What happens at the end?", "Tell me what happens last."),
    "hear": ("What do you hear?", "What can you hear?", "Describe the sound.", "What sound is there?", "What is the sound?",
             "What does it sound like?", "Tell me what you hear.", "What sounds do you hear?", "Which sound do you hear?",
             "Describe what you hear.", "What can be heard?", "What kind of sound is it?", "What is to be heard?"),
    "beeps": ("How many beeps are there?", "How many beeps do you hear?", "Count the beeps.", "How many times does it beep?",
              "How many beeps can you hear?", "What is the number of beeps?", "How many beeps sound?",
              "How many beeps?"), "sound": ("Is there sound?", "Is there any sound?", "Do you hear anything?",
                                            "Can you hear anything?", "Does the video have sound?", "Can you hear a sound?",
                                            "Is anything to be heard?", "Do you hear something?", "Is there a sound?",
                                            "Do you hear a sound?"),
    "pitch": ("Are the beeps low or high?", "Are the beeps high or low?", "How high are the beeps?",
              "What pitch do the beeps have?", "Is the beep high or low?", "Is the beep low or high?",
              "What is the pitch of the beeps?"), "while": ("Did {the} {do} while {sounds}?", "Does {the} {do} while {sounds}?",
                                                            "Did {the} {do} during {noise}?", "Does {the} {do} during {noise}?",
                                                            "While {sounds}, did {the} {do}?"),
}
PHRASES = {  # of a sound: "while ...", "during ..."
    "any": (("the sound played", "there was sound", "the sound could be heard", "you heard the sound",
             "something sounded"), ("the sound",)),
    "beeps": (("the beeps sounded", "it beeped", "the beeps played", "you heard the beeps"), ("the beeps", "the beeping")),
    "tone": (("the tone sounded", "the tone played", "you heard the tone"), ("the tone",)),
    "rising": (("the tone rose", "the rising tone sounded"), ("the rising tone", "the tone")),
    "falling": (("the tone fell", "the falling tone sounded"), ("the falling tone", "the tone")),
    "noise": (("the noise sounded", "there was noise", "you heard the noise"), ("the noise", "the burst of noise")),
    "clicks": (("the clicks sounded", "it clicked", "you heard the clicks"), ("the clicks", "the clicking")),
}
PICTURE = ("describe", "colour", "shape", "size", "motion", "count", "exist", "background", "first", "last")
SOUND = ("hear", "beeps", "sound", "pitch")
KINDS = PICTURE + SOUND + ("while", "both")


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def vary(r, text):
    """The same question as people type it."""
    if r.random() < 0.3:
        text = text.replace("colour", "color")
    if r.random() < 0.12:
        text = text[0].lower() + text[1:]
    if r.random() < 0.1:
        text = text.rstrip("?.")
    return text


def sentence(thing):
    name = article(COLOURS[thing.colour] + " " + SHAPES[thing.shape])
    return name[0].upper() + name[1:] + " " + MOVES[thing.motion] + "."


def heard(facts):
    if facts.sound is None:
        return "I hear nothing."
    kind, pitch, number, _, _ = facts.sound
    name = SOUNDS[kind]
    if name == "unknown":
        return NO_SOUND
    tone = ("", "low ", "high ")[pitch]
    if name == "beeps":
        return f"I hear {NUMBERS[number].lower()} {tone}beep{'s' if number > 1 else ''}."
    return f"I hear {'a steady ' + tone + 'tone' if name == 'tone' else HEARD[name]}."


def seen(facts):
    if facts.foreign:
        return NO_PICTURE
    what = " ".join(sentence(t) for t in facts.things) or "There is no object."
    return f"{what} The background is {BACKGROUNDS[facts.background]}."


def name_it(r, facts, wanted):
    """-> (words without article, the things that they fit); wanted: whether it shall be there"""
    style = r.choice(("both", "both", "colour", "shape", "shape", "it"))
    if style == "it":
        return r.choice(("it", "it", "the object", "the shape")), facts.things
    if wanted and facts.things:
        thing = r.choice(facts.things)
        colour, shape = thing.colour, thing.shape
    else:
        colour, shape = r.randrange(8), r.randrange(4)
        if facts.things and r.random() < 0.5:  # half right: the colour of one object, the shape of another
            if r.random() < 0.5:
                colour = r.choice(facts.things).colour
            else:
                shape = r.choice(facts.things).shape
    if style == "colour":
        return f"{COLOURS[colour]} {r.choice(('object', 'object', 'shape', 'thing', 'one'))}", [
            t for t in facts.things if t.colour == colour
        ]
    if style == "shape":
        return SHAPES[shape], facts.of_shape(shape)
    return f"{COLOURS[colour]} {SHAPES[shape]}", [t for t in facts.things if (t.colour, t.shape) == (colour, shape)]


def denial(words, fitting):
    """The answer where not exactly one thing fits, or None."""
    if len(fitting) == 1:
        return None
    if words in ("it", "the object", "the shape"):
        return "There is more than one object." if fitting else "There is no object."
    noun = words.split()[-1]
    words = words.replace(noun, "object") if noun in ("shape", "thing", "one") else words
    return f"There is more than one {words}." if fitting else f"There is no {words}."


def about(r, facts, kind):
    """Questions that name an object."""
    words, fitting = name_it(r, facts, r.random() < 0.85)
    if kind == "colour" and words.split()[0] in COLOURS or kind == "shape" and words.split()[-1] in SHAPES:
        return None
    if len(fitting) > 1 and r.random() < 0.6:
        return None
    question = r.choice(ASK[kind]).format(the=words if words.startswith("the ") or words == "it" else "the " + words)
    answer = denial(words, fitting)
    if answer is None:
        thing = fitting[0]
        if kind == "size" and thing.size == 2:
            return None
        answer = {
            "colour": COLOURS[thing.colour].capitalize() + ".", "shape": article(SHAPES[thing.shape]).capitalize() + ".",
            "size": SIZES[thing.size].capitalize() + ".", "motion": f"It {MOVES[thing.motion]}."
        }[kind]
    return question, answer


def existence(r, facts):
    words, fitting = name_it(r, facts, r.random() < 0.5)
    if words in ("it", "the object", "the shape"):
        words, fitting = "object", facts.things
        if facts.things and r.random() < 0.8:
            return None
    return r.choice(ASK["exist"]).format(a=article(words)), "Yes." if fitting else "No."


def events(facts, kind):
    order = facts.events()
    if not order:
        return "Nothing appears or disappears."
    thing = order[0 if kind == "first" else -1]
    return f"The {COLOURS[thing.colour]} {SHAPES[thing.shape]} {MOVES[thing.motion]}."


def meeting(r, facts):
    """Did something appear or leave while something sounded?"""
    timed = facts.events()
    if timed and r.random() < 0.9:
        thing = r.choice(timed)
        colour, shape, verb = thing.colour, thing.shape, "appear" if thing.motion == 8 else "disappear"
    elif facts.things:
        thing = r.choice(facts.things)
        colour, shape, verb = thing.colour, thing.shape, r.choice(("appear", "disappear"))
    else:
        return None
    kind = SOUNDS[facts.sound[0]] if facts.sound else "silence"
    claimed = r.choice(("any", kind)) if kind in PHRASES and r.random() < 0.92 else r.choice(("any", "beeps", "noise"))
    happened = any((t.colour, t.shape) == (colour, shape) and MOVES[t.motion].startswith(verb) for t in facts.things)
    if not happened or kind == "silence" or (claimed not in ("any", kind) and kind != "unknown"):
        answer = "No."
    elif kind == "unknown":
        answer = NO_SOUND
    else:
        eighth, (first, last) = thing.event - 1, facts.sound[3:]
        if eighth in (first, last):
            return None
        answer = "Yes." if first < eighth < last else "No."
    if kind == "unknown":
        answer = NO_SOUND
    sounds, noise = PHRASES[claimed]
    words = r.choice((f"{COLOURS[colour]} {SHAPES[shape]}", f"{COLOURS[colour]} object"))
    return r.choice(ASK["while"]).format(the="the " + words, do=verb, sounds=r.choice(sounds), noise=r.choice(noise)), answer


def sound_answer(facts, kind):
    name = SOUNDS[facts.sound[0]] if facts.sound else "silence"
    if kind == "sound":
        return "No." if name == "silence" else "Yes."
    if kind == "hear":
        return heard(facts)
    if name == "unknown":
        return NO_SOUND
    if kind == "beeps":
        return NUMBERS[facts.sound[2] if facts.sound else 0] + "."
    return "There are no beeps." if name != "beeps" else ("", "Low.", "High.")[facts.sound[1]]


def ask(r, facts, kind):
    """-> (question, answer) or None"""
    if kind in SOUND:
        return vary(r, r.choice(ASK[kind])), sound_answer(facts, kind)
    if facts.foreign and kind != "both":
        question = r.choice(ASK[kind])
        words = article(r.choice(COLOURS) + " " + r.choice(SHAPES))
        sounds, noise = r.choice(list(PHRASES.values()))
        question = question.format(the="the " + words.split(" ", 1)[1],
                                   a=words,
                                   do="appear",
                                   sounds=r.choice(sounds),
                                   noise=r.choice(noise))
        return vary(r, question), NO_PICTURE
    pair = None
    if kind in ("colour", "shape", "size", "motion"):
        pair = about(r, facts, kind)
    elif kind == "exist":
        pair = existence(r, facts)
    elif kind == "while":
        pair = meeting(r, facts)
    else:
        answer = {
            "describe": lambda: seen(facts), "both": lambda: f"{seen(facts)} {heard(facts)}",
            "count": lambda: NUMBERS[len(facts.things)] + ".",
            "background": lambda: BACKGROUNDS[facts.background].capitalize() + ".", "first": lambda: events(facts, "first"),
            "last": lambda: events(facts, "last")
        }[kind]()
        pair = r.choice(ASK[kind]), answer
    return pair and (vary(r, pair[0]), pair[1])
