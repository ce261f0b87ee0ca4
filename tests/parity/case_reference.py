"""
case_reference.py - a whole run of one case by the references of its system: what vidrun does with checkpoint, file, questions.

  case.json + checkpoint + input -> stages, turns (a dict each with prompt, pieces, answer, gaps, text)
"""

import longvu_case
import video_llama_case

SYSTEMS = {"video-llama": video_llama_case, "longvu": longvu_case}


def run(checkpoint_dir, case_dir, case):
    return SYSTEMS[case["system"]].run(checkpoint_dir, case_dir, case)
