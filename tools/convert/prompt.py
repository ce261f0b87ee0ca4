"""
prompt.py - the keys of a checkpoint with one prompt template, or a few: sampling, media text, system text, template.

    generation_config.json --sampling()--> sampling.*
    parts of a template    --keys()------> prompt.*, template.NAME.*

Ref:   weights/FORMAT.md (what the keys mean).
Trap:  a generation_config.json also says what holds where the user samples; transformers' own defaults where it says nothing
       differ by system, hence the arguments.
"""
from checkpoint import integer, number

SYSTEM_TEXT = "You are a helpful assistant."
QWEN = {
    "first": "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n",
    "next": "<|im_start|>user\n{text}<|im_end|>\n", "open": "<|im_start|>assistant\n",
    "answer": "<|im_start|>assistant\n{text}<|im_end|>\n", "stop": ["<|im_end|>"],
}


def sampling(recipe, checkpoint, folder, temperature, predict, top_k=0):
    """temperature: the program's, 0: the likeliest token always; top_k: where the file has none, 0: all."""
    config, label = checkpoint.json(folder, "generation_config.json"), f"{checkpoint.label(folder)}/generation_config.json"
    recipe.key("sampling.temperature", "f32", temperature)
    recipe.numbers("sampling", top_k=integer(config, "top_k", label, default=top_k, low=0, high=1 << 20))
    recipe.key("sampling.top_p", "f32", number(config, "top_p", label, default=1.0))
    recipe.key("sampling.repetition_penalty", "f32", number(config, "repetition_penalty", label, default=1.0))
    recipe.numbers("sampling", predict=predict)


def keys(recipe, name, parts, system, media, context, others=None):
    """parts: of TEMPLATE, cut, after, trim and system may be left out; media: what the first message says before the question,
    about a video or a picture; context: prompt and answer together; others: {name: parts} of more templates."""
    templates = {name: parts, **(others or {})}
    recipe.numbers("prompt", context=context)
    recipe.key("prompt.template", "string", name)
    recipe.key("prompt.templates", "[string]", list(templates))
    for kind in ("video", "image"):
        recipe.key(f"prompt.system.{kind}", "string", system)
        recipe.key(f"prompt.{kind}", "string", media)
    recipe.key("prompt.separator", "string", "")
    for template, its_parts in templates.items():
        for part, content in {"cut": "", "after": "", "trim": False, **its_parts}.items():
            recipe.key(f"template.{template}.{part}", {"stop": "[string]", "trim": "bool"}.get(part, "string"), content)
