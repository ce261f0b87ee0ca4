"""
decoder_reference.py - the decoders of all systems (LLaMA, Llama 3.2, Qwen2) and the greedy answer, in float64.

  rows [T,H] -> L x (x += attention(rms(x)); x += swiglu(rms(x))) -> rms -> head -> logits of the last row -> greedy ids

What a decoder has is read off its tensors and config.json: biases of q, k, v; a head or a tied one; scaled rotation.

Ref:   modeling_llama.py, modeling_qwen2.py, modeling_rope_utils.py (llama3) of transformers; arXiv:2104.09864, 2002.05202.
Trap:  the rotary angles are float32 products, as the original's. config.json's attention_bias says nothing about Qwen2.
"""

import numpy as np

from layer_reference import Weights, attention, rms_norm


def frequencies(config, width):
    """Of the pairs of a head of this width, scaled where rope_scaling says so (spec LongVU 2.7); float32."""
    f32 = np.float32
    plain = (1.0 / f32(config.get("rope_theta", 10000.0)) ** (np.arange(0, width, 2).astype(f32) / f32(width))).astype(f32)
    scaling = config.get("rope_scaling")
    if scaling is None:
        return plain
    factor, low, high = (f32(scaling[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = f32(scaling["original_max_position_embeddings"])
    turns = original / (f32(2 * np.pi) / plain)
    part = np.clip((turns - low) / (high - low), f32(0), f32(1))
    return ((1 - part) * plain / factor + part * plain).astype(f32)


class Llama:
    """The decoder with its cache of keys and values; rows are fed in any number. n_rows: of the vocabulary, None: all."""

    def __init__(self, state, config, n_rows=None):
        self.w, self.heads = state, config["num_attention_heads"]
        self.eps, self.depth = config["rms_norm_eps"], config["num_hidden_layers"]
        self.table = self.w["model.embed_tokens.weight"][:n_rows]
        self.layers = [self._layer(self.w.at(f"model.layers.{i}.")) for i in range(self.depth)]
        self.width = self.layers[0]["q_proj"].shape[1] // self.heads
        self.frequency = frequencies(config, self.width)
        tied = config.get("tie_word_embeddings") is True or not self.w.has("lm_head.weight")
        self.head = self.w["model.embed_tokens.weight" if tied else "lm_head.weight"][:n_rows].T
        self.reset()

    @staticmethod
    def _layer(w):
        attended = [f"self_attn.{name}_proj" for name in "qkvo"]
        names = attended + ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm"]
        layer = {name.split(".")[-1]: w[name + ".weight"].T for name in names}
        biases = {name.split(".")[-1] + ".bias": w[name + ".bias"] for name in attended if w.has(name + ".bias")}
        return layer | biases

    def reset(self):
        self.keys = [None] * self.depth
        self.values = [None] * self.depth
        self.position = 0

    def rotate(self, x):
        """x [T,D] at the positions from self.position on: dimension j of a head turns with j + half."""
        places = np.arange(self.position, self.position + x.shape[0]).astype(np.float32)
        angle = (places[:, None] * self.frequency).astype(np.float64)
        cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
        a, b = np.split(x.reshape(x.shape[0], -1, self.width), 2, axis=-1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)

    def feed(self, x, stages=None):
        """x [T,H] -> logits [V] of the last row."""
        mask = np.triu(np.full((x.shape[0], self.position + x.shape[0]), -np.inf), self.position + 1)
        for i, layer in enumerate(self.layers):
            y = rms_norm(x, layer["input_layernorm"], self.eps)
            q, k, v = (y @ layer[f"{name}_proj"] + layer.get(f"{name}_proj.bias", 0.0) for name in "qkv")
            q, k = self.rotate(q), self.rotate(k)
            if self.keys[i] is not None:
                k, v = np.concatenate([self.keys[i], k]), np.concatenate([self.values[i], v])
            self.keys[i], self.values[i] = k, v
            x = x + attention(q[None], k[None], v[None], self.heads, mask)[0] @ layer["o_proj"]
            y = rms_norm(x, layer["post_attention_layernorm"], self.eps)
            gate = y @ layer["gate_proj"]
            x = x + (gate / (1.0 + np.exp(-gate)) * (y @ layer["up_proj"])) @ layer["down_proj"]
            if stages is not None:
                stages[f"decoder.layer.{i:02d}"] = x
        self.position += x.shape[0]
        y = rms_norm(x, self.w["model.norm.weight"], self.eps)
        if stages is not None:
            stages["decoder.norm"] = y
        return y[-1] @ self.head


def ends(answer, stops):
    return any(answer[-len(stop) :] == stop for stop in stops)


def penalised(logits, seen, penalty):
    """The logits with those of ids already seen made smaller (transformers RepetitionPenaltyLogitsProcessor)."""
    logits, seen = logits.copy(), sorted(set(seen))
    logits[seen] = np.where(logits[seen] < 0, logits[seen] * penalty, logits[seen] / penalty)
    return logits


def greedy(llama, rows, n_new, stops, stages, penalty=1.0, given=()):
    """rows [N,H] of a prompt; stops: lists of ids; given: ids that are penalised from the first step on
    -> (ids, logits of every step, distance of the two largest of each step)"""
    llama.reset()
    logits, answer, gaps = [llama.feed(rows, stages)], [], []
    while True:
        scores = penalised(logits[-1], [*given, *answer], penalty)
        top = np.sort(scores)[-2:]
        gaps.append(float(top[1] - top[0]))
        answer.append(int(np.argmax(scores)))
        if len(answer) == n_new or ends(answer, stops):
            break
        logits.append(llama.feed(llama.table[answer[-1:]]))
    stages |= {"decoder.logits": logits[0], "answer.ids": np.asarray(answer, np.int32)}
    return answer, np.stack(logits), gaps
