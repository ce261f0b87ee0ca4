"""
parity_compare.py - one dumped stage against one recorded stage, and where a case's checkpoint comes from.

  golden .npy + ours .npy + its entry in case.json -> error (relative L2, or number of differing integers) and remark

Stricter than check_case.py of the golden folder: shape, type and memory order must be those of the run, and the whole stage
must be finite, not only the rows that were recorded. An error counts as infinite with a remark.
"""

import json
import pathlib
import tarfile

import numpy as np

TYPES = {"f32": np.dtype("<f4"), "i32": np.dtype("<i4"), "u8": np.dtype("u1")}


def expected_shape(stage, golden):
    """Shape of the whole stage; None stands for an axis that the case does not tell."""
    if "full_shape" in stage:
        return tuple(stage["full_shape"])
    return tuple(golden.shape) if stage.get("rows") is None else (None, *golden.shape[1:])


def distance(golden, ours, stage, strict_dtype=True):
    """-> (error, remark); a remark other than "" is a failure."""
    shape = expected_shape(stage, golden)
    if len(shape) != ours.ndim or any(a is not None and a != b for a, b in zip(shape, ours.shape)):
        return float("inf"), f"shape {list(ours.shape)}, expected {list(shape)}"
    if strict_dtype and ours.dtype != TYPES[stage["dtype"]]:
        return float("inf"), f"type {ours.dtype.str}, expected {TYPES[stage['dtype']].str}"
    if strict_dtype and not ours.flags.c_contiguous:
        return float("inf"), "not in C order"
    if ours.dtype.kind == "f" and not np.isfinite(ours).all():
        return float("inf"), f"{int(np.sum(~np.isfinite(ours)))} values are not finite"
    rows = stage.get("rows")
    if rows is not None:
        if max(rows) >= ours.shape[0]:
            return float("inf"), f"{ours.shape[0]} rows, expected more than {max(rows)}"
        ours = ours[np.asarray(rows)]
    if golden.dtype.kind in "iub":
        wrong = int(np.sum(golden.astype(np.int64) != ours.astype(np.int64)))
        return float(wrong), f"{wrong} of {golden.size} differ" if wrong else ""
    g, o = golden.astype(np.float64).ravel(), ours.astype(np.float64).ravel()
    norm = float(np.linalg.norm(g))
    return float(np.linalg.norm(o - g)) / (norm if norm > 0 else 1.0), ""


def unpack_checkpoint(case_dir, target):
    """Unpacks the checkpoint of a case below target: first that of the case it builds on, then its own files over it."""
    case = json.loads((case_dir / "case.json").read_text())
    if case.get("checkpoint_of"):
        unpack_checkpoint(case_dir / case["checkpoint_of"], target)
    archive = case_dir / "checkpoint.tar.xz"
    if archive.exists():
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            for member in members:
                path = pathlib.PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                    raise ValueError(f"{archive}: {member.name} is not a plain file inside the folder")
            tar.extractall(target, members)
    return target / "checkpoint"
