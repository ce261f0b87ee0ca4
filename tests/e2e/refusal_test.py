#!/usr/bin/env python3
"""
refusal_test.py - files and options that are refused: exit status and the one line that says why.

    refusal_test.py [unittest arguments]        VIDRUN=build/vidrun: the program

  2 usage, 3 weights, 4 video; every message names the file, tensor, key or option. Limits (5): cli_test.py.
"""
import re
import unittest

import material
from material import Program, broken, layout, run, written

QUESTION = "What is in the video?"
UNKNOWN = "(is no video, picture or sound file that is known here|files of the kind '.*' are not accepted)"


class Usage(Program):
    def test_options(self):
        for options, message in (
                (("-n", "0"), "option --predict: '0' is not a whole number from 1 to 1048576"),
                (("--frames", "0"), "option --frames: '0' is not a whole number from 1 to 1048576"),
                (("--threads=0",), "option --threads: '0' is not a whole number from 1 to 256"),
                (("--temp=hot",), "option --temp: 'hot' is not a number from 0 to 100"),
                (("--tem=1",), "unknown option --tem; did you mean --temp?"),
                (("-x",), "unknown option -x (vidrun --help lists all)"),
                (("--json=1",), "option --json takes no value ('1')"),
                (("--precision=int4",), "option --precision: 'int4' is not one of: f32 bf16 int8 auto"),
                (("--quiet", "--verbose"), "options --quiet and --verbose exclude each other"),
                (("more",), "unexpected operand 'more'; a prompt of several words is quoted: \"...\"")):
            self.refused(run(self.weights, self.clip, QUESTION, *options), 2, message)

    def test_operands(self):
        usage = "vidrun [OPTION]... WEIGHTS VIDEO [PROMPT]"
        self.refused(run(), 2, f"WEIGHTS and VIDEO are missing: {usage}")
        self.refused(run(self.weights), 2, f"VIDEO is missing: {usage}")
        for prompt in ("", " \n"):
            self.refused(run(self.weights, self.clip, prompt), 2, "PROMPT is empty")

    def test_a_missing_value(self):
        self.refused(run(self.weights, self.clip, "-n"), 2, "option --predict needs a value: N")

    def test_an_unknown_template(self):
        self.refused_like(run("--template", "chatml", self.weights, self.clip, QUESTION), 2,
                          rf"option --template: 'chatml' is unknown; {self.weights} has: .*\bvicuna\b.*")

    def test_more_frames_than_the_model_takes(self):
        self.refused_like(run("--frames", "4096", self.weights, self.clip, QUESTION), 2,
                          rf"option --frames: 4096 is more than the \d+ that {self.weights} takes")

    def test_a_prompt_file(self):
        self.refused(run("--prompt-file", "nowhere.txt", self.weights, self.clip), 2,
                     "option --prompt-file: 'nowhere.txt': No such file or directory")
        empty = written("empty.txt", b"\n")
        self.refused(run("--prompt-file", empty, self.weights, self.clip), 2,
                     f"option --prompt-file: '{empty}': the prompt is empty")


