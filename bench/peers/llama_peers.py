"""llama_peers.py - llama.cpp inside a Python module (cyllama) on a stock GGUF file, for peers.py.

What llama-bench does: rows of a prompt in one call, or tokens one by one behind `depth` rows; keys and values in f16.
"""
import importlib

ROWS = 512  # of a call


class Text:
    def __init__(self, module, path, n_rows, n_threads):
        llama = importlib.import_module(module + ".llama.llama_cpp")
        llama.disable_logging()
        llama.llama_backend_init()
        params = llama.LlamaContextParams()
        params.n_ctx, params.n_batch, params.n_ubatch = n_rows + ROWS, ROWS, ROWS
        params.n_threads = params.n_threads_batch = n_threads
        self.batch = llama.llama_batch_get_one
        self.model = llama.LlamaModel(path, llama.LlamaModelParams(), verbose=False)
        self.context = llama.LlamaContext(self.model, params, verbose=False)

    def read(self, first, n):
        """Rows first.. of the one sequence; those that were there are forgotten."""
        self.context.memory_seq_rm(0, first, -1)
        for at in range(first, first + n, ROWS):
            self.context.decode(self.batch([7] * min(ROWS, first + n - at), at))
        self.context.synchronize()
        return n


def make_case(module, path, n_threads, n_prompt, n_answer, depth):
    text = Text(module, path, depth + n_prompt + n_answer, n_threads)
    if depth:
        text.read(0, depth)

    def step():
        if n_prompt:
            return text.read(depth, n_prompt)
        return sum(text.read(depth + i, 1) for i in range(n_answer))
    return step
