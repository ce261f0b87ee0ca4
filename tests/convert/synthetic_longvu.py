"""
synthetic_longvu.py - a small LongVU checkpoint in the released layout.

    parts(family, image) -> {"longvu" | "siglip" | "dino": {name: array}}
    write(folder, family, parts, ...) -> the decoder's folder

Pictures have the released sizes; widths are small. tokenizer_json() and added() are written from the tokenizers library's
format and GPT-2's description of the letters for bytes, not from the converter.
"""
import os

import numpy as np

import synthetic as made

W, D_SIGLIP, D_DINO, F_SIGLIP, F_DINO = 32, 8, 12, 20, 10
H, HIDDEN, DEPTH, HEADS, HEADS_KV = 16, 24, 2, 4, 2
SPECIALS = {"qwen": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            "llama": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>",
                      "<|eot_id|>"]}
MERGES = [("h", "e"), ("t", "he"), ("Ġ", "the")]
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|NUMBER| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
FOLDERS = {"qwen": "Vision-CAIR/LongVU_Qwen2_7B", "llama": "Vision-CAIR/LongVU_Llama3_2_3B"}
SIGLIP, DINO = "google/siglip-so400m-patch14-384", "facebook/dinov2-giant"


def letters():
    """Printable bytes stand for themselves, the others for 256, 257 ... in their order."""
    out, extra = [], 0
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174:
            out.append(chr(byte))
        else:
            out.append(chr(256 + extra))
            extra += 1
    return out


def pieces():
    return letters() + ["".join(merge) for merge in MERGES]


def rows(family):
    """Rows of the token table: Qwen2 has five behind its tokenizer's."""
    return len(pieces()) + len(SPECIALS[family]) + (5 if family == "qwen" else 0)


def added(family):
    return [{"id": len(pieces()) + i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for i, text in enumerate(SPECIALS[family])]


def tokenizer_json(family):
    qwen = family == "qwen"
    split = SPLIT.replace("NUMBER", r"\p{N}" if qwen else r"\p{N}{1,3}")
    model = {"type": "BPE", "dropout": None, "unk_token": None, "byte_fallback": False,
             "vocab": {text: i for i, text in enumerate(pieces())},
             "merges": [" ".join(m) if qwen else list(m) for m in MERGES]}
    if not qwen:
        model["ignore_merges"] = True
    return {"version": "1.0", "added_tokens": added(family), "normalizer": {"type": "NFC"} if qwen else None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": not qwen, "use_regex": False}]},
            "model": model}


def config(family, image=False):
    common = {"hidden_size": H, "intermediate_size": HIDDEN, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS,
              "num_key_value_heads": HEADS_KV, "hidden_act": "silu", "vocab_size": rows(family), "vision_hidden_size": W,
              "mm_projector_type": "sva", "connector_only": True, "connector_depth": 2, "num_query_group": 1,
              "frame_pos": False, "mm_use_im_start_end": False, "mm_use_im_patch_token": False,
              "mm_vision_select_feature": "patch",
              "mm_vision_tower_aux_list": ["siglip/CLIP-ViT-SO400M-14-384", "facebook/dinov2-giant-res378"],
              "mm_vision_tower_aux_token_len_list": [576, 576], "query_num_list": [576 if image else 144],
              "image_token_len": 576 if image else 144, "tokenizer_model_max_length": 8192}
    if not image:
        common.update(highres=True, lowres_token=8, dino_threshold=0.81, drop_threshold=0.6)
    first = len(pieces())
    if family == "qwen":
        return {**common, "model_type": "cambrian_qwen", "attention_bias": False, "eos_token_id": first + 2,
                "bos_token_id": first, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
                "tie_word_embeddings": False}
    return {**common, "model_type": "cambrian_llama", "eos_token_id": [first + 1, first + 4, first + 5], "bos_token_id": first,
            "max_position_embeddings": 8500, "rms_norm_eps": 1e-5, "rope_theta": 5e5, "tie_word_embeddings": True,
            "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "rope_type": "llama3",
                             "original_max_position_embeddings": 8192}}


