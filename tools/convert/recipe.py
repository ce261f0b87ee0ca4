"""
recipe.py - what a system's module builds: keys, and tensors taken from the checkpoint under new names.

    {full name: Tensor} --take(name, shape)--> add(new name, shape, ...)  ; what nobody took is an error

weight() follows --type; exact() is always F32: biases, norms, position tables, query tokens, class rows. A quantised --type is
that of the decoder's matrices, the token table and the head then are Q8_R16 and all other matrices have the type of --towers.
"""
import re

from errors import ConvertError
from gguf_writer import Output


DECODER = re.compile(r"blk\.\d+\.(attn|ffn)_\w+\.weight")
HALVES = re.compile(r"dino\.blk\.\d+\.fc1\.weight")  # two matrices, one below the other, that are used apart
TABLES = ("token_embd.weight", "output.weight")


class Recipe:
    def __init__(self, tensors, weight_type, decoder_type=None):
        self.tensors, self.weight_type, self.decoder_type = tensors, weight_type, decoder_type or weight_type
        self.keys, self.outputs, self.taken = [], [], set()

    def key(self, name, kind, content):
        self.keys.append((name, kind, content))

    def numbers(self, prefix, **content):
        for name, number in content.items():
            self.key(f"{prefix}.{name}", "u32", number)

    def told(self, name):
        """The content of a key that is there."""
        return next(content for key, _, content in self.keys if key == name)

    def type_of(self, new, rows):
        """The type of a matrix by its name in the file; halves that would share a strip are F16."""
        if new in TABLES and self.decoder_type == "Q4_R16":
            return "Q8_R16"
        if new in TABLES or DECODER.fullmatch(new):
            return self.decoder_type
        return "F16" if self.weight_type == "Q8_R16" and HALVES.fullmatch(new) and rows % 32 else self.weight_type

    def has(self, name):
        return name in self.tensors

    def has_any(self, prefix):
        return any(name.startswith(prefix) for name in self.tensors)

    def skip(self, prefix):
        """Tensors that are known and not needed."""
        self.taken.update(name for name in self.tensors if name.startswith(prefix))

    def find(self, name):
        if name not in self.tensors:
            raise ConvertError(f"missing tensor {name}: no file of the checkpoint holds it")
        self.taken.add(name)
        return self.tensors[name]

    def take(self, name, *shape):
        tensor = self.find(name).expect(*shape)
        if tensor.dtype not in ("F64", "F32", "F16", "BF16"):
            raise ConvertError(f"{tensor.label}: tensor {name} has the type {tensor.dtype}, expected floating point")
        return tensor

    def weight(self, new, name, *shape):
        """A matrix [out, in]; a convolution's inner axes become one."""
        rows, cols = shape[0], 1
        for size in shape[1:]:
            cols *= size
        self.outputs.append(Output(new, (rows, cols), self.type_of(new, rows), [self.take(name, *shape)]))

    def weight_parts(self, new, names, rows, cols):
        """Matrices of this shape, one below the other."""
        parts = [self.take(name, rows, cols) for name in names]
        self.outputs.append(Output(new, (len(parts) * rows, cols), self.type_of(new, len(parts) * rows), parts))

    def weight_rows(self, new, name, n, *shape):
        """The first n rows of a matrix of this shape."""
        tensor = self.take(name, *shape)
        rank(tensor, len(shape))
        self.outputs.append(Output(new, (n, *shape[1:]), self.type_of(new, n), [tensor.first_rows(n)]))

    def exact(self, new, name, *shape):
        self.outputs.append(Output(new, shape, "F32", [self.take(name, *shape)]))

    def exact_parts(self, new, n, *parts):
        """A vector put together from tensors and counts of zeros."""
        self.outputs.append(Output(new, (n,), "F32", list(parts)))

    def linear(self, new, name, rows, cols):
        self.weight(f"{new}.weight", f"{name}.weight", rows, cols)
        self.exact(f"{new}.bias", f"{name}.bias", rows)

    def norm(self, new, name, width):
        self.exact(f"{new}.weight", f"{name}.weight", width)
        self.exact(f"{new}.bias", f"{name}.bias", width)

    def blocks(self, prefix):
        """Number of blocks prefix0, prefix1, ... in the checkpoint; a gap shows as a missing tensor of that block."""
        pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
        found = [int(match.group(1)) for match in map(pattern.match, self.tensors) if match]
        return max(found) + 1 if found else 0

    def finish(self):
        left = sorted(set(self.tensors) - self.taken)
        if left:
            more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
            raise ConvertError(f"{self.tensors[left[0]].label}: tensor {left[0]} is not known{more}")
        names = [output.name for output in self.outputs]
        assert len(set(names)) == len(names)


def rank(tensor, n):
    """Shape of a tensor that must have n axes, to measure a model by it."""
    if len(tensor.shape) != n or 0 in tensor.shape:
        raise ConvertError(f"{tensor.label}: tensor {tensor.name} has {len(tensor.shape)} axes, expected {n}")
    return tensor.shape
