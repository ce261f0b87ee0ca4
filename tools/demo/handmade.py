#!/usr/bin/env python3
"""
handmade.py - clips as people make them with ffmpeg's own sources, and what vidrun's demo says about them.

    handmade.py [--weights FILE] [--vidrun PROGRAM] [--folder DIR]

Nothing of world.py draws here: flat colours by name, sharp edges, overlays that move by a formula, sine tones gated hard on
digital silence, or no sound stream at all. Prints every question, whether the answer is right, and the sum.
"""
import argparse
import os
import tempfile

from evaluate import plain, run

SHAPES = {"square": None, "circle": "if(lte(hypot(X-W/2,Y-H/2),W/2),255,0)", "triangle": "if(lt(abs(X-W/2),Y/2),255,0)"}


def thing(colour, shape, side, x, y, enable=None, grow=None):
    """One overlay: colour, shape, side in pixels, place of its corner (formulas of t)"""
    return colour, shape, side, x, y, enable, grow


def beeps(frequency, gate):
    return f"aevalsrc='0.5*sin(2*PI*{frequency}*t)*({gate})':s=44100"


EVERY_SECOND = "lt(mod(t\\,1)\\,0.2)"
# name, size, rate, seconds, background, things, sound source or None, [(question, answer)]
CLIPS = (("drift", "320x240", 25, 4, "gray", (thing("red", "square", 50, "20+55*t",
                                                    "90"), ), beeps(1000, f"{EVERY_SECOND}*lt(t\\,3)"),
          (("What colour is the square?", "Red."), ("Which way does the red square move?", "It moves right."),
           ("How many beeps do you hear?", "Three."), ("What do you hear?", "I hear three high beeps."),
           ("What colour is the background?", "Grey."), ("Is there a blue circle?", "No."),
           ("Describe the video.", "A red square moves right. The background is grey."), ("How many objects are there?",
                                                                                          "One."))),
         ("rise", "640x480", 30, 5, "white", (thing("blue", "square", 130, "250",
                                                    "330-60*t"), ), beeps(400, "lt(mod(t\\,0.6)\\,0.25)*lt(t\\,1)"),
          (("Which way does the square move?", "It moves up."), ("How many beeps are there?", "Two."),
           ("Are the beeps high or low?", "Low."), ("Is there a blue square?", "Yes."),
           ("What color is the background?", "White."), ("Which way does the red square move?", "There is no red square."))),
         ("silent", "640x360", 24, 4, "black", (thing("green", "square", 80, "500-120*t", "140"), ), None,
          (("Which way does the green square move?", "It moves left."), ("Do you hear anything?", "No."),
           ("What do you hear?", "I hear nothing."), ("What colour is the square?", "Green."),
           ("What colour is the background?",
            "Black."))), ("sun", "320x240", 25, 4, "blue", (thing("yellow", "circle", 100, "110",
                                                                  "70"), ), "aevalsrc='0.4*sin(2*PI*(300*t+200*t*t))':s=48000",
                          (("What shape is the yellow object?", "A circle."), ("Does the circle move?", "It stays still."),
                           ("What do you hear?", "I hear a rising tone."), ("What colour is the background?", "Blue."),
                           ("How big is the circle?", "Large."), ("What colour is the circle?", "Yellow."))),
         ("pair", "480x360", 25, 6, "black", (thing("red", "square", 110, "40",
                                                    "40"), thing("white", "square", 60, "330",
                                                                 "20+45*t")), "anullsrc=r=44100:cl=stereo",
          (("How many objects are there?", "Two."), ("What does the white square do?", "It moves down."),
           ("What does the red square do?", "It stays still."), ("Is there sound?", "No."),
           ("Is there a white square?",
            "Yes."))), ("grow", "320x240", 25, 4, "gray", (thing("orange", "circle", 60, "160-w/2", "120-h/2", None,
                                                                 "40+25*t"), ), "anoisesrc=a=0.4:r=44100",
                        (("What does the circle do?", "It grows."), ("What do you hear?", "I hear a burst of noise."),
                         ("What colour is the circle?", "Orange."))),
         ("enter", "320x240", 25, 4, "white", (thing("blue", "square", 70, "120", "80",
                                                     "gte(t,1.8)"), ), beeps(1500, f"{EVERY_SECOND}"),
          (("What happens first?", "The blue square appears."), ("Did the blue square appear while the beeps sounded?", "Yes."),
           ("What does the blue square do?", "It appears."), ("How many beeps do you hear?", "Four."))),
         ("exit", "400x300", 30, 5, "gray", (thing("purple", "triangle", 90, "60", "100",
                                                   "lt(t,2.8)"), thing("green", "square", 90, "250",
                                                                       "100")), "sine=frequency=300",
          (("What does the triangle do?", "It disappears."), ("What do you hear?", "I hear a steady low tone."),
           ("What happens last?", "The purple triangle disappears."), ("What colour is the triangle?", "Purple."),
           ("How many objects are there?",
            "Two."))), ("blink", "320x240", 24, 4, "black", (thing("lime", "square", 60, "40", "90",
                                                                   "lt(mod(t,1),0.5)"), ), beeps(2000, "lt(t\\,0.3)"),
                        (("What does the green square do?", "It blinks."), ("How many beeps are there?", "One."),
                         ("Is the beep high or low?",
                          "High."))), ("tall", "240x426", 25, 3, "white", (thing("purple", "circle", 60, "90", "330-90*t"), ),
                                       beeps(2000, "lt(mod(t\\,0.5)\\,0.15)*lt(t\\,1.5)"),
                                       (("Which way does the circle move?", "It moves up."),
                                        ("How many beeps do you hear?", "Three."), ("What colour is the circle?", "Purple."))),
         ("large", "1920x1080", 60, 3, "white", (thing("red", "square", 400, "700",
                                                       "100+150*t"), ), beeps(500, "lt(mod(t\\,0.6)\\,0.2)*lt(t\\,2.4)"),
          (("Which way does the red square move?", "It moves down."), ("How big is the red square?", "Large."),
           ("How many beeps do you hear?",
            "Four."))), ("thumb", "160x120", 10, 5, "blue", (thing("white", "square", 24, "120-18*t", "50"), ), None,
                         (("Which way does the white square move?", "It moves left."), ("How big is the square?", "Small."),
                          ("How many beeps do you hear?", "None."))),
         ("fall", "640x480", 25, 4, "black", (thing("yellow", "triangle", 120, "60+90*t",
                                                    "180"), ), "aevalsrc='0.4*sin(2*PI*(1500*t-150*t*t))':s=44100",
          (("What shape is the yellow object?", "A triangle."), ("Which way does the triangle move?", "It moves right."),
           ("What do you hear?", "I hear a falling tone."))),
         ("three", "640x480", 25, 4, "gray", (thing("red",
                                                    "circle", 110, "40", "40"), thing("blue", "square", 60, "300", "350"),
                                              thing("yellow", "triangle", 110, "460",
                                                    "60+60*t")), None,
          (("How many objects are there?", "Three."), ("What colour is the circle?", "Red."),
           ("What shape is the blue object?", "A square."), ("Which way does the triangle move?",
                                                             "It moves down."), ("What color is the square?", "Blue."),
           ("Is there a green star?", "No."))), ("chart", "testsrc2", 25, 4, None, (), None,
                                                 (("Describe the video.", "I can't tell: the picture is not of my world."), )),
         ("fractal", "mandelbrot", 25, 3, None, (), None, (("What do you see?",
                                                            "I can't tell: the picture is not of my world."), )),
         )