def norm(out, random, name, width):
    out[f"{name}.weight"], out[f"{name}.bias"] = random(width), random(width)


def linear(out, random, name, n, cols):
    out[f"{name}.weight"], out[f"{name}.bias"] = random(n, cols), random(n)


def decoder(random, family, image):
    table = random(rows(family), H)
    head = table if family == "llama" else random(rows(family), H)
    out = {"model.embed_tokens.weight": table, "lm_head.weight": head, "model.norm.weight": random(H)}
    keys = H // HEADS * HEADS_KV
    for i in range(DEPTH):
        b = f"model.layers.{i}"
        for name, n, cols in (("self_attn.q_proj", H, H), ("self_attn.k_proj", keys, H), ("self_attn.v_proj", keys, H),
                              ("self_attn.o_proj", H, H), ("mlp.gate_proj", HIDDEN, H), ("mlp.up_proj", HIDDEN, H),
                              ("mlp.down_proj", H, HIDDEN)):
            out[f"{b}.{name}.weight"] = random(n, cols)
            if family == "qwen" and name[-6] in "qkv" and "attn" in name:
                out[f"{b}.{name}.bias"] = random(n)
        out[f"{b}.input_layernorm.weight"], out[f"{b}.post_attention_layernorm.weight"] = random(H), random(H)
    out["model.vision_query"], out["model.image_newline"] = random(1, W), random(H)
    for n, width in ((0, D_SIGLIP), (1, D_DINO)):
        linear(out, random, f"model.mm_projector_aux_{n}.0", W, width)
        linear(out, random, f"model.mm_projector_aux_{n}.2", W, W)
        norm(out, random, f"model.mm_projector_aux_{n}.3", W)
    linear(out, random, "model.mm_projector.0", H, W)
    linear(out, random, "model.mm_projector.2", H, H)
    for i in range(2):
        b = f"model.vision_sampler_0.layers.{i}"
        for name, cols in (("proj_context", W), ("proj_in", 2 * W), ("cross_attn.q_proj.1", W), ("cross_attn.o_proj", W),
                           ("proj_out.linear_1", W), ("proj_out.linear_2", W)):
            out[f"{b}.{name}.weight"] = random(W, cols)
        norm(out, random, f"{b}.cross_attn.q_proj.0", W)
        norm(out, random, f"{b}.norm", W)
        for n in (0, 1):
            for part in "kv":
                norm(out, random, f"{b}.cross_attn.{part}_proj_{n}.0", W)
                out[f"{b}.cross_attn.{part}_proj_{n}.1.weight"] = random(W, W)
            if not image:
                out[f"{b}.pos_embed_{n}"] = random(4, W)
    return out


def siglip(random, side=27):
    out = {"logit_scale": random(1), "logit_bias": random(1), "text_model.embeddings.token_embedding.weight": random(5, 5),
           "text_model.embeddings.position_ids": np.arange(4, dtype="<i8").reshape(1, 4), "text_model.head.bias": random(3),
           "vision_model.head.probe": random(1, 1, D_SIGLIP),
           "vision_model.embeddings.patch_embedding.weight": random(D_SIGLIP, 3, 14, 14),
           "vision_model.embeddings.patch_embedding.bias": random(D_SIGLIP),
           "vision_model.embeddings.position_embedding.weight": random(side * side, D_SIGLIP)}
    norm(out, random, "vision_model.post_layernorm", D_SIGLIP)
    for i in range(2):
        b = f"vision_model.encoder.layers.{i}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(out, random, f"{b}.self_attn.{name}", D_SIGLIP, D_SIGLIP)
        norm(out, random, f"{b}.layer_norm1", D_SIGLIP)
        norm(out, random, f"{b}.layer_norm2", D_SIGLIP)
        linear(out, random, f"{b}.mlp.fc1", F_SIGLIP, D_SIGLIP)
        linear(out, random, f"{b}.mlp.fc2", D_SIGLIP, F_SIGLIP)
    return out


