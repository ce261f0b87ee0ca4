"""
common.py - what every training stage shares: schedule, checkpoints, log lines.

  Stage(work, name, modules, peak, steps) -> for step in stage: loss -> stage.step(loss) -> work/NAME.pt every few minutes

A stage that was interrupted goes on at its last checkpoint. The schedule counts steps, never minutes: warm-up 100 steps, the
peak, then a cosine down to 3 % over the last `tail` steps; so a run can be made longer while it is at its peak.
"""
import math
import os
import signal
import sys
import time

import torch

torch.set_num_threads(1)
WARM_UP = 100


def save(path, content):
    torch.save(content, path + ".part")
    os.replace(path + ".part", path)


class Stage:

    def __init__(self, work, name, modules, peak, steps, tail=None, decay=0.02):
        self.path, self.name, self.modules = os.path.join(work, name + ".pt"), name, modules
        self.peak, self.steps, self.tail = peak, steps, tail or steps // 3
        self.parameters = [p for m in modules.values() for p in (m.parameters() if hasattr(m, "parameters") else [m])]
        matrices = [p for p in self.parameters if p.ndim > 1]
        self.optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": decay},
                                            {"params": [p for p in self.parameters if p.ndim < 2], "weight_decay": 0.0}],
                                           lr=peak,
                                           betas=(0.9, 0.98),
                                           fused=True)
        self.now, self.saved, self.sums, self.begun = 0, time.monotonic(), {}, time.monotonic()
        if os.path.exists(self.path):
            state = torch.load(self.path, weights_only=True)
            for key, module in modules.items():
                load(module, state["modules"][key])
            self.optimiser.load_state_dict(state["optimiser"])
            self.now = state["step"]
            print(f"{name}: goes on at step {self.now}", flush=True)

    def rate(self):
        if self.now < WARM_UP:
            return self.peak * (self.now + 1) / WARM_UP
        left = self.steps - self.now
        if left >= self.tail:
            return self.peak
        return self.peak * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (1 - left / self.tail))))

    def __iter__(self):
        stop = []
        signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
        while self.now < self.steps and not stop:
            yield self.now
        self.write()
        if stop:
            sys.exit(f"{self.name}: stopped at step {self.now}, saved")

    def step(self, loss, **figures):
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.now += 1
        for key, value in {"loss": loss, **figures}.items():
            total, n = self.sums.get(key, (0.0, 0))
            self.sums[key] = (total + float(torch.as_tensor(value).detach()), n + 1)
        if self.now % 100 == 0:
            shown = "  ".join(f"{key} {total / n:.4f}" for key, (total, n) in self.sums.items())
            print(f"{self.name} {self.now} ({time.monotonic() - self.begun:.0f} s, cpu {time.process_time():.0f} s)  {shown}",
                  flush=True)
            self.sums = {}
        if time.monotonic() - self.saved > 120:
            self.write()

    def write(self):
        modules = {
            key: module.state_dict() if hasattr(module, "state_dict") else module.data
            for key, module in self.modules.items()
        }
        save(self.path, {"modules": modules, "optimiser": self.optimiser.state_dict(), "step": self.now})
        self.saved = time.monotonic()


def load(module, state):
    if hasattr(module, "load_state_dict"):
        module.load_state_dict(state)
    else:
        module.data.copy_(state)


def finished(work, name):
    """{key: state} of a stage that was trained before"""
    return torch.load(os.path.join(work, name + ".pt"), weights_only=True)["modules"]
