"""
checkpoint.py - a folder as users have it: finds the weight files and opens them, finds the small files beside them.

    CHECKPOINT_DIR/**/ *.pth  pytorch_model*.bin  *.safetensors  -> Source (name -> Tensor, not yet read)
                       model.bin of CTranslate2                  -> likewise; *.pt only where there is nothing else
                       *.index.json                              -> which shards must be there and what each holds
                       config.json, tokenizer files ...          -> json(), bytes() of a folder

Order of files and names of folders mean nothing here; who is what is decided from the tensors' names by a system's module.
Trap:  Hugging Face folders often hold the same weights as .safetensors and as .bin: the first kind is taken, as transformers
       does. Their caches are trees of links: a file reached twice is opened once. Folders whose name begins with a dot are not
       entered. A clone without git-lfs holds small text files in place of the weights. Training leaves small .pt files beside
       weights (schedulers): they are looked at only where no other kind of file is.
"""
import fnmatch
import json
import os

import ctranslate2_reader
import pickle_reader
import safetensors_reader
from errors import ConvertError

PATTERNS = ("*.pth", "pytorch_model*.bin", "*.safetensors")
CTRANSLATE2 = "model.bin"
JSON_LIMIT = 64 << 20


class Source:
    """One weight file: label is its path below the checkpoint folder."""

    def __init__(self, path, label):
        self.path, self.label, self.folder = path, label, os.path.dirname(path)
        with open(path, "rb") as file:
            if file.read(24).startswith(b"version https://git-lfs"):
                raise ConvertError(f"{label}: a git-lfs pointer, not the weights themselves (run git lfs pull)")
        reader = safetensors_reader if path.endswith(".safetensors") else pickle_reader
        if os.path.basename(path) == CTRANSLATE2:
            reader = ctranslate2_reader
        self.tensors = reader.read(path, label)


class Checkpoint:
    def __init__(self, root):
        self.root = root
        if not os.path.isdir(root):
            raise ConvertError(f"{root}: not a folder")
        self.folders = self._walk()
        paths = self._matching(PATTERNS) or self._matching(("*.pt",))
        paths += [path for path in self._matching((CTRANSLATE2,)) if ctranslate2_reader.is_ctranslate2(path)]
        self.sources = [Source(path, self.label(path)) for path in self._preferred(sorted(paths))]
        for folder, names in self.folders.items():
            for name in names:
                if name.endswith(".index.json"):
                    self._check_index(folder, name)

    def _walk(self):
        """{folder: names of its files}, sorted; every real folder and file once."""
        folders, seen = {}, set()
        for folder, children, names in os.walk(self.root, followlinks=True, onerror=raise_error):
            real = os.path.realpath(folder)
            children[:] = sorted(child for child in children if not child.startswith("."))
            if real in seen:
                children[:] = []
                continue
            seen.add(real)
            folders[folder] = []
            for name in sorted(names):
                real = os.path.realpath(os.path.join(folder, name))
                if real not in seen and os.path.isfile(real):
                    seen.add(real)
                    folders[folder].append(name)
        return folders

    def _matching(self, patterns):
        return [os.path.join(folder, name) for folder, names in self.folders.items() for name in names
                if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]

    def _preferred(self, paths):
        """Without the pytorch_model*.bin files of folders that hold the same model as model*.safetensors."""
        self.safe = {os.path.dirname(path) for path in paths
                     if path.endswith(".safetensors") and os.path.basename(path).startswith("model")}
        return [path for path in paths if not (path.endswith(".bin") and os.path.dirname(path) in self.safe)]

    def _check_index(self, folder, name):
        if not name.startswith("model.safetensors") and not (name.startswith("pytorch_model") and folder not in self.safe):
            return
        label = self.label(os.path.join(folder, name))
        opened = {os.path.basename(source.path): source for source in self.sources if source.folder == folder}
        shards = self.json(folder, name).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
            raise ConvertError(f"{label}: has no weight_map")
        for tensor, shard in shards.items():
            if shard not in opened:
                raise ConvertError(f"{label}: the shard {shard} is missing")
            if tensor not in opened[shard].tensors:
                raise ConvertError(f"{opened[shard].label}: tensor {tensor} is missing, although {name} lists it there")

    def label(self, path):
        return os.path.relpath(path, self.root)

    def has(self, folder, name):
        return name in self.folders.get(folder, ())

    def bytes(self, folder, name):
        path = os.path.join(folder, name)
        if os.path.getsize(path) > JSON_LIMIT:
            raise ConvertError(f"{self.label(path)}: larger than any such file")
        with open(path, "rb") as file:
            return file.read()

    def json(self, folder, name):
        """The object in a JSON file; an empty one where the file is missing."""
        if not self.has(folder, name):
            return {}
        label = self.label(os.path.join(folder, name))
        try:
            value = json.loads(self.bytes(folder, name).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ConvertError(f"{label}: not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise ConvertError(f"{label}: not a JSON object")
        return value

    def configuration(self, folder):
        """-> (config.json, its label)"""
        label = f"{self.label(folder)}/config.json"
        if not self.has(folder, "config.json"):
            raise ConvertError(f"{label}: missing")
        return self.json(folder, "config.json"), label

    def files(self):
        return [os.path.join(folder, name) for folder, names in self.folders.items() for name in names]

    def title(self, used, folders):
        """Names of the files that were used, the last first; one of these folders stands for its shards."""
        names = []
        for source in reversed(used):
            name = source.folder if source.folder in folders else source.path
            name = os.path.basename(os.path.realpath(self.root) if name == self.root else name)
            names += [name] if name not in names else []
        return ", ".join(names)

    def geometry(self, known):
        """What no tensor says: vidrun.json beside a checkpoint of other sizes than the released ones; a missing file or key:
        as released."""
        config = self.json(self.root, "vidrun.json")
        unknown = sorted(set(config) - set(known))
        if unknown:
            raise ConvertError(f"vidrun.json: {unknown[0]} is not known")
        return config


def alone(sources, what):
    if len(sources) > 1:
        raise ConvertError(f"{sources[0].label} and {sources[1].label} both hold {what}; keep one of them")


def one_folder(sources, what):
    """Shards of a model lie in one folder."""
    first = {}
    for source in sources:
        first.setdefault(source.folder, source)
    alone(list(first.values()), what)


def join(entries, left_out, once):
    """{prefix + name: Tensor} of all (source, prefix), without the names that left_out(name) holds of; once: a name in two files
    is an error, else the later file's counts."""
    tensors = {}
    for source, prefix in entries:
        for short, tensor in source.tensors.items():
            name = prefix + short
            if left_out(name):
                continue
            if once and name in tensors:
                raise ConvertError(f"{tensors[name].label} and {source.label} both hold tensor {short}; keep one of them")
            tensors[name] = tensor
    return tensors


def raise_error(error):
    raise error


def integer(config, key, label, default=None, low=1, high=1 << 24):
    """A whole number of a JSON object."""
    value = config.get(key, default)
    if type(value) is not int or not low <= value <= high:
        cause = "is missing" if value is None else f"is {value!r}, expected a number from {low} to {high}"
        raise ConvertError(f"{label}: {key} {cause}")
    return value


def number(config, key, label, default=None):
    value = config.get(key, default)
    if type(value) not in (int, float) or not 0 < value < 1e12:
        raise ConvertError(f"{label}: {key} is {'missing' if value is None else repr(value) + ', expected a positive number'}")
    return float(value)
