"""
pickle_reader.py - the tensors of a PyTorch checkpoint (.pth, pytorch_model*.bin), without running anything in it.

    zip:     NAME/data.pkl (the objects)  NAME/data/KEY (the storages, stored uncompressed)
    legacy:  pickle(magic) pickle(1001) pickle(system) pickle(objects) pickle([KEY...]) { u64 count | elements } per KEY

A pickle is a program for a stack machine that may call any function of Python. Here its opcodes are interpreted by our own
loop: the only values are plain Python data, Storage, Stored (a tensor) and Global; a Global is a pair of names, nothing is
imported, and the few that a state dictionary needs are listed in CALLS and NAMES. Everything else is refused by name.
Ref:   Python's Lib/pickletools.py (opcodes); torch/serialization.py (both containers), torch/_utils.py (_rebuild_tensor_v2).
Trap:  a storage may be shared by several tensors and be larger than each (views): offset and strides count.
       Zip members must not be compressed: tensors are read in place.
"""
import io
import os
import pickletools
import struct
import zipfile
import zlib

from errors import ConvertError
from tensor import ITEM_BYTES, Tensor

MAGIC = 0x1950A86A20F9469CFC6C  # first object of a legacy file
READ_LIMIT = 64 << 20           # bytes of one string
PICKLE_LIMIT = 512 << 20        # bytes of all objects; tensors are not among them

STORAGE_TYPES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16", "LongStorage": "I64",
    "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL",
}
DTYPES = {"float16", "bfloat16", "float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"}


class Global:
    """A name that the file wants to import; never imported."""

    __slots__ = ("name",)

    def __init__(self, module, name):
        self.name = f"{module}.{name}"


class Storage:
    __slots__ = ("key", "dtype", "count", "offset", "view")

    def __init__(self, key, dtype, count, view):
        self.key, self.dtype, self.count, self.view, self.offset = key, dtype, count, view, None


class Stored:
    """A tensor as the pickle describes it, before its storage has been found."""

    __slots__ = ("storage", "offset", "shape", "strides")

    def __init__(self, storage, offset, shape, strides):
        numbers = [offset, *shape, *strides]
        counted = len(shape) == len(strides) and all(type(n) is int and n >= 0 for n in numbers)
        if not isinstance(storage, Storage) or not counted:
            raise ValueError("a tensor is described wrongly")
        self.storage, self.offset, self.shape, self.strides = storage, offset, tuple(shape), tuple(strides)


def pairs(items):
    """Dictionary of keys and values in turn. A key may be no tuple: hashing a deeply nested one would exhaust the C stack."""
    keys, values = items[::2], items[1::2]
    if not all(key is None or type(key) in (str, bytes, int, float, bool) for key in keys):
        raise ValueError("a dictionary has a key that is neither text nor number")
    return dict(zip(keys, values, strict=True))


def make_dict(*items):
    return pairs([value for pair in items[0] for value in pair]) if items else {}


# what a state dictionary, its optimizer and its settings call
CALLS = {
    "collections.OrderedDict": make_dict,
    "torch._utils._rebuild_tensor": Stored,
    "torch._utils._rebuild_tensor_v2": lambda storage, offset, shape, strides, *rest: Stored(storage, offset, shape, strides),
    "torch._utils._rebuild_parameter": lambda data, *rest: data,
    "torch.Size": tuple,
    "torch.device": lambda *where: None,
}
NAMES = set(CALLS) | {f"torch.{name}" for name in DTYPES} | {f"torch.{name}" for name in STORAGE_TYPES}


class Limited:
    """The file as the interpreter sees it: what one read and all reads together may take is bounded."""

    def __init__(self, file, limit=PICKLE_LIMIT):
        self.file, self.left = file, limit

    def _bounded(self, data):
        self.left -= len(data)
        if self.left < 0:
            raise ValueError("more objects than any checkpoint has")
        return data

    def read(self, n_bytes):
        if n_bytes > READ_LIMIT:
            raise ValueError("a string longer than any checkpoint has")
        return self._bounded(self.file.read(n_bytes))

    def readline(self):
        return self._bounded(self.file.readline(READ_LIMIT))


