"""
longvu.py - LongVU (Vision-CAIR): which file is what, and every tensor, key and prompt of the weight file.

    LongVU folder (decoder, sampler, projectors, tokenizer), SigLIP folder, DINOv2 folder --> {name: Tensor} --build--> recipe

Files are told apart by the tensors they hold; the three folders may lie anywhere below the checkpoint folder. The image stage is
a checkpoint of its own: 24 x 24 queries, no positions in the sampler's windows, no small grid.
Ref:   Vision-CAIR/LongVU longvu/builder.py, longvu/cambrian_arch.py, longvu/vision_sampler.py, longvu/multimodal_encoder/*.py,
       longvu/conversation.py.
"""

NAME = "longvu"
TITLE = "LongVU"
TEMPLATES = ("qwen", "llama3")
