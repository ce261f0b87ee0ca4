"""
case_reference.py - a whole run of one case by the references of its system: what vidrun does with checkpoint, file, questions.

  case.json + checkpoint + input -> stages, turns (a dict each with prompt, pieces, answer, gaps, text)
"""

import flash_vstream_case
import longvu_case
import video_llama_case

SYSTEMS = {"video-llama": video_llama_case, "longvu": longvu_case, "flash-vstream": flash_vstream_case}


def known(case):
    """Flash-VStream on Qwen2-VL, of the same name, has no reference."""
    return case["system"] in SYSTEMS and "Qwen" not in case["original"]


def run(checkpoint_dir, case_dir, case):
    return SYSTEMS[case["system"]].run(checkpoint_dir, case_dir, case)