class Machine:
    """The stack machine: load() runs one pickle and returns its object."""

    def __init__(self, file):
        self.file = Limited(file)
        self.storages = []

    def load(self):
        self.stack, self.marks, self.memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(self.file):
            if opcode.name == "STOP":
                return self.stack.pop()
            step = self.OPS.get(opcode.name)
            if step is None:
                raise ConvertError(f"refused: the pickle uses the opcode {opcode.name}")
            step(self, argument)
        raise ValueError("it has no end")

    def push(self, value):
        self.stack.append(value)

    def pop_marked(self):
        top, self.stack = self.stack, self.marks.pop()
        return top

    def mark(self, _):
        self.marks.append(self.stack)
        self.stack = []

    def memoize(self, _):
        self.memo[len(self.memo)] = self.stack[-1]

    def put(self, index):
        self.memo[index] = self.stack[-1]

    def get(self, index):
        self.push(self.memo[index])

    def find(self, module, name):
        found = Global(module, name)
        if found.name not in NAMES:
            raise ConvertError(f"refused: the pickle wants to use {found.name}; a checkpoint of weights never does")
        return found

    def stack_global(self, _):
        name, module = self.stack.pop(), self.stack.pop()
        self.push(self.find(module, name))

    def reduce(self, _):
        arguments, function = self.stack.pop(), self.stack.pop()
        call = CALLS.get(function.name) if isinstance(function, Global) else None
        if call is None:
            raise ConvertError(f"refused: the pickle calls {getattr(function, 'name', type(function).__name__)}")
        self.push(call(*arguments))

    def build(self, _):
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, (dict, Stored)):  # attributes of an OrderedDict (_metadata) and of a Parameter: not needed
            raise ConvertError(f"refused: the pickle sets attributes of a {type(target).__name__}")
        del state

    def persistent(self, _):
        kind, storage_type, key, _location, count, *view = self.stack.pop()
        dtype = STORAGE_TYPES.get(storage_type.name.split(".")[-1]) if isinstance(storage_type, Global) else None
        if kind != "storage" or dtype is None or type(key) is not str or type(count) is not int or count < 0:
            raise ValueError("a storage is described wrongly")
        self.storages.append(Storage(key, dtype, count, view[0] if view else None))
        self.push(self.storages[-1])

    def set_item(self, _):
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1].update(pairs([key, value]))

    def set_items(self, _):
        items = self.pop_marked()
        self.stack[-1].update(pairs(items))

    def append(self, _):
        value = self.stack.pop()
        self.stack[-1].append(value)

    def appends(self, _):
        items = self.pop_marked()
        self.stack[-1].extend(items)

    def make_tuple(self, count):
        items = tuple(self.stack[len(self.stack) - count:])
        if len(items) != count:
            raise IndexError
        del self.stack[len(self.stack) - count:]
        self.push(items)

    def from_mark(self, make):
        items = self.pop_marked()
        self.push(make(items))

    def global_line(self, argument):
        module, _, name = argument.partition(" ")
        self.push(self.find(module, name))

    LITERALS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
                "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
                "BINBYTES8")
    OPS = {
        **dict.fromkeys(LITERALS, push),
        "PROTO": lambda m, _: None, "FRAME": lambda m, _: None,
        "NONE": lambda m, _: m.push(None), "NEWTRUE": lambda m, _: m.push(True), "NEWFALSE": lambda m, _: m.push(False),
        "EMPTY_DICT": lambda m, _: m.push({}), "EMPTY_LIST": lambda m, _: m.push([]), "EMPTY_TUPLE": lambda m, _: m.push(()),
        "MARK": mark, "POP": lambda m, _: m.stack.pop(),
        "POP_MARK": lambda m, _: m.pop_marked(), "DUP": lambda m, _: m.push(m.stack[-1]),
        "MEMOIZE": memoize, "PUT": put, "BINPUT": put, "LONG_BINPUT": put,
        "GET": get, "BINGET": get, "LONG_BINGET": get,
        "TUPLE": lambda m, _: m.from_mark(tuple), "LIST": lambda m, _: m.from_mark(list),
        "DICT": lambda m, _: m.from_mark(pairs),
        "TUPLE1": lambda m, _: m.make_tuple(1), "TUPLE2": lambda m, _: m.make_tuple(2), "TUPLE3": lambda m, _: m.make_tuple(3),
        "SETITEM": set_item, "SETITEMS": set_items, "APPEND": append, "APPENDS": appends,
        "GLOBAL": global_line, "STACK_GLOBAL": stack_global, "REDUCE": reduce, "NEWOBJ": reduce, "BUILD": build,
        "BINPERSID": persistent,
    }


DAMAGE = (ValueError, TypeError, IndexError, KeyError, AttributeError, EOFError, OverflowError, RuntimeError, MemoryError,
          struct.error, zlib.error)