def dino(random, side=37):
    out = {"embeddings.cls_token": random(1, 1, D_DINO), "embeddings.mask_token": random(1, D_DINO),
           "embeddings.position_embeddings": random(1, side * side + 1, D_DINO),
           "embeddings.patch_embeddings.projection.weight": random(D_DINO, 3, 14, 14),
           "embeddings.patch_embeddings.projection.bias": random(D_DINO)}
    norm(out, random, "layernorm", D_DINO)
    for i in range(2):
        b = f"encoder.layer.{i}"
        for name in ("attention.query", "attention.key", "attention.value", "output.dense"):
            linear(out, random, f"{b}.attention.{name}", D_DINO, D_DINO)
        norm(out, random, f"{b}.norm1", D_DINO)
        norm(out, random, f"{b}.norm2", D_DINO)
        out[f"{b}.layer_scale1.lambda1"], out[f"{b}.layer_scale2.lambda1"] = random(D_DINO), random(D_DINO)
        linear(out, random, f"{b}.mlp.weights_in", 2 * F_DINO, D_DINO)
        linear(out, random, f"{b}.mlp.weights_out", D_DINO, F_DINO)
    return out


def parts(family="qwen", image=False, seed=3):
    random = made.Random(seed)
    return {"longvu": decoder(random, family, image), "siglip": siglip(random), "dino": dino(random)}


SIGLIP_CONFIG = {"model_type": "siglip", "text_config": {"num_attention_heads": 7},
                 "vision_config": {"hidden_size": D_SIGLIP, "image_size": 384, "model_type": "siglip_vision_model",
                                   "num_attention_heads": 2, "num_hidden_layers": 2, "patch_size": 14}}
DINO_CONFIG = {"model_type": "dinov2", "hidden_size": D_DINO, "num_attention_heads": 3, "num_hidden_layers": 2,
               "image_size": 518, "layer_norm_eps": 1e-6, "use_swiglu_ffn": True, "hidden_act": "gelu"}


def save(folder, tensors, kind):
    if kind == "bin":
        made.save_zip(os.path.join(folder, "pytorch_model.bin"), tensors)
    else:
        made.save_safetensors(os.path.join(folder, "model.safetensors"), tensors)


def write(root, family="qwen", tensors=None, image=False, change=None, tokenizer=None, kinds=("safetensors",) * 3, towers=True):
    """change: of config.json, None values leave a key out; tokenizer: another tokenizer.json. -> folder of the decoder"""
    tensors = tensors or parts(family, image)
    folder = os.path.join(root, FOLDERS[family])
    wanted = {**config(family, image), **(change or {})}
    for where, content, kind, settings in ((folder, tensors["longvu"], kinds[0], wanted),
                                           (os.path.join(root, SIGLIP), tensors.get("siglip"), kinds[1], SIGLIP_CONFIG),
                                           (os.path.join(root, DINO), tensors.get("dino"), kinds[2], DINO_CONFIG)):
        if content is None:
            continue
        os.makedirs(where, exist_ok=True)
        save(where, content, kind)
        told = {key: value for key, value in settings.items() if value is not None}
        made.write_json(os.path.join(where, "config.json"), told)
    qwen = family == "qwen"
    made.write_json(os.path.join(folder, "tokenizer.json"), tokenizer or tokenizer_json(family))
    made.write_json(os.path.join(folder, "tokenizer_config.json"), {
        "bos_token": None if qwen else SPECIALS["llama"][0], "eos_token": SPECIALS[family][-1],
        "tokenizer_class": "Qwen2Tokenizer" if qwen else "PreTrainedTokenizerFast",
        "added_tokens_decoder": {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in added(family)}})
    return folder
