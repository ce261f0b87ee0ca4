"""
bench_test.py - vidrun-bench: families of whole parts run on the small model; every line of the CSV has the header's columns.

What it measures means nothing here: one round.
"""
import csv
import os
import pathlib
import subprocess
import unittest

import material

BENCH = pathlib.Path(material.PROGRAM).with_name("vidrun-bench")


@unittest.skipUnless(BENCH.exists(), f"no {BENCH}")
class Bench(unittest.TestCase):
    def bench(self, *arguments, code=0, peers=("--no-peers",)):
        """-> comments, lines as dictionaries, standard error"""
        command = [BENCH, "--csv", *peers, "--rounds", "1", "--seconds", "100", "--threads", "1", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=material.SECONDS, env=os.environ)
        self.assertEqual(done.returncode, code, done.stderr)
        lines = done.stdout.splitlines()
        comments = [line for line in lines if line.startswith("#")]
        rows = list(csv.reader(line for line in lines if not line.startswith("#")))
        for row in rows:
            self.assertEqual(len(row), len(rows[0]), row)
        return comments, [dict(zip(rows[0], row)) for row in rows[1:]], done.stderr

    def test_parts(self):
        comments, lines, _ = self.bench("--weights", material.weights(), "vit", "qformer", "prefill", "decode")
        self.assertIn("1 thread, level", comments[0])
        self.assertEqual([line["shape"] for line in lines if line["bench"] == "vit"], ["1 frame", "4 frames", "8 frames"])
        self.assertEqual({line["bench"] for line in lines}, {"vit", "qformer", "prefill", "decode"})
        for line in lines:
            self.assertGreater(float(line["ratio"]), 0, line)
            self.assertGreater(float(line["units_s"]), 0, line)

    def test_whole_question(self):
        _, lines, notes = self.bench("--weights", material.weights(), "--clip", material.clip(), "pipeline")
        stages = {line["form"]: line for line in lines}
        self.assertLessEqual({"scan", "frames", "vision", "prompt", "answer", "whole"}, set(stages))
        for name in ("vision", "prompt", "answer"):
            self.assertGreater(float(stages[name]["ratio"]), 0, name)
        self.assertEqual(stages["scan"]["ratio"], "nan")  # nothing is stated for it
        parts = sum(float(line["ms"]) for name, line in stages.items() if name != "whole")
        self.assertLessEqual(parts, float(stages["whole"]["ms"]) * 1.01)
        self.assertIn("pipeline: weights", notes)

    def test_llama_bench(self):
        """A program that answers as llama-bench does: 16 s for what it is asked."""
        program = material.written("llama-bench", b"""#!/bin/sh
echo "$@" >> "$0.words"
printf '[\\n  {\\n    "n_prompt": 512,\\n    "avg_ns": 16000000000,\\n    "stddev_ns": 0\\n  }\\n]\\n'
""")
        program.chmod(0o755)
        _, lines, notes = self.bench("--weights", material.weights(), "--llama", program, "prefill", "decode",
                                     peers=("--peers", "nowhere"))
        for line in lines:
            self.assertEqual(line["peer_name"], "llama.cpp")
            milliseconds = 16000 if line["bench"] == "prefill" else 1000  # of an answer 16 tokens are asked for
            self.assertAlmostEqual(float(line["peer"]) * float(line["ms"]) / milliseconds, 1, delta=0.01)
        words = program.with_name("llama-bench.words").read_text()
        self.assertIn("-t 1 -p 512 -n 0 -d 0", words)
        self.assertIn("-t 1 -p 0 -n 16 -d 1024", words)
        self.assertIn("llama.cpp 1, ratio", notes)

    def test_usage(self):
        self.assertIn("--weights FILE is needed", self.bench("vit", code=2)[2])
        self.assertIn("--clip FILE are needed", self.bench("--weights", material.weights(), "pipeline", code=2)[2])


if __name__ == "__main__":
    unittest.main()