def read(path, label):
    """-> {name: Tensor} of the state dictionary in the file"""
    with open(path, "rb") as file:
        head = file.read(4)
        file.seek(0)
        try:
            content = read_zip(file) if head.startswith(b"PK") else read_legacy(file)
        except ConvertError as error:
            raise ConvertError(f"{label}: {error}") from None
        except zipfile.BadZipFile:
            raise ConvertError(f"{label}: not a whole zip archive (cut off?)") from None
        except OSError as error:
            raise ConvertError(f"{label}: cannot be read: {error.strerror}") from None
        except DAMAGE as error:
            cause = str(error).split("\n")[0] or type(error).__name__
            raise ConvertError(f"{label}: damaged pickle: {cause}") from None
        total = os.path.getsize(path)
    return {name: place(name, stored, path, label, total) for name, stored in state_dictionary(content, label).items()}


def state_dictionary(content, label):
    """The named tensors: of the file itself, or of its "model", "state_dict" or "model_state_dict"; optimizer, settings and
    scaler are left."""
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise ConvertError(f"{label}: holds no dictionary of tensors")
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Stored)}


def place(name, stored, path, label, total):
    storage = stored.storage
    n_bytes = ITEM_BYTES[storage.dtype]
    empty = 0 in stored.shape
    last = stored.offset + sum((size - 1) * stride for size, stride in zip(stored.shape, stored.strides))
    if not empty and (last >= storage.count or storage.offset + storage.count * n_bytes > total):
        raise ConvertError(f"{label}: tensor {name} does not fit its storage (cut off?)")
    offset = storage.offset + stored.offset * n_bytes
    return Tensor(name, path, label, storage.dtype, stored.shape, offset, stored.strides)


def read_zip(file):
    archive = zipfile.ZipFile(file)
    members = {}
    for member in archive.infolist():
        if member.filename in members:
            raise ConvertError(f"the member {member.filename} occurs twice")
        members[member.filename] = member
    pickles = [name for name in members if name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)]
    if len(pickles) != 1:
        raise ConvertError("a zip archive, but not of PyTorch: it has no data.pkl")
    folder = pickles[0][:-len("data.pkl")]
    if archive.getinfo(pickles[0]).file_size > PICKLE_LIMIT:
        raise ConvertError("its data.pkl is larger than any checkpoint has")
    order = folder + "byteorder"
    if order in members and archive.read(order).strip() != b"little":
        raise ConvertError("written on a big-endian machine, which is not supported")
    machine = Machine(io.BytesIO(archive.read(pickles[0])))
    content = machine.load()
    for storage in machine.storages:
        member = members.get(f"{folder}data/{storage.key}")
        if member is None:
            raise ConvertError(f"the storage data/{storage.key} is missing")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise ConvertError(f"the storage data/{storage.key} is compressed or encrypted")
        if member.file_size < storage.count * ITEM_BYTES[storage.dtype]:
            raise ConvertError(f"the storage data/{storage.key} is too short")
        storage.offset = data_offset(file, member)
    return content


def data_offset(file, member):
    """Where the bytes of a member begin: behind its local header, whose name and extra field have lengths of their own."""
    file.seek(member.header_offset)
    header = file.read(30)
    if len(header) != 30 or header[:4] != b"PK\3\4":
        raise ConvertError(f"the member {member.filename} has no header")
    name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
    return member.header_offset + 30 + name_bytes + extra_bytes


def read_legacy(file):
    machine = Machine(file)
    magic = None
    try:
        magic = machine.load()
    except (*DAMAGE, ConvertError):
        pass
    if magic != MAGIC:
        raise ConvertError("not a PyTorch checkpoint (neither a zip archive nor the older format)")
    version, system, content, keys = (machine.load() for _ in range(4))
    if version != 1001 or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ConvertError("an unknown version of the older format, or written on a big-endian machine")
    dtypes = {storage.key: storage.dtype for storage in machine.storages}
    counts = {}
    for key in keys:
        counted = file.read(8)
        count = struct.unpack("<q", counted)[0] if len(counted) == 8 else -1
        if count < 0:
            raise ConvertError(f"ends before the storage {key}")
        if key not in dtypes:
            raise ConvertError(f"the storage {key} belongs to no tensor")
        counts[key] = (count, file.tell())
        file.seek(count * ITEM_BYTES[dtypes[key]], os.SEEK_CUR)
    for storage in machine.storages:
        count, offset = counts[storage.key]
        if storage.view is not None:
            _, first, storage.count = storage.view
            offset += first * ITEM_BYTES[storage.dtype]
            count -= first
        if storage.count > count:
            raise ConvertError(f"the storage {storage.key} is too short")
        storage.offset = offset
    return content
