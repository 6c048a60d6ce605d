#!/usr/bin/env python3
"""torch_peer.py: what PyTorch takes for the same training steps: seconds a step, peak memory, bytes saved for backward.

    python torch_peer.py                                     ResNet-18 (3 x 32 x 32, batch 64), ResNet-50 (batch 16)
    python torch_peer.py --models resnet50 --modes channels-last --steps 10

One step is forward, softmax cross-entropy, backward and SGD with momentum, in float32 or, with --precision bf16, under
autocast, on random images that stay the same. Each model runs in each mode in a process of its own, so that peak memory is that mode's: `eager` (PyTorch's
default), `channels-last`, and both of them through torch.compile where a C++ compiler is at hand. Threads: all cores.
Seconds are the median over --steps steps after --warm-up ones. Bytes saved are the distinct storages that autograd
keeps for backward, parameters and the input left out; they are counted in an extra step in eager modes.

Prints one JSON object: the machine, every result, and the fastest mode of each model. Exits 77 without PyTorch and
torchvision.
"""
import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

MODELS = {"resnet18": {"image": 32, "batch": 64, "classes": 10},
          "resnet50": {"image": 224, "batch": 16, "classes": 1000}}
MODES = ["eager", "channels-last", "compile", "compile-channels-last"]


def make_model(name):
    """resnet18 gets the stem for small images, as models/resnet18.onnx has it: one 3 x 3 convolution, no pooling."""
    import torch
    import torchvision
    model = getattr(torchvision.models, name)(weights=None, num_classes=MODELS[name]["classes"])
    if name == "resnet18":
        model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = torch.nn.Identity()
    return model.train()


def count_saved(step, excluded):
    """Bytes of the storages that `step` saves for backward, each counted once."""
    import torch
    sizes = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in excluded:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return sum(sizes.values())


def measure(name, mode, options):
    """One model in one mode, in this process."""
    import torch
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    size, batch = MODELS[name], options.batch or MODELS[name]["batch"]
    model = make_model(name)
    images = torch.randn(batch, 3, size["image"], size["image"])
    labels = torch.randint(size["classes"], (batch,))
    if mode.endswith("channels-last"):
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    forward = torch.compile(model) if mode.startswith("compile") else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    losses, seconds = [], []
    for index in range(options.warm_up + options.steps):
        begin = time.perf_counter()
        losses.append(step())
        if index >= options.warm_up:
            seconds.append(time.perf_counter() - begin)
    result = {"model": name, "mode": mode, "precision": options.precision, "batch": batch, "image": size["image"], "threads": options.threads,
              "steps": options.steps, "seconds_per_step": statistics.median(seconds), "seconds_least": min(seconds),
              "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
              "first_loss": losses[0], "last_loss": losses[-1]}
    if not mode.startswith("compile"):
        kept = {tensor.untyped_storage().data_ptr()
                for tensor in (*model.parameters(), *model.buffers(), images, labels)}
        result["saved_bytes"] = count_saved(step, kept)
    return result


def measure_apart(name, mode, options):
    """The same in a process of its own; a mode that does not work here gives its last line of complaint."""
    command = [sys.executable, os.path.abspath(__file__), "--models", name, "--modes", mode, "--here", "--steps",
               str(options.steps), "--warm-up", str(options.warm_up), "--threads", str(options.threads),
               "--batch", str(options.batch), "--precision", options.precision]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit)
    except subprocess.TimeoutExpired:
        return {"model": name, "mode": mode, "error": f"took more than {options.limit} seconds"}
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {"model": name, "mode": mode, "error": lines[-1] if lines else f"exit {done.returncode}"}
    return json.loads(done.stdout)


def machine():
    import torch
    processor = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        processor = names[0] if names else processor
    return {"processor": processor, "cores": os.cpu_count(), "torch": torch.__version__,
            "instructions": torch.backends.cpu.get_cpu_capability()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch", type=int, default=0, help="instead of each model's own")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--limit", type=int, default=1800, help="seconds for one model in one mode")
    parser.add_argument("--here", action="store_true", help="one model, one mode, in this process")
    options = parser.parse_args()
    try:
        import torch
        import torchvision
    except ImportError as missing:
        print(f"SKIP: {missing}")
        return 77
    if options.here:
        print(json.dumps(measure(options.models[0], options.modes[0], options)))
        return 0
    results, fastest = [], {}
    for name in options.models:
        for mode in options.modes:
            result = measure_apart(name, mode, options)
            results.append(result)
            print(f"{name} {mode}: {result.get('error') or format(result['seconds_per_step'], '.3f') + ' s a step'}",
                  file=sys.stderr)
            if "error" not in result and (name not in fastest or
                                          result["seconds_per_step"] < fastest[name]["seconds_per_step"]):
                fastest[name] = result
    print(json.dumps({"machine": machine(), "results": results, "fastest": fastest}, indent=2))
    return 0 if fastest else 1


if __name__ == "__main__":
    sys.exit(main())
