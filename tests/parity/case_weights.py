"""
case_weights.py - random weights of a small Video-LLaMA in the released files.

  sizes + seed -> eva_vit_g.pth, blip2_pretrained_flant5xxl.pth, VL and AL files, imagebind_huge.pth,
                  bert-base-uncased/config.json, LLaMA folder (.bin shards or .safetensors, config, tokenizer)

The numbers are chosen so that mistakes show: residual streams and Q-Former norms are small (a wrong epsilon moves every
later stage), queries and keys are large (attention looks somewhere), every bias and norm is random. Surplus tensors of the
published files are there, with huge values: whoever reads one of them is seen at once.

Ref:   names and shapes: spec 6.4; surplus: spec 6.4 "Ignore"; which tensors are half precision: spec 2.11.
Trap:  weights of the decoder are exact in fp16 and in bf16, so that no rounding of the loader can change them.
"""

import json

import numpy as np

import checkpoint

POISON = 1e4
QFORMER_STD = 0.02  # of the rows inside the Q-Formers: an epsilon of 1e-6 instead of 1e-12 then moves them by 1e-3


class Random:
    """Normal numbers of one seed, shaped as layers."""

    def __init__(self, *seed):
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape, std=1.0, mean=0.0):
        return (mean + std * self.rng.standard_normal(shape)).astype(np.float32)

    def matrix(self, rows, columns, gain=1.0):
        return self.normal(rows, columns, std=gain / columns**0.5)

    def linear(self, name, rows, columns, gain=1.0):
        return {name + ".weight": self.matrix(rows, columns, gain), name + ".bias": self.normal(rows, std=0.1 * gain)}

    def norm(self, name, width, mean=1.0):
        return {
            name + ".weight": self.normal(width, std=0.2 * mean, mean=mean),
            name + ".bias": self.normal(width, std=0.1 * mean),
        }

    def poison(self, *shape):
        return self.normal(*shape, std=POISON)


