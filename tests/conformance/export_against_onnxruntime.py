#!/usr/bin/env python3
"""export_against_onnxruntime.py: an exported model, run by another runtime, gives the trainer's own results.

    ./train --data fashion-mnist ... --export trained.onnx      (the trainer prints its test accuracy)
    python export_against_onnxruntime.py trained.onnx --data /usr/share/datasets/fashion-mnist --accuracy 0.8873

or, with arrays instead of a data set:

    python export_against_onnxruntime.py trained.onnx --input image=images.npy --labels labels.npy \\
        --accuracy 0.8873 --expect logits.npy

The model must pass onnx's checker and bring all of its weights. It runs in ONNX Runtime on the CPU, or in onnx's
reference evaluator with --runtime=reference. --expect compares the output, in relative L2 distance over everything
(--tolerance, 1e-4); --accuracy compares the share of labels found, and allows for one sample in two thousand that
lies on the edge between two classes. --data reads the test set of an IDX folder (gzip or not) and standardizes
its pixels as the trainer does: with the mean and the deviation of all training pixels.

Exits 0: agreement; 1: not; 77: a package is missing, nothing was compared.
"""
import argparse
import gzip
import os
import sys

try:
    import numpy
    import onnx
except ImportError as missing:
    print(f"SKIP: {missing}")
    sys.exit(77)


def fail(message):
    sys.exit(f"export_against_onnxruntime.py: {message}")


def read_idx(directory, stem):
    """An IDX file of bytes: two zeros, 8 (unsigned bytes), the number of axes, each axis as a big-endian word, data."""
    for name, opener in ((stem, open), (stem + ".gz", gzip.open)):
        path = os.path.join(directory, name)
        if os.path.exists(path):
            with opener(path, "rb") as file:
                content = file.read()
            if content[:3] != b"\0\0\x08":
                fail(f"{path} is no IDX file of bytes")
            shape = numpy.frombuffer(content, ">u4", content[3], 4).astype(int)
            return numpy.frombuffer(content, "u1", offset=4 + 4 * content[3]).reshape(shape)
    fail(f"no {stem} in {directory}")


def read_batch(model, options):
    """-> ({input name: array}, labels or None)"""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if options.data:
        training = read_idx(options.data, "train-images-idx3-ubyte").reshape(-1)
        images = read_idx(options.data, "t10k-images-idx3-ubyte").astype("f8")
        images = (images - training.mean()) / training.std()
        return {inputs[0].name: images.astype("f4")[:, None]}, read_idx(options.data, "t10k-labels-idx1-ubyte")
    batch = {}
    for pair in options.input:
        name, _, path = pair.partition("=")
        batch[name] = numpy.load(path)
    for value in inputs:
        if value.name not in batch:
            fail(f"no --input {value.name}=FILE.npy")
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        batch[value.name] = batch[value.name].astype(kind)
    return batch, numpy.load(options.labels) if options.labels else None


def runner(model, options):
    """-> a function of {input: array} that gives the output called options.output"""
    if options.runtime == "reference":
        from onnx.reference import ReferenceEvaluator
        session = ReferenceEvaluator(model)
    else:
        try:
            import onnxruntime
        except ImportError as missing:
            print(f"SKIP: {missing}")
            sys.exit(77)
        session = onnxruntime.InferenceSession(options.model, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run([options.output], feeds)[0]


def check_model(model, options):
    """What an exported model must be."""
    if model.graph.sparse_initializer:
        fail("the model still declares weights without values")
    onnx.checker.check_model(options.model, full_check=True)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "training_mode" and attribute.i:
                fail(f"{node.op_type} {node.name} is still in training mode")
    if options.output not in [value.name for value in model.graph.output]:
        fail(f"no output {options.output}; there are: {' '.join(value.name for value in model.graph.output)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy")
    parser.add_argument("--labels", metavar="FILE.npy")
    parser.add_argument("--data", metavar="DIRECTORY", help="an IDX test set instead of --input and --labels")
    parser.add_argument("--output", default="logits", metavar="NAME")
    parser.add_argument("--expect", metavar="FILE.npy", help="the trainer's values of that output")
    parser.add_argument("--accuracy", type=float, metavar="X", help="the trainer's, between 0 and 1")
    parser.add_argument("--class-axis", type=int, help="default: 1, and 2 for an output of three axes")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--runtime", default="onnxruntime", choices=["onnxruntime", "reference"])
    options = parser.parse_args()

    model = onnx.load(options.model)
    check_model(model, options)
    batch, labels = read_batch(model, options)
    if options.accuracy is not None and labels is None:
        fail("--accuracy needs --labels or --data")
    run, samples = runner(model, options), len(next(iter(batch.values())))
    output = numpy.concatenate([run({name: array[at:at + options.batch] for name, array in batch.items()})
                                for at in range(0, samples, options.batch)])
    good = bool(numpy.isfinite(output).all())
    print(f"{samples} samples, {options.output} {'x'.join(map(str, output.shape))}{'' if good else ', NOT FINITE'}")
    if options.expect:
        expected = numpy.load(options.expect).astype("f8")
        if expected.shape != output.shape:
            fail(f"{options.expect} has shape {expected.shape}, the output {output.shape}")
        distance = numpy.linalg.norm((output - expected).reshape(-1)) / numpy.linalg.norm(expected.reshape(-1))
        agrees = bool(distance <= options.tolerance)
        print(f"relative distance {distance:.3e}, tolerance {options.tolerance:.0e}{'' if agrees else '   DIFFERS'}")
        good = good and agrees
    if labels is not None:
        axis = options.class_axis if options.class_axis is not None else (2 if output.ndim == 3 else 1)
        accuracy = float((output.argmax(axis) == labels).mean())
        agrees = options.accuracy is None or abs(accuracy - options.accuracy) <= 5e-4 + 1e-9
        trainers = "" if options.accuracy is None else f", the trainer's {options.accuracy:.6f}"
        print(f"accuracy {accuracy:.6f}{trainers}{'' if agrees else '   DIFFERS'}")
        good = good and agrees
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
