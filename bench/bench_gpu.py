#!/usr/bin/env python3
"""bench_gpu.py: emitted trainers on a GPU beside PyTorch, in one run; seconds a step, peak memory, ratios, medians.

    python3 bench_gpu.py [STEPS]       in a bundle that `make dist-cuda` made, after `make`

A trainer is trainers/MODEL-BATCH-HOW; its peer is torchvision's model of that name, or a GPT-2 of the same size, in float32 with TF32 off
and in bfloat16 autocast, channels last. Without PyTorch the peer's rows are missing. Data are random and stay on the machine.
Where HOW begins with "largest" the peer's row is the largest batch that float32 has memory for on this GPU; zeros are fed for a few steps.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
WARM_UP = 5


def random_inputs(model, batch):
    import numpy
    generator = numpy.random.default_rng(1)
    if model == "gpt2":
        tokens = generator.integers(0, 50257, (batch, 1024))
        return {"tokens": tokens, "labels": generator.integers(0, 50257, (batch, 1024))}
    return {"image": generator.standard_normal((batch, 3, 224, 224), dtype=numpy.float32),
            "labels": generator.integers(0, 1000, (batch,))}


def write_inputs(folder, model, batch, is_empty):
    """Files of one batch, by input; of zeros they take no room on the disk."""
    import numpy
    paths = {}
    arrays = None if is_empty else random_inputs(model, batch)
    for name, one in (arrays or random_inputs(model, 1)).items():
        paths[name] = os.path.join(folder, name + ".npy")
        if is_empty:
            numpy.lib.format.open_memmap(paths[name], mode="w+", dtype=one.dtype, shape=(batch, *one.shape[1:])).flush()
        else:
            numpy.save(paths[name], one)
    return paths


def seconds_of_steps(logged, batch):
    """Of each step: the log has the speed since a window began, which ends with the step that makes it longer than ten seconds."""
    seconds, samples, before = [], 0, 0.0
    for step in logged:
        samples += batch
        now = samples / step["samples_per_s"]
        seconds.append(now - before)
        before = now
        if now > 10:
            samples, before = 0, 0.0
    return seconds


def ours(path, model, batch, is_largest):
    steps, warm_up = (6, 2) if is_largest else (STEPS, WARM_UP)
    with tempfile.TemporaryDirectory() as folder:
        arguments = []
        for name, file in write_inputs(folder, model, batch, is_largest).items():
            arguments += ["--data", f"{name}={file}"]
        log = os.path.join(folder, "log.jsonl")
        subprocess.run([path, *arguments, "--eval", "none", "--steps", str(steps), "--log", log, "--quiet"], check=True)
        memory = json.loads(subprocess.run([path, "--memory"], check=True, capture_output=True, text=True).stdout)
        logged = [json.loads(line) for line in open(log)]
    seconds = seconds_of_steps([step for step in logged if "lr" in step], batch)
    return statistics.median(seconds[warm_up:]), memory["arena_bytes"] + memory.get("beside_bytes", 0)


def peer_model(model):
    import torch
    if model == "gpt2":
        import transformers
        return transformers.GPT2LMHeadModel(transformers.GPT2Config()).cuda(), None
    import torchvision
    return getattr(torchvision.models, model)(weights=None).cuda().to(memory_format=torch.channels_last), torch.channels_last


def peer(model, batch, precision, steps=STEPS, warm_up=WARM_UP):
    import torch
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True  # the quickest way of each convolution, as one who wants speed has it
    network, layout = peer_model(model)
    data = {name: torch.from_numpy(array).cuda() for name, array in random_inputs(model, batch).items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    seconds = []
    torch.cuda.reset_peak_memory_stats()
    for _ in range(steps):
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
    return statistics.median(seconds[warm_up:]), torch.cuda.max_memory_allocated()


def peer_has_room(model, batch):
    import gc
    import torch
    try:
        peer(model, batch, "fp32", 3, 1)
        return True
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def largest_batch_of_peer(model):
    """To a thirty-second of it."""
    room, none = 1, 2
    while peer_has_room(model, none):
        room, none = none, 2 * none
    while none - room > max(1, room // 32):
        middle = (room + none) // 2
        room, none = (middle, none) if peer_has_room(model, middle) else (room, middle)
    return room


def print_row(what, seconds, memory, of):
    ratios = "".join(f" {seconds / of[precision]:15.2f}" if precision in of else f" {'':15}" for precision in ("fp32", "bf16"))
    print(f"{what:44} {seconds:10.4f} {memory / 2**20:10.0f}{ratios}", flush=True)


def compare(model, batch, trainers):
    of = {}
    for precision in ("fp32", "bf16"):
        try:
            seconds, memory = peer(model, batch, precision)
        except Exception as reason:  # no PyTorch, or out of memory: the peer's row says so
            print(f"{model}, batch {batch}: PyTorch {precision}: {reason}")
            continue
        of[precision] = seconds
        print_row(f"{model}, batch {batch}: PyTorch {precision}", seconds, memory, of)
    for how, path in trainers:
        print_row(f"{model}, batch {batch}: actnnc {how}", *ours(path, model, batch, False), of)


def compare_largest(model, batch, how, path):
    try:
        seconds, memory = ours(path, model, batch, True)
    except subprocess.CalledProcessError as reason:
        print(f"{model}, batch {batch}: actnnc {how}: {reason}")
        return
    print_row(f"{model}, batch {batch}: actnnc {how}", seconds, memory, {})
    try:
        largest = largest_batch_of_peer(model)
    except Exception as reason:
        print(f"{model}: PyTorch fp32: {reason}")
        return
    print(f"{model}: the largest batch of PyTorch fp32 here is {largest}; ours is {batch / largest:.1f} times that")


def main():
    rows, largest = {}, []
    for file in sorted(os.listdir("trainers")):
        if "." in file:
            continue
        model, batch, how = file.split("-", 2)
        path = os.path.join("trainers", file)
        if how.startswith("largest"):
            largest.append((model, int(batch), how, path))
        else:
            rows.setdefault((model, int(batch)), []).append((how, path))
    print(f"{'':44} {'s/step':>10} {'MiB':>10} {'of PyTorch FP32':>15} {'of bf16':>15}")
    for (model, batch), trainers in rows.items():
        compare(model, batch, trainers)
    for one in largest:
        compare_largest(*one)


if __name__ == "__main__":
    main()