def vit(r, size):
    width, side, tokens = size["vit_width"], size["patch"], 1 + (224 // size["patch"]) ** 2
    state = {
        "cls_token": r.normal(1, 1, width, std=0.02),
        "pos_embed": r.normal(1, tokens, width, std=0.01),
        "patch_embed.proj.weight": r.normal(width, 3, side, side, std=0.02 / (3 * side * side) ** 0.5),
        "patch_embed.proj.bias": r.normal(width, std=0.005),
    }
    for i in range(size["vit_depth"]):
        state |= {
            f"blocks.{i}.{name}": x
            for part in (
                r.norm("norm1", width),
                r.norm("norm2", width),
                r.linear("attn.proj", width, width, 0.02),
                r.linear("mlp.fc1", size["vit_hidden"], width),
                r.linear("mlp.fc2", width, size["vit_hidden"], 0.02),
                {
                    "attn.q_bias": r.normal(width, std=0.2),
                    "attn.v_bias": r.normal(width, std=0.2),
                    "attn.qkv.weight": np.concatenate(
                        [r.matrix(width, width, 1.7), r.matrix(width, width, 1.7), r.matrix(width, width)]
                    ),
                },
            )
            for name, x in part.items()
        }
    state |= {
        "norm.weight": r.poison(width),
        "norm.bias": r.poison(width),
        "head.weight": r.poison(10, width),
        "head.bias": r.poison(10),
    }
    return {name: x.astype(np.float16) for name, x in state.items()}


def qformer(r, size, prefix, depth, interval, encoder, encoder_std=1.0):
    """interval: layers with i % interval == 0 look at rows of width encoder, whose numbers are about encoder_std."""
    width, hidden = size["qformer_width"], size["qformer_hidden"]
    state = r.norm("embeddings.LayerNorm", width, QFORMER_STD)
    state["embeddings.position_ids"] = np.arange(24, dtype=np.int64)[None]
    for i in range(depth):
        parts = [
            r.linear("intermediate_query.dense", hidden, width, 1 / QFORMER_STD),
            r.linear("output_query.dense", width, hidden, QFORMER_STD),
            r.norm("output_query.LayerNorm", width, QFORMER_STD),
        ]
        looks = [("attention", width, QFORMER_STD)] + (
            [("crossattention", encoder, encoder_std)] if i % interval == 0 else []
        )
        for kind, source, std in looks:
            parts += [
                r.linear(kind + ".self.query", width, width, 1.5 / QFORMER_STD),
                r.linear(kind + ".self.key", width, source, 1.5 / std),
                r.linear(kind + ".self.value", width, source, 1 / std),
                r.linear(kind + ".output.dense", width, width, QFORMER_STD),
                r.norm(kind + ".output.LayerNorm", width, QFORMER_STD),
            ]
        state |= {f"encoder.layer.{i}.{name}": x for part in parts for name, x in part.items()}
    return {f"{prefix}.bert.{name}": x for name, x in state.items()}


def blip2(r, size):
    width = size["qformer_width"]
    state = {"query_tokens": r.normal(1, size["queries"], width, std=0.02)} | r.norm("ln_vision", size["vit_width"])
    state |= qformer(r, size, "Qformer", size["qformer_depth"], 2, size["vit_width"])
    surplus = {
        "Qformer.bert.embeddings.word_embeddings.weight": (40, width),
        "Qformer.bert.embeddings.position_embeddings.weight": (24, width),
        "Qformer.cls.predictions.bias": (40,),
        "Qformer.cls.predictions.transform.dense.weight": (width, width),
        "t5_proj.weight": (64, width),
        "t5_proj.bias": (64,),
    }
    for i in range(size["qformer_depth"]):
        layer = f"Qformer.bert.encoder.layer.{i}."
        surplus |= {
            layer + "intermediate.dense.weight": (size["qformer_hidden"], width),
            layer + "intermediate.dense.bias": (size["qformer_hidden"],),
            layer + "output.dense.weight": (width, size["qformer_hidden"]),
            layer + "output.dense.bias": (width,),
            layer + "output.LayerNorm.weight": (width,),
            layer + "output.LayerNorm.bias": (width,),
        }
    return {"model": state | {name: r.poison(*shape) for name, shape in surplus.items()}}


def trained(model):
    """A checkpoint as the runner of the original saves it."""
    return {
        "model": model,
        "optimizer": {"state": {}, "param_groups": [{"lr": 3e-05, "params": [0]}]},
        "config": {"model": {"arch": "video_llama"}},
        "scaler": {"scale": 65536.0},
        "epoch": 2,
    }


def vision_language(r, size):
    width = size["qformer_width"]
    state = {
        "video_query_tokens": r.normal(1, size["video_queries"], width, std=0.02),
        "video_frame_position_embedding.weight": r.normal(32, width, std=QFORMER_STD),
    }
    state |= qformer(r, size, "video_Qformer", 2, 1, width, QFORMER_STD) | r.linear(
        "llama_proj", size["llama_width"], width, 2.0
    )
    state |= {"llama_model.model.layers.0.self_attn.rotary_emb.inv_freq": r.poison(16)}
    return trained(state)


def audio_language(r, size):
    width = size["qformer_width"]
    state = {
        "audio_query_tokens": r.normal(1, size["audio_queries"], width, std=0.02),
        "audio_position_embedding.weight": r.normal(8, size["audio_out"], std=0.5),
    }
    rows_std = min(size["audio_scale"], 100.0) / size["audio_out"] ** 0.5
    state |= qformer(r, size, "audio_Qformer", 2, 1, size["audio_out"], rows_std) | r.linear(
        "audio_llama_proj", size["llama_width"], width, 2.0
    )
    state |= {
        "audio_encoder.modality_preprocessors.text.mask": r.poison(7, 7),
        "audio_encoder.modality_postprocessors.audio.1.log_logit_scale": np.array(
            np.log(size["audio_scale"]), np.float32
        ),
    }
    return trained(state)


def imagebind(r, size):
    width, hidden = size["audio_width"], size["audio_hidden"]
    stem, trunk = "modality_preprocessors.audio.", "modality_trunks.audio.blocks."
    state = {
        stem + "rgbt_stem.proj.weight": r.normal(width, 1, 16, 16, std=0.01),
        stem + "cls_token": r.normal(1, 1, width, std=0.05),
        stem + "pos_embedding_helper.pos_embed": r.normal(1, 229, width, std=0.02),
    }
    state |= r.norm(stem + "rgbt_stem.norm_layer", width, 0.05)
    for i in range(size["audio_depth"]):
        qkv = np.concatenate([r.matrix(width, width, 1.7), r.matrix(width, width, 1.7), r.matrix(width, width)])
        state |= {
            f"{trunk}{i}.{name}": x
            for part in (
                r.norm("norm_1", width),
                r.norm("norm_2", width),
                r.linear("attn.out_proj", width, width, 0.05),
                r.linear("mlp.fc1", hidden, width),
                r.linear("mlp.fc2", width, hidden, 0.05),
                {
                    "attn.in_proj_weight": qkv,
                    "attn.in_proj_bias": r.normal(3 * width, std=0.2),
                    "attn.bias_k": r.normal(1, 1, width, std=2.0),
                    "attn.bias_v": r.normal(1, 1, width, std=1.0),
                },
            )
            for name, x in part.items()
        }
    state |= r.norm("modality_heads.audio.0", width) | {
        "modality_heads.audio.2.weight": r.matrix(size["audio_out"], width)
    }
    state |= {
        "modality_postprocessors.audio.1.log_logit_scale": np.array(np.log(20.0), np.float32),
        "modality_heads.vision.0.weight": r.poison(12),
        "modality_trunks.vision.blocks.0.attn.in_proj_weight": r.poison(12, 4),
        "modality_preprocessors.depth.cls_token": r.poison(1, 1, 8),
    }
    return state


def llama(r, size):
    """Every tensor is exact in fp16 and in bf16. size["unlikely"]: ids that should rarely be answered."""
    width, hidden = size["llama_width"], size["llama_hidden"]
    head = width // size["llama_heads"]
    state = {"model.embed_tokens.weight": r.normal(size["vocab"], width, std=0.05)}
    for i in range(size["llama_depth"]):
        layer = {
            "self_attn.q_proj": r.matrix(width, width, 1.7),
            "self_attn.k_proj": r.matrix(size["llama_kv_heads"] * head, width, 1.7),
            "self_attn.v_proj": r.matrix(size["llama_kv_heads"] * head, width),
            "self_attn.o_proj": r.matrix(width, width, 0.05),
            "mlp.gate_proj": r.matrix(hidden, width),
            "mlp.up_proj": r.matrix(hidden, width),
            "mlp.down_proj": r.matrix(width, hidden, 0.05),
            "input_layernorm": r.normal(width, std=0.2, mean=1.0),
            "post_attention_layernorm": r.normal(width, std=0.2, mean=1.0),
        }
        state |= {f"model.layers.{i}.{name}.weight": x for name, x in layer.items()}
    state |= {
        "model.norm.weight": r.normal(width, std=0.2, mean=1.0),
        "lm_head.weight": r.matrix(size["vocab"], width, 2.0),
    }
    state["lm_head.weight"][size["unlikely"]] *= 0.25
    exact = {name: checkpoint.widen_bf16(checkpoint.narrow_bf16(x)).astype(np.float16) for name, x in state.items()}
    return exact | {"model.layers.0.self_attn.rotary_emb.inv_freq": r.poison(head // 2)}


def write_encoders(folder, seed, size, names, share):
    """The files of towers and Q-Formers. names: of the VL and AL files; share: tensors of a file share a storage."""
    files = {
        "eva_vit_g.pth": vit(Random(seed, 1), size),
        "blip2_pretrained_flant5xxl.pth": blip2(Random(seed, 2), size),
        names["vl"]: vision_language(Random(seed, 3), size),
    }
    if size["audio"]:
        files |= {
            names["al"]: audio_language(Random(seed, 4), size),
            "imagebind_huge.pth": imagebind(Random(seed, 5), size),
        }
    for name, value in files.items():
        checkpoint.write_pth(folder / name, value, share)
    (folder / "bert-base-uncased").mkdir()
    config = {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": size["qformer_width"],
        "intermediate_size": size["qformer_hidden"],
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 24,
        "num_attention_heads": size["qformer_width"] // 64,
        "num_hidden_layers": size["qformer_depth"],
        "vocab_size": 40,
    }
    (folder / "bert-base-uncased/config.json").write_text(json.dumps(config, indent=1))


def write_llama(folder, seed, size, tokenizer_files, layout, eos):
    """The decoder's folder. layout: bin, shards or safetensors; eos: of generation_config.json, None: there is none."""
    folder.mkdir(exist_ok=True)
    state = llama(Random(seed, 6), size)
    if layout == "safetensors":
        checkpoint.write_safetensors(folder / "model.safetensors", {name: bf16_or_same(x) for name, x in state.items()})
    else:
        names = list(state)
        cut = len(names) // 2 if layout == "shards" else len(names)
        shards = [names[:cut], names[cut:]] if layout == "shards" else [names]
        where = {}
        for i, shard in enumerate(shards):
            file = f"pytorch_model-{i + 1:05d}-of-{len(shards):05d}.bin" if layout == "shards" else "pytorch_model.bin"
            checkpoint.write_pth(folder / file, {name: state[name] for name in shard})
            where |= {name: file for name in shard}
        if layout == "shards":
            total = sum(x.nbytes for x in state.values())
            (folder / "pytorch_model.bin.index.json").write_text(
                json.dumps({"metadata": {"total_size": total}, "weight_map": where}, indent=1)
            )
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": size["llama_width"],
        "intermediate_size": size["llama_hidden"],
        "max_position_embeddings": 2048,
        "num_attention_heads": size["llama_heads"],
        "num_hidden_layers": size["llama_depth"],
        "rms_norm_eps": size["llama_eps"],
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "vocab_size": size["vocab"],
    }
    if size["llama_kv_heads"] != size["llama_heads"]:
        config["num_key_value_heads"] = size["llama_kv_heads"]
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    if eos is not None:
        generation = {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": eos, "pad_token_id": 0}
        (folder / "generation_config.json").write_text(json.dumps(generation, indent=1))
    for name, raw in tokenizer_files.items():
        (folder / name).write_bytes(raw)


def bf16_or_same(x):
    return checkpoint.narrow_bf16(x.astype(np.float32)) if x.dtype == np.float16 else x
