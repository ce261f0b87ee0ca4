"""
video_llama_reference.py - Video-LLaMA from pixels and mel to answer ids, in float64 and numpy alone: the second opinion on the engine.

  pixels [T,3,S,S] -> vit -> Q-Former [T,32,D] -> + frame position -> Video Q-Former -> llama_proj [1,32,H] --+
  mel [8,128,204] -> ImageBind audio [8,E] -> + clip position -> Audio Q-Former -> audio_llama_proj [1,8,H] --+-> splice
  ids of the text pieces -> embed_tokens --------------------------------------------------------------------+    |
  answer ids <- greedy steps <- logits <- LLaMA over the spliced rows [N,H] <--------------------------------------+

Written from the specification (sections 2 and 5), reads the published files (checkpoint.py), shares nothing with the engine.
Every function fills `stages` with the names of the golden cases.

Ref:   spec 2.1-2.10, 5.3-5.5; eva_vit.py, Qformer.py, imagebind_model.py of DAMO-NLP-SG/Video-LLaMA@64888c0.
Trap:  five different norm epsilons (spec 8.5); the ViT has no key bias; ImageBind attends to one extra row.
"""

import math

import numpy as np

from decoder_reference import greedy
from layer_reference import Weights, attention, gelu, patches

CONTEXT = 2000  # spec 5.4: prompt and answer together


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


def decode(llama, pieces, rows, n_new, stops, stages, prefix=""):
    """Greedy answer after one prompt. stops: lists of ids. -> (answer ids, distance of the two largest logits at every step)"""
    filled = {}
    filled["prompt.ids"], embeddings = splice(llama.table, pieces, rows, n_new)
    filled["prompt.embeds"] = embeddings
    answer, logits, gaps = greedy(llama, embeddings, n_new, stops, filled)
    filled["decoder.step_logits"] = logits
    stages.update({prefix + name: x for name, x in filled.items()})
    return answer, gaps
