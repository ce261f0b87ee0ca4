"""
case_reference.py - a whole run of one case by the references of its system: what vidrun does with checkpoint, file, questions.

  case.json + checkpoint + input -> stages, turns (a dict each with prompt, pieces, answer, gaps, text)
"""

import flash_vstream_case
import flash_vstream_qwen_case
import longvu_case
import video_llama_case
import videochat_case
import videollamb_case

SYSTEMS = {
    "video-llama": video_llama_case,
    "longvu": longvu_case,
    "flash-vstream": flash_vstream_case,
    "flash-vstream-qwen": flash_vstream_qwen_case,
    "videollamb": videollamb_case,
    "videochat": videochat_case,
}


def system_of(case):
    """Recorded cases of Flash-VStream on Qwen2-VL have the system's name of the other one."""
    return case["system"] + ("-qwen" if "Qwen" in case["original"] else "")


def known(case):
    return system_of(case) in SYSTEMS


def run(checkpoint_dir, case_dir, case):
    return SYSTEMS[system_of(case)].run(checkpoint_dir, case_dir, case)
