"""
reference.py - Video-LLaMA from pixels and mel to answer ids, in float64 and numpy alone: the second opinion on the engine.

  pixels [T,3,S,S] -> vit -> Q-Former [T,32,D] -> + frame position -> Video Q-Former -> llama_proj [1,32,H] --+
  mel [8,128,204] -> ImageBind audio [8,E] -> + clip position -> Audio Q-Former -> audio_llama_proj [1,8,H] --+-> splice
  ids of the text pieces -> embed_tokens --------------------------------------------------------------------+    |
  answer ids <- greedy steps <- logits <- LLaMA over the spliced rows [N,H] <--------------------------------------+

Written from the specification (sections 2 and 5), reads the published files (checkpoint.py), shares nothing with the engine.
Every function fills `stages` with the names of the golden cases.

Ref:   spec 2.1-2.10, 5.3-5.5; eva_vit.py, Qformer.py, imagebind_model.py, modeling_llama.py of DAMO-NLP-SG/Video-LLaMA@64888c0.
Trap:  five different norm epsilons (spec 8.5); the ViT has no key bias; ImageBind attends to one extra row; the rotary
       angles are float32 products, as the original's.
"""

import math

import numpy as np

CONTEXT = 2000  # spec 5.4: prompt and answer together

erf = np.frompyfunc(math.erf, 1, 1)