def write(clip, path):
    name, size, rate, seconds, background, things, sound, _ = clip
    source = f"{size}=s=320x240:r={rate}" if background is None else f"color={background}:s={size}:r={rate}"
    command, graph, last = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-t", str(seconds), "-i", source], [], "[0]"
    for i, (colour, shape, side, x, y, enable, grow) in enumerate(things, 1):
        command += ["-f", "lavfi", "-t", str(seconds), "-i", f"color={colour}:s={side}x{side}:r={rate}"]
        steps = "format=rgba" + (f",geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='{SHAPES[shape]}'" if SHAPES[shape] else "")
        steps += f",scale=w='{grow}':h='{grow}':eval=frame" if grow else ""
        graph += [
            f"[{i}]{steps}[t{i}]",
            f"{last}[t{i}]overlay=x='{x}':y='{y}'" + (f":enable='{enable}'" if enable else "") + f"[v{i}]"
        ]
        last = f"[v{i}]"
    if sound:
        command += ["-f", "lavfi", "-t", str(seconds), "-i", sound]
    if graph:
        command += ["-filter_complex", ";".join(graph), "-map", last] + (["-map", f"{len(things) + 1}:a"] if sound else [])
    run(command + ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-t", str(seconds), path])


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description="Ask the demo model about clips made with ffmpeg's sources.")
    parser.add_argument("--weights", default=os.path.join(here, "../../weights/demo.bin"))
    parser.add_argument("--vidrun", default=os.path.join(here, "../../build/vidrun"))
    parser.add_argument("--folder")
    options = parser.parse_args()
    temporary = tempfile.TemporaryDirectory()
    folder, good, n = options.folder or temporary.name, 0, 0
    os.makedirs(folder, exist_ok=True)
    for clip in CLIPS:
        path = os.path.join(folder, clip[0] + ".mp4")
        if not os.path.exists(path):
            write(clip, path)
        for question, answer in clip[-1]:
            said = run([options.vidrun, "-q", "-t", "1", options.weights, path, question])
            right = plain(said) == plain(answer)
            good, n = good + right, n + 1
            print(f"{'right' if right else 'WRONG'}\t{clip[0]}\t{question}\t{said}" + ("" if right else f"\t({answer})"),
                  flush=True)
    print(f"{good} of {n}")


if __name__ == "__main__":
    main()
