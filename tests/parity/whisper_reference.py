"""
whisper_reference.py - Whisper in float64 and numpy, from its formulas: what vidrun --transcribe has to come to.

  samples at 16 kHz -> log_mel [bins, frames] -> encode [P, D] -> decode(ids) [T, V] -> rules -> transcribe: segments

Weights are those of Hugging Face's layout. Greedy only: windows whose first temperature fails are told by the caller.
Ref:   arXiv:2212.04356; openai/whisper audio.py, model.py, decoding.py, transcribe.py; librosa's mel scale (Slaney).
Trap:  the loudest value is that of the whole file and the 30 s of silence behind it; the last window has zeros behind the
       sound.
"""

import zlib

import numpy as np
from layer_reference import Weights, attention, gelu

RATE, N_FFT, HOP = 16000, 400, 160


def mel_filters(bins):
    """[bins, 201]"""
    mel = lambda hz: np.where(hz < 1000, hz * 3 / 200, 15 + np.log(np.maximum(hz, 1) / 1000) * 27 / np.log(6.4))
    hz = lambda m: np.where(m < 15, m * 200 / 3, 1000 * np.exp((m - 15) * np.log(6.4) / 27))
    edges = hz(np.linspace(0, mel(np.array(RATE / 2.0)), bins + 2))
    ramps = edges[:, None] - np.arange(N_FFT // 2 + 1) * RATE / N_FFT
    widths = np.diff(edges)[:, None]
    weights = np.maximum(0, np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]))
    return weights * (2 / (edges[2:] - edges[:-2]))[:, None]


