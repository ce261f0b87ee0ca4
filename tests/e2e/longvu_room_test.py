#!/usr/bin/env python3
"""
longvu_room_test.py - LongVU, a clip of one frame and ever longer questions: what is refused for want of room.

    question of n words -> answered, with all or some of the frame's tokens | exit 5 and the number of tokens that would fit

A frame of 16:9 has 84 tokens on the grid of 12x12, 40 on that of 8x8; a whole grid would have 156.
"""
import json
import re
import unittest

import material
from material import Program, run

LOW, HIGH = 40, 84
REFUSED = r"the question leaves room for (\d+) of (\d+) tokens; one frame needs (at least )?(\d+), so (at most )?(\d+) tokens of text would fit"


class Room(Program):
    @classmethod
    def setUpClass(cls):
        cls.weights = material.weights("longvu-llama")
        cls.clip = material.ffmpeg("single.mkv", "-f", "lavfi", "-i", "testsrc2=size=64x36:rate=1:duration=1", "-c:v", "ffv1")

    def ask(self, n_words):
        return run("--json", "--temp", "0", "-n", "1", self.weights, self.clip, "what " * n_words)

    def test_the_longest_question(self):
        self.assertEqual(self.ask(1).code, 0)
        fits, does_not = 1, 4000
        while does_not - fits > 1:
            middle = (fits + does_not) // 2
            if self.ask(middle).code == 0:
                fits = middle
            else:
                does_not = middle
        last = self.ask(fits)
        facts = json.loads(last.out)["facts"]
        self.assertEqual(facts["frames_kept"], [0])
        self.assertIn(facts["tokens"], range(LOW, HIGH))  # less than the whole frame, more than nothing
        refused = self.ask(does_not)
        self.refused_like(refused, 5, REFUSED)
        room, _, at_least, needed, at_most, _ = re.search(REFUSED, refused.err).groups()
        self.assertLess(int(room), int(needed))
        self.assertEqual((int(needed), at_least, at_most), (LOW, None, None))

    def test_far_too_long(self):
        self.refused_like(self.ask(4000), 5, REFUSED)  # before anything is decoded


if __name__ == "__main__":
    unittest.main()
