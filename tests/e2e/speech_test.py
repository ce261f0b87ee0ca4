#!/usr/bin/env python3
"""
speech_test.py - --transcribe as its user has it: text, subtitles, JSON, sound of every kind, what is refused.

    speech_test.py [unittest arguments]        VIDRUN=build/vidrun: the program

Weights are the converter's small checkpoint (tests/convert/synthetic_whisper.py, windows of one second): what it hears means
nothing, but always is the same. Real speech: tests/real.
"""
import json
import re
import subprocess
import sys
import unittest

import material

sys.path.append(str(material.ROOT / "tests/convert"))

PICTURES = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=3")
TONES = "aevalsrc=0.2*sin(2*PI*220*t)*gt(sin(3*t)\\,0)+0.2*sin(2*PI*950*t)*gt(sin(7*t)\\,0):d=3:s=16000"


def weights():
    path = material.FOLDER / "whisper.bin"
    if path.exists():
        return path
    try:
        import synthetic_whisper
    except ImportError as e:
        raise unittest.SkipTest(f"no numpy here: {e}")
    root = material.FOLDER / "whisper"
    root.mkdir()
    synthetic_whisper.write_hugging_face(str(root), synthetic_whisper.tensors(6))
    subprocess.run([material.PYTHON, material.ROOT / "tools/convert/convert.py", root, "-o", path, "--type", "f32"], check=True,
                   capture_output=True)
    return path


def tones(name="tones.wav", *arguments):
    return material.ffmpeg(name, "-f", "lavfi", "-i", TONES, *arguments)


