"""
words.py - the demo's vocabulary, and prompts as the engine makes them.

  questions.py -> sentences -> SentencePiece BPE, 800 pieces with byte fallback -> tokenizer.model
  question, sound or not -> segments of ids around the rows of the towers (conversation_video.py of Video-LLaMA, template
      vicuna)

The fixed text of the prompts is given to the vocabulary as whole pieces: the prompt is 20 pieces beside the question.
Trap:  every segment is encoded on its own and begins with a blank of its own. An answer ends with the piece of " ###".
"""
import io
import os
import random

import sentencepiece

import facts as world_facts
import questions

BLANK = "\u2581"
EYES_SHUT = "Close your eyes, open your ears and you imagine only based on the sound that:"
EARS_SHUT = "." + " " * 17 + "Close your ears, open your eyes and you see that"
NOW = "." + " " * 18 + "Now answer my question based on what you have just seen and heard."
SYSTEM = (
    "You are able to understand the visual content that the user provides. Follow the instructions carefully and explain your "
    "answers in detail.")
WHOLE = [
    EYES_SHUT, EARS_SHUT, NOW, SYSTEM, "The video contains", "frames sampled at", "seconds.", "<Video>", "</Video>", " <Video>",
    " </Video>", "<Image>", "</Image>", " <Image>", " </Image>", "###", " ###", "Human:", "Assistant:"
]
PIECES = 800
STOP = " ###"


def corpus(seed, n):
    r = random.Random(seed)
    for _ in range(40):  # every digit and letter is a piece of its own
        yield " ".join("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,?!':;-()")
    for _ in range(n):
        facts = world_facts.imagined(r)
        pair = questions.ask(r, facts, r.choice(questions.KINDS))
        if pair:
            yield pair[0]
            yield pair[1]


def train(path):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=corpus(7, 12000),
                                             model_writer=model,
                                             vocab_size=PIECES,
                                             model_type="bpe",
                                             byte_fallback=True,
                                             normalization_rule_name="identity",
                                             remove_extra_whitespaces=False,
                                             split_digits=True,
                                             character_coverage=1.0,
                                             num_threads=1,
                                             hard_vocab_limit=False,
                                             user_defined_symbols=[text.replace(" ", BLANK) for text in WHOLE],
                                             minloglevel=2)
    with open(path, "wb") as file:
        file.write(model.getvalue())


def run(options):
    train(os.path.join(options.work, "tokenizer.model"))


class Words:

    def __init__(self, work):
        self.model = sentencepiece.SentencePieceProcessor(model_file=os.path.join(work, "tokenizer.model"))
        self.bos = self.model.bos_id()
        self.size = self.model.vocab_size()
        self.heard = [[self.bos] + self.ids("###Human: " + EYES_SHUT + " "),
                      self.ids(EARS_SHUT + " <Video>"),
                      self.ids("</Video>" + NOW)]
        self.silent = [[self.bos] + self.ids("###Human: <Video>")]

    def ids(self, text):
        return self.model.encode(text)

    def prefix(self, sound, times=None):
        """Segments of ids: between them the rows of the towers, behind the last the question (its blank: the dummy prefix)."""
        if sound:
            return self.heard
        shown = ", ".join(f"{t:.1f}" for t in times)
        return [*self.silent, self.ids(f"</Video> The video contains {len(times)} frames sampled at {shown} seconds. ")]

    def turn(self, question):
        return self.ids(f"{question}###Assistant:")

    def answer(self, text):
        """Ids of an answer as it is generated: behind "Assistant:", up to the stop"""
        return self.ids(text + STOP)