def gelu(x):
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)).astype(np.float64))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps) * weight + bias


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def attention(q, k, v, heads, mask=0.0):
    """q [B,T,D], k, v [B,S,Dk] with as many or fewer heads of the same width -> [B,T,D]."""
    width = q.shape[-1] // heads
    split = lambda x: x.reshape(*x.shape[:2], -1, width).swapaxes(1, 2)
    q, k, v = split(q), split(k), split(v)
    k, v = (np.repeat(x, heads // x.shape[1], axis=1) for x in (k, v))
    y = softmax(q @ k.swapaxes(2, 3) / math.sqrt(width) + mask) @ v
    return y.swapaxes(1, 2).reshape(y.shape[0], y.shape[2], -1)


class Weights:
    """Float64 view of a state dict under a prefix."""

    def __init__(self, state, prefix=""):
        self.state, self.prefix = state, prefix

    def __getitem__(self, name):
        return self.state[self.prefix + name].astype(np.float64)

    def at(self, name):
        return Weights(self.state, self.prefix + name)

    def has(self, name):
        return self.prefix + name in self.state

    def count(self, pattern):
        """Consecutive numbers i from 0 for which pattern % i exists."""
        i = 0
        while self.has(pattern % i):
            i += 1
        return i

    def linear(self, x, name):
        return x @ self[name + ".weight"].T + self[name + ".bias"]

    def norm(self, x, name, eps):
        return layer_norm(x, self[name + ".weight"], self[name + ".bias"], eps)


def patches(x, side, stride):
    """[B,C,Y,X] -> [B, rows*columns, C*side*side], row-major, as a convolution sees them."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(2, 3))[:, :, ::stride, ::stride]
    b, c, rows, columns = windows.shape[:4]
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(b, rows * columns, c * side * side)


def vit(w, pixels, stages):
    """pixels [T,3,S,S] -> [T,1+P,D], no final norm."""
    kernel = w["patch_embed.proj.weight"]
    width, side = kernel.shape[0], kernel.shape[2]
    x = patches(pixels, side, side) @ kernel.reshape(width, -1).T + w["patch_embed.proj.bias"]
    cls = np.broadcast_to(w["cls_token"], (x.shape[0], 1, width))
    x = np.concatenate([cls, x], axis=1) + w["pos_embed"]
    stages["vision.embed"] = x
    for i in range(min(39, w.count("blocks.%d.norm1.weight"))):
        b = w.at(f"blocks.{i}.")
        bias = np.concatenate([b["attn.q_bias"], np.zeros(width), b["attn.v_bias"]])
        q, k, v = np.split(b.norm(x, "norm1", 1e-6) @ b["attn.qkv.weight"].T + bias, 3, axis=-1)
        x = x + b.linear(attention(q, k, v, width // 88), "attn.proj")
        x = x + b.linear(gelu(b.linear(b.norm(x, "norm2", 1e-6), "mlp.fc1")), "mlp.fc2")
        stages[f"vision.block.{i:02d}"] = x
    return x


def qformer(w, query, encoded, heads, stages, name):
    """query [1,Q,D], encoded [B,S,De] -> [B,Q,D]; w: the names under ...bert."""
    x = w.norm(query, "embeddings.LayerNorm", 1e-12)
    x = np.broadcast_to(x, (encoded.shape[0], *x.shape[1:]))
    stages[name + ".embed"] = x
    for i in range(w.count("encoder.layer.%d.attention.self.query.weight")):
        layer = w.at(f"encoder.layer.{i}.")
        for kind, source in (("attention", None), ("crossattention", encoded)):
            if not layer.has(kind + ".self.query.weight"):
                continue
            b = layer.at(kind + ".")
            source = x if source is None else source
            y = attention(
                b.linear(x, "self.query"), b.linear(source, "self.key"), b.linear(source, "self.value"), heads
            )
            x = b.norm(b.linear(y, "output.dense") + x, "output.LayerNorm", 1e-12)
        y = layer.linear(gelu(layer.linear(x, "intermediate_query.dense")), "output_query.dense")
        x = layer.norm(y + x, "output_query.LayerNorm", 1e-12)
        stages[f"{name}.layer.{i:02d}"] = x
    stages[name + ".out"] = x
    return x


def video_rows(state, heads, pixels, stages):
    """pixels [T,3,S,S] -> [1,32,H]"""
    w = Weights(state)
    x = w.norm(vit(w.at("visual_encoder."), pixels.astype(np.float64), stages), "ln_vision", 1e-5)
    stages["vision.out"] = x
    x = qformer(w.at("Qformer.bert."), w["query_tokens"], x, heads, stages, "qformer")
    x = x + w["video_frame_position_embedding.weight"][: x.shape[0], None, :]
    x = x.reshape(1, -1, x.shape[2])
    stages["video_qformer.in"] = x
    x = qformer(w.at("video_Qformer.bert."), w["video_query_tokens"], x, heads, stages, "video_qformer")
    stages["project.video"] = w.linear(x, "llama_proj")
    return stages["project.video"]


def imagebind(w, mel, stages):
    """mel [8,128,204] -> [8,E] of length 20"""
    p = w.at("modality_preprocessors.audio.")
    kernel = p["rgbt_stem.proj.weight"]
    width = kernel.shape[0]
    x = patches(mel[:, None], kernel.shape[2], 10) @ kernel.reshape(width, -1).T
    x = p.norm(x, "rgbt_stem.norm_layer", 1e-5)
    stages["audio.stem"] = x
    cls = np.broadcast_to(p["cls_token"], (x.shape[0], 1, width))
    x = np.concatenate([cls, x], axis=1) + p["pos_embedding_helper.pos_embed"]
    stages["audio.embed"] = x
    for i in range(w.count("modality_trunks.audio.blocks.%d.norm_1.weight")):
        b = w.at(f"modality_trunks.audio.blocks.{i}.")
        y = b.norm(x, "norm_1", 1e-6) @ b["attn.in_proj_weight"].T + b["attn.in_proj_bias"]
        q, k, v = np.split(y, 3, axis=-1)
        k, v = (
            np.concatenate([rows, np.broadcast_to(b[extra], (x.shape[0], 1, width))], axis=1)
            for rows, extra in ((k, "attn.bias_k"), (v, "attn.bias_v"))
        )
        x = x + b.linear(attention(q, k, v, width // 64), "attn.out_proj")
        x = x + b.linear(gelu(b.linear(b.norm(x, "norm_2", 1e-6), "mlp.fc1")), "mlp.fc2")
        stages[f"audio.block.{i:02d}"] = x
    stages["audio.cls"] = w.norm(x[:, 0], "modality_heads.audio.0", 1e-6)
    z = stages["audio.cls"] @ w["modality_heads.audio.2.weight"].T
    scale = min(math.exp(float(w["modality_postprocessors.audio.1.log_logit_scale"])), 100.0)
    stages["audio.out"] = z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12) * scale
    return stages["audio.out"]


def audio_rows(state, heads, mel, stages):
    """mel [8,128,204] -> [1,8,H]"""
    w = Weights(state)
    x = imagebind(w.at("audio_encoder."), mel, stages)[None] + w["audio_position_embedding.weight"]
    stages["audio_qformer.in"] = x
    x = qformer(w.at("audio_Qformer.bert."), w["audio_query_tokens"], x, heads, stages, "audio_qformer")
    stages["project.audio"] = w.linear(x, "audio_llama_proj")
    return stages["project.audio"]


class Llama:
    """The decoder with its cache of keys and values; rows are fed in any number."""

    def __init__(self, state, config):
        self.w, self.heads = Weights(state, "llama_model."), config["num_attention_heads"]
        self.eps, self.depth = config["rms_norm_eps"], config["num_hidden_layers"]
        self.base = config.get("rope_theta", 10000.0)
        self.table = self.w["model.embed_tokens.weight"]
        self.layers = [self._layer(self.w.at(f"model.layers.{i}.")) for i in range(self.depth)]
        self.head = self.w["lm_head.weight" if self.w.has("lm_head.weight") else "model.embed_tokens.weight"].T
        self.reset()

    @staticmethod
    def _layer(w):
        names = [
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj",
            "input_layernorm",
            "post_attention_layernorm",
        ]
        return {name.split(".")[-1]: w[name + ".weight"].T for name in names}

    def reset(self):
        self.keys = [None] * self.depth
        self.values = [None] * self.depth
        self.position = 0

    def rotate(self, x):
        """x [T,D] at the positions from self.position on: dimension j of a head turns with j + half."""
        width = self.w["model.layers.0.self_attn.q_proj.weight"].shape[0] // self.heads
        f32 = np.float32
        frequency = (1.0 / f32(self.base) ** (np.arange(0, width, 2).astype(f32) / f32(width))).astype(f32)
        angle = (np.arange(self.position, self.position + x.shape[0]).astype(f32)[:, None] * frequency).astype(
            np.float64
        )
        cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
        a, b = np.split(x.reshape(x.shape[0], -1, width), 2, axis=-1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)

    def feed(self, x, stages=None):
        """x [T,H] -> logits [V] of the last row."""
        mask = np.triu(np.full((x.shape[0], self.position + x.shape[0]), -np.inf), self.position + 1)
        for i, layer in enumerate(self.layers):
            y = rms_norm(x, layer["input_layernorm"], self.eps)
            k, v = self.rotate(y @ layer["k_proj"]), y @ layer["v_proj"]
            if self.keys[i] is not None:
                k, v = np.concatenate([self.keys[i], k]), np.concatenate([self.values[i], v])
            self.keys[i], self.values[i] = k, v
            q = self.rotate(y @ layer["q_proj"])
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


def splice(table, pieces, rows, n_new):
    """ids of the pieces and the rows between them -> (ids with -1 for rows [N], embeddings [N,H]); spec 5.3, 5.4."""
    ids, parts = [], []
    for i, piece in enumerate(pieces):
        ids += piece
        parts.append(table[np.asarray(piece, int)])
        if i < len(rows):
            ids += [-1] * rows[i].shape[1]
            parts.append(rows[i][0])
    first = max(0, len(ids) + n_new - CONTEXT)
    return np.asarray(ids[first:], np.int32), np.concatenate(parts)[first:]


def ends(answer, stops):
    return any(answer[-len(stop) :] == stop for stop in stops)


def decode(llama, pieces, rows, n_new, stops, stages, prefix=""):
    """Greedy answer after one prompt. stops: lists of ids. -> (answer ids, distance of the two largest logits at every step)"""
    filled = {}
    filled["prompt.ids"], embeddings = splice(llama.table, pieces, rows, n_new)
    filled["prompt.embeds"] = embeddings
    llama.reset()
    logits = [llama.feed(embeddings, filled)]
    answer, gaps = [], []
    while True:
        top = np.sort(logits[-1])[-2:]
        gaps.append(float(top[1] - top[0]))
        answer.append(int(np.argmax(logits[-1])))
        if len(answer) == n_new or ends(answer, stops):
            break
        logits.append(llama.feed(llama.table[answer[-1:]]))
    filled["decoder.logits"] = logits[0]
    filled["decoder.step_logits"] = np.stack(logits)
    filled["answer.ids"] = np.asarray(answer, np.int32)
    stages.update({prefix + name: x for name, x in filled.items()})
    return answer, gaps
