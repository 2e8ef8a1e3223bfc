#!/usr/bin/env python3
"""What share of a GPU's float16 matrix rate a plain ViT sustains, by PyTorch: tools/peers/gpu/sustained.py [SECONDS]

Prints Markdown: the card's matrix rate (the best of three sizes), then for each model of docs/measured/gpu.md tiles/s at a
batch of 64 and the latency of a batch of 1. One CUDA graph a forward, so no launch gaps; scaled_dot_product_attention;
random weights, fresh random pixels from the normal distribution. Operations per tile: two per multiply-add in every matrix
product, as crates/bundle/src/cost.rs counts them. SECONDS bounds everything (75)."""
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

END = time.monotonic() + float(sys.argv[1] if len(sys.argv) > 1 else 75)


class Block(nn.Module):
    def __init__(self, width, heads, hidden, swiglu):
        super().__init__()
        self.heads, self.swiglu = heads, swiglu
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, hidden * (2 if swiglu else 1)), nn.Linear(hidden, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width))
        h = self.fc1(self.norm2(x))
        if self.swiglu:
            gate, value = h.chunk(2, -1)
            h = F.silu(gate) * value
        else:
            h = F.gelu(h)
        return x + self.fc2(h)


class Vit(nn.Module):
    def __init__(self, width, depth, heads, patch, hidden, swiglu=False, registers=0):
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.extra = nn.Parameter(torch.randn(1, 1 + registers, width) * 0.02)
        self.tokens = (224 // patch) ** 2 + 1 + registers
        self.blocks = nn.ModuleList(Block(width, heads, hidden, swiglu) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        per_token = 4 * width * width + (3 if swiglu else 2) * width * hidden
        self.flop = 2 * depth * self.tokens * (per_token + 2 * self.tokens * width) + 2 * 3 * 224 * 224 * width

    def forward(self, pixels):
        x = self.patch(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.extra.expand(x.shape[0], -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return torch.cat([x[:, 0], x[:, 1:].mean(1)], 1)


def median_seconds(run, seconds):
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end or len(times) < 5:
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) / 1e3)
    return sorted(times)[len(times) // 2]


def matrix_rate():
    best = 0
    for size in (4096, 8192, 12288):
        a, b = (torch.randn(size, size, device="cuda", dtype=torch.float16) for _ in range(2))
        best = max(best, 2 * size**3 / median_seconds(lambda: a @ b, 1.0))
    return best


def captured(model, batch):
    pixels = torch.randn(batch, 3, 224, 224, device="cuda", dtype=torch.float16)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side), torch.no_grad():
        for _ in range(2):
            model(pixels)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        model(pixels)
    return graph.replay


MODELS = [
    ("ViT-S/14", dict(width=384, depth=12, heads=6, patch=14, hidden=1536)),
    ("ViT-B/16", dict(width=768, depth=12, heads=12, patch=16, hidden=3072)),
    ("ViT-L/16", dict(width=1024, depth=24, heads=16, patch=16, hidden=4096)),
    ("ViT-H/14, SwiGLU", dict(width=1280, depth=32, heads=16, patch=14, hidden=3416, swiglu=True, registers=4)),
    ("ViT-g/14, SwiGLU", dict(width=1536, depth=40, heads=24, patch=14, hidden=4096, swiglu=True, registers=4)),
]


def main():
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    rate = matrix_rate()
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}: {rate / 1e12:.0f} TFLOP/s in float16 matrix products\n")
    print("| model | GFLOP per tile | tiles/s, batch 64 | share of the matrix rate | compiled: tiles/s | share | ms, batch 1 |")
    print("|---|---|---|---|---|---|---|")
    for name, shape in MODELS:
        if time.monotonic() > END:
            print(f"| {name} | not run: no time left |")
            continue
        model = Vit(**shape).half().cuda().eval()
        tiles = 64 / median_seconds(captured(model, 64), 1.0)
        one = 1e3 * median_seconds(captured(model, 1), 0.5)
        cells = [f"{tiles:.0f}", f"{100 * tiles * model.flop / rate:.0f} %"]
        if time.monotonic() < END - 20:
            try:
                fast = 64 / median_seconds(captured(torch.compile(model), 64), 1.0)
                cells += [f"{fast:.0f}", f"{100 * fast * model.flop / rate:.0f} %"]
            except Exception as error:  # the compiler is no part of what is asked
                cells += [type(error).__name__, "—"]
        else:
            cells += ["no time", "—"]
        print(f"| {name} | {model.flop / 1e9:.1f} | {' | '.join(cells)} | {one:.2f} |", flush=True)
        del model
        torch.cuda.empty_cache()


main()
