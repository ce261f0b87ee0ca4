"""
talk.py - training of the decoder: questions about clips, several to one clip in one sequence.

  stage "talk":   Facts imagined without any picture -> a codebook row per query -> LLaMA -> answers
  batch():        sequences [prefix | question 1 | question 2 | ...]; a question sees the prefix and itself, positions go on
  from the prefix

The codebook is a learned table: the row of a query is the sum of one vector per attribute (facts.py). It is trained with the
decoder, so that reading is learnt from endless examples while the towers still learn to see; the two small Q-Formers then
learn to write these rows (eyes and ears meet the decoder there), and the decoder ends its training on their real output
(answer.py).
"""
import random
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

import facts as world_facts
import questions
from common import Stage
from facts import AUDIO_GROUPS, VIDEO_GROUPS
from model import AUDIO_QUERIES, LLM, VIDEO_QUERIES, Llama
from words import Words

WEIGHTS = {
    "describe": 10, "colour": 14, "shape": 9, "size": 9, "motion": 14, "count": 4, "exist": 10, "background": 3, "first": 6,
    "last": 6, "hear": 6, "beeps": 4, "sound": 3, "pitch": 3, "while": 10, "both": 3
}
VIDEO, AUDIO = -100, -200  # stand for row i of the towers: VIDEO - i, AUDIO - i
SILENT = 0.18  # share of clips shown without sound


class Codebook(nn.Module):

    def __init__(self):
        super().__init__()
        self.slots = nn.Parameter(0.5 * torch.randn(VIDEO_QUERIES + AUDIO_QUERIES, LLM))
        self.tables = nn.ModuleDict()
        for prefix, groups in (("v", VIDEO_GROUPS), ("a", AUDIO_GROUPS)):
            for name, _, attributes in groups:
                for attribute, n in attributes:
                    self.tables[f"{prefix}_{name}_{attribute}"] = nn.Embedding(n, LLM)
        for table in self.tables.values():
            nn.init.normal_(table.weight, std=0.5)

    def rows(self, labels, prefix, groups, first):
        """labels [B,Q,A] (-1: nothing) -> [B,Q,128]"""
        out = [None] * labels.shape[1]
        for name, queries, attributes in groups:
            block = labels[:, list(queries)]
            total = 0
            for i, (attribute, _) in enumerate(attributes):
                value = block[..., i]
                total = total + self.tables[f"{prefix}_{name}_{attribute}"](value.clamp(min=0)) * (value >= 0)[..., None]
            for i, query in enumerate(queries):
                out[query] = total[:, i]
        return torch.stack(out, 1) + self.slots[first:first + labels.shape[1]]

    def video(self, labels):
        return self.rows(labels, "v", VIDEO_GROUPS, 0)

    def audio(self, labels):
        return self.rows(labels, "a", AUDIO_GROUPS, VIDEO_QUERIES)


def choose_kind(r):
    return r.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]


def choose_question(r, facts):
    """-> (kind, question, answer)"""
    while True:
        kind = choose_kind(r)
        pair = questions.ask(r, facts, kind)
        if pair:
            return kind, *pair


def sequence(r, words, facts, n_questions):
    """-> lists: ids (or VIDEO - i, AUDIO - i), positions, blocks, targets (-1: none), [(kind, first target, last)]"""
    duration = r.uniform(1.5, 10)
    segments = words.prefix(facts.sound is not None, [i * duration / 8 for i in range(8)])
    video, audio = [VIDEO - i for i in range(VIDEO_QUERIES)], [AUDIO - i for i in range(AUDIO_QUERIES)]
    rows = [audio, video] if facts.sound else [video]
    ids = [i for pair in zip(segments, rows) for part in pair for i in part] + segments[-1]
    n = len(ids)
    positions, blocks, targets, spans = list(range(n)), [0] * n, [-1] * n, []
    for block in range(1, n_questions + 1):
        earlier = ""
        if r.random() < 0.08:
            _, asked, said = choose_question(r, facts)
            earlier = f"{asked}###Assistant: {said}###Human: "
        kind, question, answer = choose_question(r, facts)
        asked, said = words.turn(earlier + question), words.answer(answer)
        own = asked + said[:-1]
        spans.append((kind, len(ids) + len(asked) - 1, len(ids) + len(own)))
        targets += [-1] * (len(asked) - 1) + said
        ids += own
        positions += range(n, n + len(own))
        blocks += [block] * len(own)
    return ids, positions, blocks, targets, spans