class Speech(material.Program):
    @classmethod
    def setUpClass(cls):
        cls.weights, cls.sound = weights(), tones()

    def heard(self, path, *arguments, **more):
        """JSON of a run that must succeed."""
        result = material.run("--transcribe", "--json", "-t1", *arguments, self.weights, path, **more)
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual(result.out.count("\n"), 1)
        return json.loads(result.out)

    def transcribe(self, *arguments, **more):
        return material.run("--transcribe", "-t1", *arguments, **more)

    def test_text_alone(self):
        found = self.heard(self.sound)
        self.assertGreater(len(found["segments"]), 1)
        self.assertEqual(found["seconds"], 3)
        result = self.transcribe(self.weights, self.sound)
        self.assertEqual(result.code, 0, result.err)
        self.assertEqual(result.out, "".join(segment["text"] + "\n" for segment in found["segments"]))
        self.assertRegex(result.err, r"^speech +3 seconds")
        quiet = self.transcribe("-q", self.weights, self.sound)
        self.assertEqual((quiet.out, quiet.err), (result.out, ""))

    def test_times(self):
        segments = self.heard(self.sound)["segments"]
        ends = [0] + [segment["end"] for segment in segments]
        for segment, before in zip(segments, ends):
            self.assertGreaterEqual(segment["start"], before)
            self.assertGreater(segment["end"], segment["start"])
            self.assertLessEqual(segment["end"], 3)

    def test_subtitles(self):
        srt, vtt = material.FOLDER / "speech.srt", material.FOLDER / "speech.vtt"
        found = self.heard(self.sound, "--srt", srt, "--vtt", vtt)
        time = r"(\d\d:\d\d:\d\d)[,.](\d\d\d)"
        for path in (srt, vtt):
            cues = re.findall(f"^{time} --> {time}$", path.read_text(), re.M)
            self.assertEqual(len(cues), len(found["segments"]))
            for cue, segment in zip(cues, found["segments"]):
                self.assertEqual(f"{cue[0]}.{cue[1]}", "00:00:%06.3f" % segment["start"])
                self.assertEqual(f"{cue[2]}.{cue[3]}", "00:00:%06.3f" % segment["end"])
        self.assertTrue(vtt.read_text().startswith("WEBVTT\n"))

    def test_same_sound_in_other_files(self):
        plain = [segment["ids"] for segment in self.heard(self.sound)["segments"]]
        flac = tones("tones.flac", "-c:a", "flac", "-sample_fmt", "s16")
        eight = tones("tones8.wav", "-af", "pan=8c|" + "|".join(f"c{i}=c0" for i in range(8)), "-c:a", "pcm_f32le")
        film = material.ffmpeg("tones.mkv", *PICTURES, "-f", "lavfi", "-i", TONES, "-c:v", "mpeg4", "-c:a", "pcm_s16le",
                               "-shortest")
        for path in (flac, eight, film):
            self.assertEqual([segment["ids"] for segment in self.heard(path)["segments"]], plain, path)
        piped = self.heard("-", stdin=self.sound.read_bytes())
        self.assertEqual([segment["ids"] for segment in piped["segments"]], plain)

    def test_other_rates(self):
        for name, rate in (("low.wav", 8000), ("high.wav", 96000), ("cd.wav", 44100)):
            found = self.heard(tones(name, "-ar", rate))
            self.assertAlmostEqual(found["seconds"], 3, delta=0.01)
        opus = tones("tones.ogg", "-c:a", "libvorbis", "-ar", 48000, "-ac", 2)
        self.assertAlmostEqual(self.heard(opus)["seconds"], 3, delta=0.05)

    def test_nothing_to_hear(self):
        for name, seconds in (("silence.wav", 2.5), ("short.wav", 0.2), ("tiny.wav", 0.005)):
            path = material.ffmpeg(name, "-f", "lavfi", "-i", f"anullsrc=r=16000:cl=mono:d={seconds}")
            self.heard(path)
        result = self.transcribe(self.weights, material.FOLDER / "tiny.wav")
        self.assertEqual((result.code, result.out), (0, ""))
        self.assertIn("no speech was heard in 0.01 s of sound", result.err)

    def test_damaged_sound(self):
        """A good picture with a sound that cannot be decoded, in part and whole."""
        film = material.ffmpeg("mp3.mkv", *PICTURES, "-f", "lavfi", "-i", TONES, "-c:v", "mpeg4", "-c:a", "mp3", "-shortest")
        data = bytearray(tones("tones.mp3", "-c:a", "mp3").read_bytes())
        data[len(data) // 3:len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
        found = self.heard(material.written("holes.mp3", bytes(data)))
        self.assertTrue(1 < found["seconds"] <= 3.2)
        half = material.cut("half.mkv", film, 0.5)
        self.assertTrue(0.5 < self.heard(half)["seconds"] < 3)

    def test_no_sound(self):
        self.refused_like(self.transcribe(self.weights, material.silent_clip()), 4, ".*silent.mp4: has no sound")
        self.refused_like(self.transcribe(self.weights, material.FOLDER / "nowhere.wav"), 4, ".*nowhere.wav.*")
        self.refused_like(self.transcribe(self.weights, material.written("noise.wav", b"no sound at all")), 4, ".*noise.wav.*")

    def test_language(self):
        self.assertIn(self.heard(self.sound)["language"], ("en", "de", "fr"))
        self.assertEqual(self.heard(self.sound, "--language", "de")["language"], "de")
        self.refused_like(self.transcribe("--language", "xx", self.weights, self.sound), 2, "the language 'xx' is not known.*")

    def test_seeds_and_threads_make_no_difference(self):
        first = self.heard(self.sound, "-s", "7")
        self.assertEqual(self.heard(self.sound, "-s", "7"), first)
        self.assertEqual([s["ids"] for s in self.heard(self.sound, "-t", "3", "-s", "8")["segments"]],
                         [s["ids"] for s in first["segments"]])

    def test_wrong_use(self):
        sound, w = self.sound, self.weights
        for arguments, message in (((w, sound, "What?"), "unexpected operand 'What?'"),
                                   (("--stream", w, sound), "--transcribe and --stream exclude each other"),
                                   (("--frames", "3", w, sound), "--transcribe and --frames exclude each other"),
                                   (("--estimate", w, sound), "--transcribe and --estimate exclude each other"),
                                   ((w,), "VIDEO is missing")):
            self.refused_like(self.transcribe(*arguments), 2, f".*{re.escape(message)}.*")
        result = material.run("--language", "en", w, sound, "x")
        self.refused_like(result, 2, "option --language needs --transcribe.*")
        self.refused_like(material.run("--srt", "f", w, sound, "x"), 2, "option --srt needs --stream or --transcribe.*")
        self.refused_like(self.transcribe("--srt", material.FOLDER, w, sound), 1, ".*cannot be written.*")

    def test_weights_of_another_kind(self):
        other = material.weights()
        self.refused_like(self.transcribe(other, self.sound), 3, ".*vidrun.system is not whisper.*")
        self.refused_like(material.run(self.weights, material.clip(), "x"), 3, ".*vidrun.system is none of.*")

    def test_damaged_weights(self):
        data = self.weights.read_bytes()
        whole = material.Gguf(data)
        for key, value, message in (("speech.token.end", 1 << 20, "speech.token.end"),
                                    ("speech.token.no_times", 0, "do not fit"),
                                    ("speech.positions", 51, "speech.encoder.position"),
                                    ("speech.decoder.head_count", 5, "head_count"),
                                    ("speech.decoder.vocab_size", 7, "tokens, but the table has|token_embd")):
            changed = bytearray(data)
            material.struct.pack_into("<I", changed, whole.keys[key][1], value)
            path = material.written("damaged.bin", bytes(changed))
            self.refused_like(self.transcribe(path, self.sound), 3, f".*({message}).*")


if __name__ == "__main__":
    unittest.main()
