#!/usr/bin/env python3
"""bench_gpu.py: emitted trainers on a GPU beside PyTorch, in one run; seconds a step, peak memory, ratios, medians.

    python3 bench_gpu.py [STEPS]       in a bundle that `make dist-cuda` made, after `make`

A trainer is trainers/MODEL-BATCH-HOW; its peer is torchvision's model of that name, or a GPT-2 of the same size, in float32 with TF32 off
and in bfloat16 autocast, channels last. Without PyTorch the peer's rows are missing. Data are random and stay on the machine.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
WARM_UP = 5


def random_inputs(folder, model, batch):
    import numpy
    generator = numpy.random.default_rng(1)
    if model == "gpt2":
        tokens = generator.integers(0, 50257, (batch, 1024))
        return {"tokens": tokens, "labels": generator.integers(0, 50257, (batch, 1024))}
    return {"image": generator.standard_normal((batch, 3, 224, 224), dtype=numpy.float32),
            "labels": generator.integers(0, 1000, (batch,))}


def ours(path, model, batch):
    import numpy
    with tempfile.TemporaryDirectory() as folder:
        arguments = []
        for name, array in random_inputs(folder, model, batch).items():
            numpy.save(os.path.join(folder, name + ".npy"), array)
            arguments += ["--data", f"{name}={folder}/{name}.npy"]
        log = os.path.join(folder, "log.jsonl")
        subprocess.run([path, *arguments, "--eval", "none", "--steps", str(STEPS), "--log", log, "--quiet"], check=True)
        memory = json.loads(subprocess.run([path, "--memory"], check=True, capture_output=True, text=True).stdout)
        steps = [json.loads(line) for line in open(log)]
    seconds = [batch / step["samples_per_s"] for step in steps if "lr" in step][WARM_UP:]
    return statistics.median(seconds), memory["arena_bytes"] + memory.get("beside_bytes", 0)


def peer_model(model):
    import torch
    if model == "gpt2":
        import transformers
        return transformers.GPT2LMHeadModel(transformers.GPT2Config()).cuda(), None
    import torchvision
    return getattr(torchvision.models, model)(weights=None).cuda().to(memory_format=torch.channels_last), torch.channels_last


def peer(model, batch, precision):
    import torch
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    network, layout = peer_model(model)
    data = {name: torch.from_numpy(array).cuda() for name, array in random_inputs(None, model, batch).items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    seconds = []
    torch.cuda.reset_peak_memory_stats()
    for _ in range(STEPS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16"):
            if model == "gpt2":
                loss = network(data["tokens"], labels=data["labels"]).loss
            else:
                loss = torch.nn.functional.cross_entropy(network(data["image"].to(memory_format=layout)), data["labels"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        end.record()
        torch.cuda.synchronize()
        seconds.append(begin.elapsed_time(end) / 1000)
    return statistics.median(seconds[WARM_UP:]), torch.cuda.max_memory_allocated()


def main():
    rows = {}
    for file in sorted(os.listdir("trainers")):
        if "." not in file:
            model, batch, how = file.split("-", 2)
            rows.setdefault((model, int(batch)), []).append((how, os.path.join("trainers", file)))
    print(f"{'':40} {'s/step':>10} {'MiB':>10} {'of PyTorch FP32':>16}")
    for (model, batch), trainers in rows.items():
        base = None
        for precision in ("fp32", "bf16"):
            try:
                seconds, memory = peer(model, batch, precision)
            except Exception as reason:  # no PyTorch, or out of memory: the peer's row says so
                print(f"{model}, batch {batch}: PyTorch {precision}: {reason}")
                continue
            base = base or seconds
            print(f"{f'{model}, batch {batch}: PyTorch {precision}':40} {seconds:10.4f} {memory / 2**20:10.0f} {seconds / base:16.2f}")
        for how, path in trainers:
            seconds, memory = ours(path, model, batch)
            ratio = f"{seconds / base:16.2f}" if base else ""
            print(f"{f'{model}, batch {batch}: actnnc {how}':40} {seconds:10.4f} {memory / 2**20:10.0f} {ratio}")


if __name__ == "__main__":
    main()