def collate(sequences):
    length = max(len(s[0]) for s in sequences)

    def padded(k, fill):
        return torch.tensor([s[k] + [fill] * (length - len(s[k])) for s in sequences])

    ids, positions, blocks, targets = padded(0, 0), padded(1, 0), padded(2, -1), padded(3, -1)
    order = torch.arange(length)
    mask = (order[None, :, None] >= order[None, None, :]) & ((blocks[:, None, :] == 0) |
                                                             (blocks[:, None, :] == blocks[:, :, None]))
    return ids, positions, mask[:, None], targets, [s[4] for s in sequences]


def embed(llama, ids, video, audio):
    """ids [B,T], video [B,18,128], audio [B,4,128] -> [B,T,128]"""
    x = llama.model.embed_tokens(ids.clamp(min=0))
    pool = torch.cat([video, audio], 1)
    index = torch.where(ids <= AUDIO, AUDIO - ids + VIDEO_QUERIES, VIDEO - ids)
    soft = ids <= VIDEO
    gathered = torch.gather(pool, 1, (index * soft)[..., None].expand(-1, -1, pool.shape[2]))
    return torch.where(soft[..., None], gathered, x)


def answer_loss(llama, batch, video, audio):
    """-> (loss, {kind: (right answers, all)})"""
    ids, positions, mask, targets, spans = batch
    rows = llama(embed(llama, ids, video, audio), positions, mask)
    keep = targets >= 0
    logits = llama.lm_head(rows[keep])
    loss = F.cross_entropy(logits, targets[keep])
    right = torch.zeros_like(targets, dtype=torch.bool)
    right[keep] = logits.argmax(-1) == targets[keep]
    score = {}
    for row, own in zip(right, spans):
        for kind, first, last in own:
            good, n = score.get(kind, (0, 0))
            score[kind] = good + bool(row[first:last].all()), n + 1
    return loss, score


class Curves:
    """Share of right answers of every kind, printed now and then."""

    def __init__(self):
        self.sums = {}

    def add(self, score):
        for kind, (good, n) in score.items():
            a, b = self.sums.get(kind, (0, 0))
            self.sums[kind] = a + good, b + n

    def line(self):
        text = "   " + " ".join(f"{kind} {100 * a / b:.0f}" for kind, (a, b) in sorted(self.sums.items()))
        self.sums = {}
        return text


def noisy(x, amount):
    return x + amount * torch.randn_like(x)


def run(options):
    torch.manual_seed(2)
    words = Words(options.work)
    codebook, llama = Codebook(), Llama(words.size)
    modules = {"codebook": codebook, "llama": llama}
    stage = Stage(options.work, "talk", modules, 1.3e-3, options.steps or 1800, tail=options.tail)
    r = random.Random(int(time.time()) if stage.now else 5)
    curves = Curves()
    for step in stage:
        known = [world_facts.imagined(r) for _ in range(options.batch or 12)]
        batch = collate([sequence(r, words, f, 4) for f in known])
        video = codebook.video(torch.stack([torch.from_numpy(world_facts.video_labels(f)) for f in known]))
        audio = codebook.audio(
            torch.stack([torch.from_numpy(world_facts.audio_labels(f.sound or (0, 0, 0, None, None))) for f in known]))
        loss, score = answer_loss(llama, batch, noisy(video, 0.3), noisy(audio, 0.3))
        curves.add(score)
        stage.step(loss)
        if stage.now % 100 == 0:
            print(curves.line(), flush=True)
