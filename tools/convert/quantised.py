"""
quantised.py - matrices in strips of 16 rows, the types Q8_R16 and Q4_R16 of weights/FORMAT.md.

    rows of numbers --16 at a time--> strips: blocks of 16 rows x 64 columns, scales f16 of every 32 columns, then the numbers

The same bytes as src/base/strips.c (vr_strip_quantise) makes of the same numbers, so that vidrun-quantize and convert.py agree.
Ref:   ggml-quants.c (quantize_row_q8_0_ref, quantize_row_q4_0_ref): which scale a group gets.
Trap:  the scale is rounded to f16 first and the numbers are those nearest under the rounded one. A group of zeros has the scale
       -0 in Q4 (0 / -8); rows and columns that do not exist have the scale +0.
"""
import numpy as np

ROWS, COLUMNS, GROUP = 16, 64, 32  # of a strip, of a block, of a scale
BLOCK_BYTES = {"Q8_R16": 1088, "Q4_R16": 576}
VALUES_AT_ONCE = 1 << 20


def n_bytes(dtype, rows, cols):
    return -(-rows // ROWS) * -(-cols // COLUMNS) * BLOCK_BYTES[dtype]


def pack(values, dtype):
    """float32 [rows, cols] -> the bytes of its strips; the last one may have fewer than 16 rows."""
    rows, cols = values.shape
    strips, blocks = -(-rows // ROWS), -(-cols // COLUMNS)
    whole = np.zeros((strips * ROWS, blocks * COLUMNS), "<f4")
    whole[:rows, :cols] = values
    groups = whole.reshape(strips * ROWS, blocks * 2, GROUP)
    if dtype == "Q8_R16":
        wanted, least, most = np.abs(groups).max(axis=2) / np.float32(127), -127, 127
    else:
        top = np.take_along_axis(groups, np.abs(groups).argmax(axis=2)[:, :, None], axis=2)[:, :, 0]  # the first of equals
        wanted, least, most = top / np.float32(-8), -8, 7
    half = np.clip(wanted, -65504, 65504).astype("<f2")
    half[rows:] = 0
    half[:, -(-cols // GROUP):] = 0
    scale = half.astype("<f4")[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        numbers = np.where(scale != 0, np.rint(groups / scale), 0)
    numbers = np.clip(numbers, least, most).astype("i2")
    if dtype == "Q8_R16":  # [strip, row, block, quad, 4] -> [strip, block, quad, row, 4]
        stored = (numbers + 128).astype("u1").reshape(strips, ROWS, blocks, 16, 4).transpose(0, 2, 3, 1, 4)
    else:  # columns 0..15 of a group are the low halves, 16..31 the high ones
        two = (numbers + 8).astype("u1").reshape(strips, ROWS, blocks, 2, 2, 4, 4)
        stored = (two[:, :, :, :, 0] | two[:, :, :, :, 1] << 4).transpose(0, 2, 3, 4, 1, 5)
    out = np.empty((strips, blocks, BLOCK_BYTES[dtype]), "u1")
    out[:, :, :64] = np.ascontiguousarray(half.reshape(strips, ROWS, blocks, 2).transpose(0, 2, 3, 1)).view("u1").reshape(
        strips, blocks, 64)
    out[:, :, 64:] = stored.reshape(strips, blocks, -1)
    return out.reshape(-1)


def strips(blocks, cols, dtype):
    """Float32 arrays that together are the rows of a matrix, cut anywhere -> bytes of whole strips, a few at a time."""
    at_once = max(1, VALUES_AT_ONCE // (ROWS * cols)) * ROWS * cols
    waiting = np.zeros(0, "<f4")
    for block in blocks:
        waiting = np.concatenate([waiting, block]) if waiting.size else block
        first = 0
        while waiting.size - first >= at_once:
            yield pack(waiting[first:first + at_once].reshape(-1, cols), dtype)
            first += at_once
        waiting = waiting[first:]
    if waiting.size:
        yield pack(waiting.reshape(-1, cols), dtype)
