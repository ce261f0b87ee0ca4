"""
export.py - the trained demo as a folder in the released layout of Video-LLaMA, for tools/convert/convert.py.

  WORK/{eyes,ears,answer}.pt, tokenizer.model -> WORK/checkpoint/ eva_vit_g.pth, blip2_pretrained_flant5xxl.pth,
      imagebind_huge.pth,
       finetune-demo.pth, finetune-demo-audio.pth, bert-base-uncased/, llama/, vidrun.json (what the released sizes imply and
       these do not)
"""
import json
import os
import shutil

import torch

import model
from common import finished, load
from film import listen_modules, load_eyes, watch_modules
from model import VideoLlama
from words import Words


def trained(work):
    net = VideoLlama()
    load_eyes(net, work)
    load(net.audio_encoder, finished(work, "ears")["audio_encoder"])
    state = finished(work, "answer")
    for key, module in {**watch_modules(net), **listen_modules(net), "llama": net.llama_model}.items():
        load(module, state[key])
    return net


def write_json(folder, name, content):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)


def part(state, *prefixes, drop=""):
    return {name.removeprefix(drop): tensor.clone() for name, tensor in state.items() if name.startswith(prefixes)}


def run(options):
    words, state = Words(options.work), trained(options.work).state_dict()
    folder = os.path.join(options.work, "checkpoint")
    shutil.rmtree(folder, ignore_errors=True)
    llama, bert = os.path.join(folder, "llama"), os.path.join(folder, "bert-base-uncased")
    os.makedirs(llama)
    torch.save(part(state, "visual_encoder.", drop="visual_encoder."), os.path.join(folder, "eva_vit_g.pth"))
    torch.save({"model": part(state, "query_tokens", "Qformer.", "ln_vision.")},
               os.path.join(folder, "blip2_pretrained_flant5xxl.pth"))
    torch.save(part(state, "audio_encoder.", drop="audio_encoder."), os.path.join(folder, "imagebind_huge.pth"))
    torch.save({"model": part(state, "video_", "llama_proj.")}, os.path.join(folder, "finetune-demo.pth"))
    torch.save({"model": part(state, "audio_query", "audio_Qformer.", "audio_position", "audio_llama_proj.")},
               os.path.join(folder, "finetune-demo-audio.pth"))
    torch.save(part(state, "llama_model.", drop="llama_model."), os.path.join(llama, "pytorch_model.bin"))
    shutil.copy(os.path.join(options.work, "tokenizer.model"), llama)
    write_json(
        llama, "config.json", {
            "model_type": "llama", "architectures": ["LlamaForCausalLM"
                                                     ], "hidden_size": model.LLM, "intermediate_size": model.LLM_HIDDEN,
            "num_hidden_layers": model.LLM_BLOCKS, "num_attention_heads": model.LLM_HEADS, "vocab_size": words.size,
            "rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
            "tie_word_embeddings": False
        })
    write_json(llama, "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    write_json(
        bert, "config.json", {
            "model_type": "bert", "hidden_size": model.WIDTH, "num_attention_heads": model.HEADS, "num_hidden_layers": 2,
            "layer_norm_eps": 1e-12
        })
    write_json(
        folder, "vidrun.json", {
            "vit_heads": model.VIT_HEADS, "imagebind_heads": model.AUDIO_HEADS, "imagebind_patch_stride": model.STRIDE,
            "temperature": 0
        })