def log_mel(samples, bins, window):
    """[bins, frames + window]: the sound and a window of silence."""
    x = np.concatenate([np.asarray(samples, np.float64), np.zeros(window * HOP)])
    x = np.concatenate([x[N_FFT // 2 : 0 : -1], x, np.zeros(N_FFT // 2)])
    n = (len(x) - N_FFT) // HOP
    frames = np.lib.stride_tricks.sliding_window_view(x, N_FFT)[::HOP][:n]
    power = np.abs(np.fft.rfft(frames * np.hanning(N_FFT + 1)[:-1], axis=1)) ** 2
    values = np.log10(np.maximum(mel_filters(bins) @ power.T, 1e-10))
    return (np.maximum(values, values.max() - 8) + 4) / 4


def sides(x, stride):
    """[n, D] -> three rows side by side around every stride-th row."""
    padded = np.concatenate([np.zeros_like(x[:1]), x, np.zeros_like(x[:1])])
    return np.stack([padded[i : i + len(x)][::stride] for i in range(3)], axis=2)  # [rows, D, 3]


class Whisper:
    def __init__(self, state, heads):
        self.w, self.heads = Weights(state, "model."), heads
        self.bins = state["model.encoder.conv1.weight"].shape[1]
        self.positions = len(state["model.encoder.embed_positions.weight"])
        self.context = len(state["model.decoder.embed_positions.weight"])
        self.window = 2 * self.positions
        self.stages = {}

    def _attend(self, w, name, x, sound, mask=0.0):
        q, v = w.linear(x, f"{name}.q_proj"), w.linear(sound, f"{name}.v_proj")
        k = sound @ w[f"{name}.k_proj.weight"].T
        return w.linear(attention(q[None], k[None], v[None], self.heads, mask)[0], f"{name}.out_proj")

    def _ffn(self, w, x):
        return x + w.linear(gelu(w.linear(w.norm(x, "final_layer_norm", 1e-5), "fc1")), "fc2")

    def encode(self, mel):
        """mel [bins, window] -> [P, D]"""
        w, x = self.w.at("encoder."), mel.T
        for i, stride in ((1, 1), (2, 2)):
            x = gelu(np.einsum("tck,ock->to", sides(x, stride), w[f"conv{i}.weight"]) + w[f"conv{i}.bias"])
        x = x + w["embed_positions.weight"]
        for i in range(w.count("layers.%d.fc1.weight")):
            layer = w.at(f"layers.{i}.")
            normed = layer.norm(x, "self_attn_layer_norm", 1e-5)
            x = self._ffn(layer, x + self._attend(layer, "self_attn", normed, normed))
            self.stages[f"speech.encoder.block.{i:02d}"] = x
        x = w.norm(x, "layer_norm", 1e-5)
        self.stages["speech.encoder"] = x
        return x

    def decode(self, ids, sound):
        """ids [T] -> logits [T, V]"""
        w, n = self.w.at("decoder."), len(ids)
        table = w["embed_tokens.weight"]
        x = table[ids] + w["embed_positions.weight"][:n]
        mask = np.triu(np.full((n, n), -np.inf), 1)
        for i in range(w.count("layers.%d.fc1.weight")):
            layer = w.at(f"layers.{i}.")
            normed = layer.norm(x, "self_attn_layer_norm", 1e-5)
            x = x + self._attend(layer, "self_attn", normed, normed, mask)
            x = x + self._attend(layer, "encoder_attn", layer.norm(x, "encoder_attn_layer_norm", 1e-5), sound)
            x = self._ffn(layer, x)
            self.stages[f"speech.decoder.layer.{i:02d}"] = x
        return w.norm(x, "layer_norm", 1e-5) @ table.T


def log_softmax(x):
    top = x.max()
    return x - top - np.log(np.exp(x - top).sum())


def apply_rules(t, logits, said):
    """t: ids by name; said: ids of the window so far. -> logits with -inf"""
    x = np.array(logits)
    if not said:
        x[t["never_first"]] = -np.inf
    x[t["never"]] = -np.inf
    x[t["no_times"]] = -np.inf
    is_time = [i >= t["times"] for i in said]
    if is_time[-1:] == [True]:
        if len(said) < 2 or is_time[-2]:
            x[t["times"] :] = -np.inf
        else:
            x[: t["end"]] = -np.inf
    times = [i for i in said if i >= t["times"]]
    if times:
        again = is_time[-1] and len(said) >= 2 and not is_time[-2]
        x[t["times"] : times[-1] + (0 if again else 1)] = -np.inf
    if not said:
        x[: t["times"]] = -np.inf
        x[t["times"] + 51 :] = -np.inf
    p = log_softmax(x)
    if np.exp(p[t["times"] :]).sum() > np.exp(p[: t["times"]].max()):
        x[: t["times"]] = -np.inf
    return x


class Transcriber:
    """Greedy; text(ids) gives the words of ids as bytes."""

    def __init__(self, model, tokens, text):
        self.m, self.t, self.text = model, tokens, text
        self.failed = 0  # windows whose greedy words are not likely enough or repeat themselves
        self.margin = np.inf  # the smallest distance between the likeliest token and the next

    def say(self, prompt, start, sound):
        """-> (ids, mean log probability, no_speech, compression)"""
        said, total, ids = [], 0.0, list(prompt)
        for step in range(self.m.context // 2):
            logits = self.m.decode(ids, sound)
            if step == 0:
                silent = float(np.exp(log_softmax(logits[start])[self.t["no_speech"]]))
            x = apply_rules(self.t, logits[-1], said)
            order = np.sort(x)
            self.margin = min(self.margin, order[-1] - order[-2])
            best = int(x.argmax())
            total += log_softmax(x)[best]
            if best == self.t["end"]:
                break
            said.append(best)
            ids.append(best)
            if len(ids) > self.m.context:
                break
        words = self.text([i for i in said if i < self.t["end"]]).decode("utf-8", "replace").strip().encode()
        return said, total / (len(said) + 1), silent, len(words) / len(zlib.compress(words))

    def run(self, samples, language=None):
        """-> segments (start, end, ids)"""
        m, t = self.m, self.t
        mel = log_mel(samples, m.bins, m.window)
        total = mel.shape[1] - m.window
        if language is None:
            logits = m.decode([t["start"]], m.encode(mel[:, : m.window]))[0]
            language = int(logits[t["language"] : t["language"] + t["n_languages"]].argmax())
        self.language, self.first = language, None
        seek, said, segments = 0, [], []
        while seek < total:
            size = min(m.window, total - seek)
            part = np.zeros((m.bins, m.window))
            part[:, :size] = mel[:, seek : seek + size]
            sound = m.encode(part)
            before = said[-(m.context // 2 - 1) :]
            prompt = ([t["previous"]] + before if before else []) + [t["start"], t["language"] + language, t["transcribe"]]
            ids, likely, silent, packed = self.say(prompt, len(prompt) - 3, sound)
            if self.first is None:
                self.first = (part, prompt, ids)
            if silent > 0.6 and likely < -1:
                seek += size
                continue
            self.failed += likely < -1 or packed > 2.4
            found, advance = self.cut(ids, seek / 100, size)
            for start, end, piece in found:
                words = self.text([i for i in piece if i < t["end"]]).decode("utf-8", "replace")
                if start != end and words.strip():
                    segments.append((start, end, piece))
                    said += piece
            seek += advance
        return segments

    def cut(self, ids, offset, size):
        """-> ([(start, end, ids)], frames to go on)"""
        t = self.t
        time = [i >= t["times"] for i in ids]
        single = time[-2:] == [False, True]
        places = [i for i in range(1, len(ids)) if time[i - 1] and time[i]]
        if places:
            places += [len(ids)] if single else []
            found = [(offset + 0.02 * (ids[a] - t["times"]), offset + 0.02 * (ids[b - 1] - t["times"]), ids[a:b])
                     for a, b in zip([0] + places, places)]
            return found, size if single else 2 * (ids[places[-1] - 1] - t["times"])
        times = [i for i in ids if i >= t["times"]]
        duration = 0.02 * (times[-1] - t["times"]) if times and times[-1] != t["times"] else size / 100
        return [(offset, offset + duration, ids)], size
