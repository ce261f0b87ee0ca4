"""model_peers.py - a linear layer and a whole vision tower in PyTorch, as a model's code writes them, for peers.py.

Random weights of the right sizes; nothing is compiled or packed beforehand. The tower is that of EVA-CLIP-g (sizes come from
the bench): patches, class row, positions, pre-norm blocks with one product for q, k and v, GELU.
"""
import torch
from torch.nn import functional

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "q8": torch.bfloat16}  # of the bench's


def small(*shape, kind):
    """Numbers of about the size that keeps activations in range."""
    return (torch.rand(*shape) * 2 - 1).mul_(shape[-1] ** -0.5).to(kind)


class Block:
    def __init__(self, width, hidden, kind):
        self.norm1 = self.norm2 = (torch.ones(width, dtype=kind), torch.zeros(width, dtype=kind))
        self.qkv, self.out = small(3 * width, width, kind=kind), small(width, width, kind=kind)
        self.fc1, self.fc2 = small(hidden, width, kind=kind), small(width, hidden, kind=kind)
        self.biases = {n: torch.zeros(n, dtype=kind) for n in (width, 3 * width, hidden)}

    def copy(self):
        """The same numbers in other memory: a tower's weights do not fit a cache."""
        other = object.__new__(Block)
        other.__dict__.update(self.__dict__)
        for name in ("qkv", "out", "fc1", "fc2"):
            setattr(other, name, getattr(self, name).clone())
        return other

    def linear(self, x, weight):
        return functional.linear(x, weight, self.biases[len(weight)])

    def forward(self, x, heads):
        n, tokens, width = x.shape
        y = functional.layer_norm(x, (width,), *self.norm1, 1e-6)
        q, k, v = self.linear(y, self.qkv).view(n, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.linear(y.transpose(1, 2).reshape(n, tokens, width), self.out)
        y = functional.layer_norm(x, (width,), *self.norm2, 1e-6)
        return x + self.linear(functional.gelu(self.linear(y, self.fc1)), self.fc2)


class Tower:
    def __init__(self, side, patch, width, heads, hidden, n_blocks, kind):
        first = Block(width, hidden, kind)
        self.blocks = [first] + [first.copy() for _ in range(n_blocks - 1)]
        self.heads, self.patch = heads, patch
        self.stem = small(width, 3, patch, patch, kind=kind)
        self.class_row = small(1, 1, width, kind=kind)
        self.position = small(1, (side // patch) ** 2 + 1, width, kind=kind)
        self.norm = first.norm1

    def forward(self, pixels):
        x = functional.conv2d(pixels, self.stem, stride=self.patch).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_row.expand(len(x), -1, -1), x], dim=1) + self.position
        for block in self.blocks:
            x = block.forward(x, self.heads)
        return functional.layer_norm(x, x.shape[-1:], *self.norm, 1e-5)


towers = {}  # by its sizes: one tower serves several numbers of frames


def make_case(what, kind, *numbers):
    kind = TYPES[kind if kind in TYPES else "f32"]
    if what == "linear":
        rows, columns, outputs, gelu = numbers
        x, weight = small(rows, columns, kind=kind) * columns ** 0.5, small(outputs, columns, kind=kind)
        bias = torch.zeros(outputs, dtype=kind)
        if gelu:
            return lambda: functional.gelu(functional.linear(x, weight, bias)).numel()
        return lambda: functional.linear(x, weight, bias).numel()
    if what == "vit":
        n, side, *sizes = numbers
        key = (side, *sizes, kind)
        if key not in towers:
            towers.clear()
            towers[key] = Tower(*key)
        pixels = small(n, 3, side, side, kind=kind)
        return lambda: towers[key].forward(pixels).numel()
    raise ValueError(what + " is no case")
