#!/usr/bin/env python3
"""peers.py THREADS - the same work with PyTorch and numpy, as papers write it; timed on request of vidrun-bench.

    hello                        -> "TORCH NUMPY" (versions, - where missing)
    case WHAT TYPE PATH N1 N2 .. -> "ok" once PATH is read (-: random numbers of its own), or "no REASON"
    run torch|numpy|llama        -> "SECONDS RESULT", or "no REASON"

Compression is not fused: every line is one pass over memory, which is the very thing that is measured. Written from the
description of LongVU (arXiv:2410.17434): cosine with the first frame of a window, mean cosine of the frames of a window.
Memories of frames: memory_peers.py; products and towers: model_peers.py; llama.cpp as a module (TYPE): llama_peers.py.
"""
import sys
import time

try:
    import numpy
except ImportError:
    numpy = None
try:
    import torch
except ImportError:
    torch = None
if numpy:
    import memory_peers
if torch:
    import model_peers

THRESHOLD = 0.7


def prune_torch(x, window):
    kept = []
    for first in range(0, len(x), window):
        anchor = x[first]
        kept.append(anchor)
        for frame in x[first + 1:first + window]:
            similarity = torch.nn.functional.cosine_similarity(anchor, frame, dim=-1, eps=1e-8)
            kept.append(frame[similarity < THRESHOLD])
    return len(torch.cat(kept))


def prune_numpy(x, window):
    kept = []
    for first in range(0, len(x), window):
        anchor = widen(x[first])
        unit = anchor / numpy.maximum(numpy.linalg.norm(anchor, axis=-1, keepdims=True), 1e-8)
        kept.append(x[first])
        for stored in x[first + 1:first + window]:
            frame = widen(stored)
            other = frame / numpy.maximum(numpy.linalg.norm(frame, axis=-1, keepdims=True), 1e-8)
            kept.append(stored[(unit * other).sum(axis=-1) < THRESHOLD])
    return len(numpy.concatenate(kept))


def select_torch(x, window):
    count = 0
    for first in range(0, len(x), window):
        v = x[first:first + window]
        v = v / v.norm(dim=-1, keepdim=True)
        count += int(((v @ v.T).mean(dim=-1) < THRESHOLD).sum())
    return count


def select_numpy(x, window):
    count = 0
    for first in range(0, len(x), window):
        v = widen(x[first:first + window])
        v = v / numpy.linalg.norm(v, axis=-1, keepdims=True)
        count += int(((v @ v.T).mean(axis=-1) < THRESHOLD).sum())
    return count


def widen(x):
    """f32 of what is stored; numpy has no bf16."""
    if x.dtype == numpy.uint16:
        return (x.astype(numpy.uint32) << 16).view(numpy.float32)
    return x.astype(numpy.float32, copy=False)


def read(path, kind, shape):
    return numpy.fromfile(path, {"f32": numpy.float32, "f16": numpy.float16, "bf16": numpy.uint16}[kind]).reshape(shape)


def to_torch(x, kind):
    if kind == "bf16":
        return torch.from_numpy(x.view(numpy.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def make_case(what, kind, path, *numbers):
    numbers = [int(n) for n in numbers]
    if what == "llama":
        import llama_peers
        return {"llama": llama_peers.make_case(kind, path, int(sys.argv[1]), *numbers)}
    if path == "-":
        return {"torch": model_peers.make_case(what, kind, *numbers)}
    if what == "prune":
        frames, rows, width, window = numbers
        x = read(path, kind, (frames, rows, width))
        # PyTorch on a CPU has no half precision arithmetic: f16 is widened once, outside the timing
        t = torch and (to_torch(x, kind).float() if kind == "f16" else to_torch(x, kind))
        return {"torch": lambda: prune_torch(t, window), "numpy": lambda: prune_numpy(x, window)}
    if what == "select":
        frames, width, window = numbers
        x = read(path, kind, (frames, width))
        t = torch and to_torch(x, kind)
        return {"torch": lambda: select_torch(t, window), "numpy": lambda: select_numpy(x, window)}
    if what in memory_peers.CASES:
        return memory_peers.make_case(what, read(path, kind, numbers[:2]), *numbers[2:])
    rows, width, k = numbers
    x = read(path, kind, (rows, width))
    t = torch and to_torch(x, kind)
    if what == "top-k":
        return {"torch": lambda: torch.topk(t, k, dim=1, sorted=False).indices.sort(dim=1).values.numel(),
                "numpy": lambda: numpy.sort(numpy.argpartition(-x, k - 1, axis=1)[:, :k], axis=1).size}
    if what == "gather":
        ids = numpy.arange(k, dtype=numpy.int64) * rows // k
        tensor_ids = torch and torch.from_numpy(ids)
        return {"torch": lambda: len(torch.index_select(t, 0, tensor_ids)), "numpy": lambda: len(numpy.take(x, ids, axis=0))}
    raise ValueError(what + " is no case")


def timed(step):
    start = time.perf_counter()
    result = step()
    return time.perf_counter() - start, result


def main():
    if torch:
        torch.set_num_threads(int(sys.argv[1]))
        torch.set_grad_enabled(False)
    steps = {}
    for line in sys.stdin:
        word, *rest = line.split()
        try:
            if word == "hello":
                answer = f"{torch.__version__ if torch else '-'} {numpy.__version__ if numpy else '-'}"
            elif word == "case":
                steps = {}
                steps = make_case(*rest)
                answer = "ok"
            else:
                if rest[0] == "torch" and not torch:
                    raise ValueError("torch is not installed")
                answer = "%.9f %d" % timed(steps[rest[0]])
        except Exception as reason:  # whatever goes wrong here must reach the bench as one line
            answer = "no " + repr(reason).replace("\n", " ")
        print(answer, flush=True)


if __name__ == "__main__":
    main()
