#!/usr/bin/env python3
"""device_peers.py THREADS - operations of a GPU in PyTorch, as a model's code writes them; timed on request of vidrun-bench.

    hello                      -> "VERSION none": PyTorch's and how it runs, - without a GPU
    case WHAT TYPE - N1 N2 ..  -> "ok", or "no REASON"; random numbers
    run torch                  -> "SECONDS 0": of one call, the mean of several between two waits

Products are cuBLAS's and cuBLASLt's, attention is what scaled_dot_product_attention takes for it. The first calls, in which plans
are made and code is compiled, do not count. Protocol: peers.py.
"""
import sys
import time

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None

LEAST = 0.005  # seconds between two waits
WINDOW = 8  # of prune


def linear(kind, rows, columns, outputs, _):
    x, w = (torch.randn(n, columns, device="cuda", dtype=kind) for n in (rows, outputs))
    return lambda: functional.linear(x, w)


def attention(kind, queries, keys, heads, width):
    q, k, v = (torch.randn(1, heads, n, width, device="cuda", dtype=kind) for n in (queries, keys, keys))
    causal = width == 128 and queries > 1
    return lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=causal)


def rms_norm(kind, rows, width, *_):
    x, w = torch.randn(rows, width, device="cuda", dtype=kind), torch.ones(width, device="cuda", dtype=kind)
    return lambda: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w


def layer_norm(kind, rows, width, *_):
    x, w = torch.randn(rows, width, device="cuda", dtype=kind), torch.ones(width, device="cuda", dtype=kind)
    return lambda: functional.layer_norm(x, (width,), w, w, 1e-6)


def prune(kind, frames, width, places, _):
    """The half least similar rows of every frame but the first of a window: LongVU's steps, without its loop over frames."""
    x = torch.randn(frames // WINDOW, WINDOW, places, width, device="cuda", dtype=kind)

    def step():
        similarity = functional.cosine_similarity(x[:, :1], x[:, 1:], dim=-1, eps=1e-8)
        return similarity.topk(places // 2, largest=False).indices.sort().values

    return step


def gram(kind, rows, width, *_):
    x = torch.randn(rows, width, device="cuda", dtype=kind)
    return lambda: x @ x.T


def top_k(kind, _, width, k, __):
    x = torch.randn(width, device="cuda", dtype=kind)
    return lambda: torch.topk(x, k)


CASES = {"linear": linear, "attention": attention, "rms_norm": rms_norm, "layer_norm": layer_norm, "prune": prune, "gram": gram,
         "top-k": top_k}


def timed(step):
    calls = 1
    while True:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            step()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        if seconds >= LEAST or calls >= 4096:
            return seconds / calls
        calls *= 2


def answer_to(words, steps, compiled):
    if words[0] == "hello":
        ready = torch and torch.cuda.is_available()
        return f"{torch.__version__}-{'compiled' if compiled else 'eager'} none" if ready else "- none"
    if words[0] == "case":
        what, kind, numbers = words[1], words[2], [int(word) for word in words[4:]]
        step = CASES[what]({"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[kind], *numbers)
        steps[:] = [torch.compile(step) if compiled else step]
        for _ in range(3):
            steps[0]()
        return "ok"
    return "%.9f 0" % timed(steps[0])


def main(compiled=False):
    steps = []
    if torch:
        torch.set_grad_enabled(False)
    for line in sys.stdin:
        try:
            answer = answer_to(line.split(), steps, compiled)
        except Exception as reason:  # whatever goes wrong here must reach the bench as one line
            answer = "no " + repr(reason).replace("\n", " ")
        print(answer[:200], flush=True)


if __name__ == "__main__":
    main()
