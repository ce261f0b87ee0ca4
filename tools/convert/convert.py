#!/usr/bin/env python3
"""
convert.py - turns the published checkpoint of a video-language model into one flat weight file.

    convert.py CHECKPOINT_DIR -o weights.bin [--type f16|bf16|f32|q8_0|q4_0] [--towers f16|bf16|f32|q8_0] [--system NAME]
               [--template NAME]

    folder --checkpoint.py--> tensors by name --SYSTEM.py--> recipe (keys, tensors) --gguf_writer.py--> file

The system is found from the tensors' names; each has a module (SYSTEMS). Nothing in a checkpoint is run (pickle_reader.py);
tensors pass through in blocks, so memory stays far below the size of a model. Layout of the file: weights/FORMAT.md. Needs
Python 3.10 and numpy.
Exit:  0 done, 1 an error (one line on stderr, no file is left), 2 wrong usage, 130 interrupted.
"""
import argparse
import os
import signal
import sys
import time

try:
    import numpy  # noqa: F401 - named here, so that its absence is a sentence and not a traceback
except ImportError:
    sys.exit(f"convert.py: numpy is missing for {sys.executable}; install it or use another Python")

import flash_vstream
import flash_vstream_qwen
import gguf_writer
import longvu
import video_llama
import videochat
import videollamb
import whisper
from checkpoint import Checkpoint
from errors import ConvertError
from recipe import Recipe

QUANTISED = {"q8_0": "Q8_R16", "q4_0": "Q4_R16"}  # --type -> type of the decoder's matrices
SYSTEMS = (video_llama, videochat, longvu, videollamb, flash_vstream, flash_vstream_qwen, whisper)


class Report:
    """What the user sees on stderr: warnings, and how far the writing is."""

    def __init__(self, stream):
        self.stream, self.terminal = stream, stream.isatty()
        self.total, self.done, self.shown, self.open_line = 0, 0, 0.0, False

    def line(self, text):
        if self.open_line:
            self.stream.write("\r\033[K")
            self.open_line = False
        self.stream.write(text + "\n")
        self.stream.flush()

    def note(self, text):
        self.line(f"convert.py: {text}")

    def warn(self, text):
        self.line(f"convert.py: warning: {text}")

    def progress(self, n_bytes, name):
        """A terminal has one line that is rewritten five times a second; elsewhere every quarter of the way gets a line."""
        before, self.done = self.done, self.done + n_bytes
        share = f"{100 * self.done / self.total:3.0f}% of {self.total / 1e9:.2f} GB"
        if not self.terminal:
            if 4 * self.done // self.total > 4 * before // self.total and self.done < self.total:
                self.note(share)
        elif time.monotonic() - self.shown > 0.2:
            self.stream.write(f"\r\033[K{share}  {name}")
            self.stream.flush()
            self.shown, self.open_line = time.monotonic(), True


def choose_system(sources, name):
    if name:
        return next(system for system in SYSTEMS if system.NAME == name)
    for system in SYSTEMS:
        if system.recognise(sources):
            return system
    if not sources:
        raise ConvertError("no .pth, pytorch_model*.bin or .safetensors file in the folder")
    raise ConvertError("not the checkpoint of a known system (" + ", ".join(system.TITLE for system in SYSTEMS) +
                       "): the file with its trained tensors is missing")


def output_path(text, inputs):
    """The real path to write to; never one of the files that are read."""
    path = os.path.realpath(text)
    if os.path.isdir(path) or (os.path.exists(path) and not os.path.isfile(path)):
        raise ConvertError(f"{text}: not a file that could be written")
    if not os.path.isdir(os.path.dirname(path)):
        raise ConvertError(f"{text}: its folder does not exist")
    if os.path.exists(path):
        with open(path, "rb") as file:
            ours = file.read(4) == b"GGUF"
        if not ours and any(os.path.samefile(path, used) for used in inputs):
            raise ConvertError(f"{text}: a file of the checkpoint, it is not overwritten")
    return path


def convert(options, report):
    checkpoint = Checkpoint(options.checkpoint.rstrip(os.sep) or os.sep)
    path = output_path(options.output, checkpoint.files())
    system = choose_system(checkpoint.sources, options.system)
    if options.template and options.template not in system.TEMPLATES:
        raise ConvertError(f"--template: {system.TITLE} has {' and '.join(system.TEMPLATES)}, not {options.template}")
    decoder_type = QUANTISED.get(options.type)
    if options.towers and not decoder_type:
        raise ConvertError("--towers: the towers have the type of --type unless that is q8_0 or q4_0")
    other = (options.towers or "f16") if decoder_type else options.type
    recipe = Recipe({}, QUANTISED.get(other, other.upper()), decoder_type)
    recipe.key("general.architecture", "string", "vidrun")
    recipe.key("general.alignment", "u32", gguf_writer.ALIGNMENT)
    recipe.key("vidrun.format", "u32", 1)
    recipe.key("vidrun.system", "string", system.NAME)
    recipe.key(gguf_writer.DIGEST_KEY, "[string]", [])
    used = system.build(recipe, checkpoint, options.template, report)
    recipe.finish()
    report.note(f"{system.TITLE} from " + ", ".join(source.label for source in used))
    report.total = sum(output.n_bytes for output in recipe.outputs)
    size = gguf_writer.write(path, recipe.keys, recipe.outputs, report)
    template = next((f", template {content}" for name, _, content in recipe.keys if name == "prompt.template"), "")
    report.line(f"{options.output}: {size / 1e9:.2f} GB, {system.TITLE}, {len(recipe.outputs)} tensors, {options.type}"
                f"{template}")


def interrupted(*_):
    raise KeyboardInterrupt


def main(arguments):
    parser = argparse.ArgumentParser(prog="convert.py", description="Convert a published checkpoint to one flat weight file.")
    parser.add_argument("checkpoint", metavar="CHECKPOINT_DIR",
                        help="folder with the files of the release, sub-folders included")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--type", choices=("f16", "bf16", "f32", *QUANTISED), default="f16",
                        help="numbers of the matrices (default f16); q8_0 and q4_0 are for the decoder's")
    parser.add_argument("--towers", choices=("f16", "bf16", "f32", "q8_0"),
                        help="numbers of all other matrices where --type is q8_0 or q4_0 (default f16)")
    parser.add_argument("--system", choices=[system.NAME for system in SYSTEMS], help="default: found from the tensors")
    parser.add_argument("--template", choices=sorted({name for system in SYSTEMS for name in system.TEMPLATES}),
                        help="the prompt template used by default (default: that of the decoder)")
    options = parser.parse_args(arguments)
    report = Report(sys.stderr)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    try:
        convert(options, report)
    except ConvertError as error:
        report.note(str(error))
        return 1
    except OSError as error:
        report.note(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
        return 1
    except KeyboardInterrupt:
        report.note("interrupted, nothing was written")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