class Weights(Program):
    def bad(self, path, pattern):
        self.refused_like(run(path, self.clip, QUESTION), 3, rf"{re.escape(str(path))}: {pattern}")

    def tensor(self, index):
        """Name and places of a tensor of the file, in its order."""
        return list(layout().tensors.items())[index]

    def named(self, name):
        return name, layout().tensors[name]

    def test_not_a_file(self):
        self.bad(material.FOLDER / "nowhere.bin", "cannot be opened: No such file or directory")
        self.bad(material.FOLDER, "is a folder, not a weight file")
        self.bad(written("empty.bin", b""), "is empty")

    def test_another_kind_of_file(self):
        self.bad(written("text.bin", b"Once upon a time there was a weight file.\n" * 20), "is not a weight file: .*")
        self.bad(self.clip, "is not a weight file: .*")
        pointer = written("lfs.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
        self.bad(pointer, "is not a weight file but a Git LFS .*")

    def test_a_program_in_the_name(self):
        self.refused_like(run("\033[2Jw\n.bin", self.clip, QUESTION), 3, r"\^\[\[2Jw\^J\.bin: cannot be opened: .*")

    def test_truncated_anywhere(self):
        data = self.weights.read_bytes()
        first = layout().at
        for n in (3, 4, 12, 23, 24, 100, first // 2, first - 1, first + 64, len(data) // 2, len(data) - 1):
            self.bad(written("cut.bin", data[:n]), ".*(truncated|ends at|cannot hold|not a weight file|outside|beyond|past).*")

    def test_version(self):
        self.bad(broken("version.bin", (4, "<I", 2)), "has GGUF version 2; only version 3 is accepted")

    def test_hostile_counts(self):
        for place, what in ((8, "tensors"), (16, "keys")):
            for count in (1 << 63, (1 << 64) - 1, 65537):
                self.bad(broken("counts.bin", (place, "<Q", count)), rf"claims .*{what}.*")
            self.bad(broken("counts.bin", (place, "<Q", 65536)), ".+")

    def test_hostile_strings_and_arrays(self):
        self.bad(broken("string.bin", (24, "<Q", (1 << 64) - 1)), ".* at byte 24 .*")
        kind, place = layout().keys["tokenizer.ggml.tokens"]
        self.assertEqual(kind, 9)
        for count in ((1 << 64) - 1, 1 << 61, 1 << 24):
            self.bad(broken("array.bin", (place + 4, "<Q", count)), ".*")

    def test_overlapping_tensors(self):
        (first, (_, _, (_, offset, _))), (second, (_, _, (_, _, place))) = self.tensor(0), self.tensor(1)
        either = f'"({first}|{second})"'
        self.bad(broken("overlap.bin", (place + 4, "<Q", offset)), f"tensors {either} and {either} overlap")

    def test_tensors_outside_the_file(self):
        name, (_, _, (_, _, place)) = self.tensor(-1)
        for offset in (1 << 40, (1 << 64) - 64, 1 << 63):
            self.bad(broken("outside.bin", (place + 4, "<Q", offset)), rf'.*"{re.escape(name)}".*')

    def test_a_tensor_that_is_not_aligned(self):
        name, (_, _, (_, offset, place)) = self.tensor(-1)
        self.bad(broken("alignment.bin", (place + 4, "<Q", offset + 4)), rf'tensor "{name}" begins at .* no multiple of .* 64')

    def test_dimensions(self):
        name, (place, dims, _) = self.tensor(0)
        self.assertGreater(dims[0], 1)
        for value in (0, 1 << 25, (1 << 64) - 1):
            self.bad(broken("dimension.bin", (place + 4, "<Q", value)), rf'tensor "{name}" .*dimension.*')
        self.bad(broken("dimensions.bin", (place, "<I", 5)), ".*")

    def test_a_wrong_shape(self):
        name, (place, dims, _) = self.named("token_embd.weight")
        self.bad(broken("shape.bin", (place + 4, "<Q", dims[1]), (place + 12, "<Q", dims[0])),
                 rf'tensor "{name}" is .*\b{dims[0]}\b.*, expected .*\b{dims[1]}\b.*')

    def test_a_wrong_type(self):
        name, (_, _, (kind, _, place)) = self.named("output_norm.weight")
        self.assertEqual(kind, 0)
        self.bad(broken("type.bin", (place, "<I", 1)), rf'tensor "{name}" is .* F16, expected .* F32')
        self.bad(broken("unknown.bin", (place, "<I", 4711)), rf'tensor "{name}" has the unknown type 4711')

    def test_missing_and_wrong_keys(self):
        data = self.weights.read_bytes()
        for key in (b"vidrun.system", b"vit.patch_size", b"tokenizer.ggml.model", b"prompt.templates", b"sampling.temperature"):
            renamed = written("key.bin", data.replace(key, b"x" * len(key), 1))
            self.bad(renamed, rf'.*"{key.decode()}" is missing')
        self.bad(written("system.bin", data.replace(b"video-llama", b"video-lamas", 1)), ".*vidrun.system.*")

    def test_sizes_that_are_no_sizes(self):
        keys = layout().keys
        for key in ("vit.patch_size", "vit.head_count", "vit.block_count", "llama.block_count", "llama.attention.head_count",
                    "llama.context_length", "qformer.query_count", "qformer.cross_interval", "video.frames_max"):
            kind, place = keys[key]
            self.assertEqual(kind, 4, key)
            for value in (0, (1 << 31) - 1, (1 << 32) - 1):
                with self.subTest(key=key, value=value):
                    self.bad(broken("size.bin", (place, "<I", value)), ".+")

    def test_numbers_that_are_not_finite(self):
        for key in ("vit.norm_epsilon", "llama.rope.freq_base", "sampling.temperature"):
            kind, place = layout().keys[key]
            self.assertEqual(kind, 6, key)
            for value in (float("nan"), float("inf")):
                self.bad(broken("number.bin", (place, "<f", value)), rf'key "{key}" holds a number that is not finite')


class Video(Program):
    def bad(self, path, pattern, *options):
        self.refused_like(run(*options, self.weights, path, QUESTION), 4, rf"{re.escape(str(path))}: {pattern}")

    def test_not_a_file(self):
        self.bad(material.FOLDER / "nowhere.mp4", "cannot be opened: No such file or directory")
        self.bad(material.FOLDER, "is a directory, not a video file")
        self.bad(written("empty.mp4", b""), "is empty")

    def test_a_device(self):
        self.bad("/dev/zero", "is a device, not a video file")

    def test_only_local_files(self):
        for path in ("http://127.0.0.1:9/clip.mp4", "concat:a.mp4|b.mp4", "file:clip.mp4"):
            self.bad(path, "cannot be opened: No such file or directory")

    def test_another_kind_of_file(self):
        text = written("text.mp4", b"Once upon a time there was a video.\n" * 100)
        self.bad(text, UNKNOWN)
        self.bad(self.weights, UNKNOWN)

    def test_a_list_of_other_files(self):
        self.bad(written("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n"), UNKNOWN)

    def test_sound_without_video(self):
        self.bad(material.sound_only(), "has sound but no video")

    def test_a_truncated_video(self):
        self.bad(material.cut("cut.mp4", self.clip, 0.6), ".+")
        self.bad(material.cut("cut-early.mp4", self.clip, 0.01), ".+")

    def test_noise(self):
        data = bytearray(self.clip.read_bytes())
        at = data.find(b"mdat") + 4
        end = data.find(b"moov")
        data[at:end] = bytes((i * 7919 >> 5) & 255 for i in range(end - at))
        self.bad(written("noise.mp4", bytes(data)), "no frame can be decoded")

    def test_nothing_on_stdin(self):
        result = run(self.weights, "-", QUESTION, stdin=b"")
        self.refused_like(result, 4, "(-|standard input).*: is empty")


if __name__ == "__main__":
    unittest.main()
