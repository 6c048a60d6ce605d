#!/usr/bin/env python3
"""gradients_against_torch.py: compares a trainer's gradients with those that PyTorch's autograd finds.

    ./train ... --dump-gradients gradients.safetensors
    python gradients_against_torch.py resnet18.onnx --weights weights.safetensors --input image=images.npy \\
        --labels labels.npy --gradients gradients.safetensors

The model is rebuilt from its ONNX file, node by node, with PyTorch's operators (torch_interpreter.py), gets the same
weights and the same batch, and the loss is softmax cross-entropy, averaged over the labels, on the output `logits`,
or the output that --loss-output names. Every parameter must agree to a relative L2 distance of 1e-4. By default
PyTorch computes in double precision: then all of the distance is the trainer's.

    python gradients_against_torch.py decoder.onnx --make DIRECTORY --batch 4 --dim T=32

writes weights.safetensors, the batch and PyTorch's own gradients.safetensors for a model, to try either side with.

Kinks. A ReLU's input within rounding of zero falls on the one side here and on the other there; both are right, and
in a deep network one such element in a million moves gradients by a per cent. Normalization over few elements (1 x 1
maps, small batches) amplifies rounding too. So --make looks for weights and a batch with which PyTorch's own float32
and float64 agree to half the tolerance, and gives up after twelve seeds. In two of three it draws scales and shifts
of normalizations at random: shifts away from zero keep elements away from kinks. Narrow models on images not too
small do best: resnet50:image=64,width=16 densenet121:image=64,growth=8 and, with --batch 8,
mobilenetv2:image=64,multiplier=0.25,dropout=0.

Exits 0: agreement; 1: not; 77: PyTorch or onnx is missing, nothing was compared.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import numpy
    import onnx
    import torch
    from torch.nn import functional
    from torch_interpreter import (TORCH_TYPES, declared_initializers, dense_initializers, dropout_nodes, first_values,
                                   run_graph)
except ImportError as missing:
    print(f"SKIP: {missing}")
    sys.exit(77)
from safetensors_file import read_safetensors, write_safetensors


def fail(message):
    sys.exit(f"gradients_against_torch.py: {message}")


def with_weights(model, weights):
    """{name: array} for every initializer: from `weights`, else from the model itself."""
    dense, chosen = dense_initializers(model), {}
    for name, shape in declared_initializers(model).items():
        chosen[name] = weights.get(name, dense.get(name))
        if chosen[name] is None:
            fail(f"the weights have no tensor {name}")
        if chosen[name].shape != shape:
            fail(f"tensor {name} has shape {chosen[name].shape}, the model declares {shape}")
    return chosen


def class_axis(rank, options):
    """Classes lie on axis 1 where the logits are N x C or an image, on the last where they are N x T x C."""
    return options.class_axis if options.class_axis is not None else (2 if rank == 3 else 1)


def gradients_by_torch(model, weights, batch, labels, precision, options):
    """-> (loss, {name: gradient}) for the float initializers that the loss depends on."""
    precision = getattr(torch, precision)
    operands = {}
    for name, array in weights.items():
        tensor = torch.from_numpy(numpy.array(array))
        operands[name] = tensor.to(precision).requires_grad_() if tensor.is_floating_point() else tensor
    for value in model.graph.input:
        if value.name in weights:
            continue
        if value.name not in batch:
            fail(f"no --input {value.name}=FILE.npy")
        kind = TORCH_TYPES[value.type.tensor_type.elem_type]
        operands[value.name] = torch.from_numpy(batch[value.name]).to(precision if kind.is_floating_point else kind)
    values = run_graph(model, operands, precision)
    output = values[options.loss_output]
    if labels is None:
        loss = output
    else:
        scores = output.movedim(class_axis(output.dim(), options), 1)
        loss = functional.cross_entropy(scores, torch.from_numpy(labels).long())
    loss.backward()
    return loss.item(), {name: tensor.grad.numpy() for name, tensor in operands.items() if tensor.grad is not None}


def distances(expected, found):
    """{name: relative L2 distance, or None where the gradient is zero in exact arithmetic and found to be so}, for the
    names and shapes that both have."""
    scale = numpy.sqrt(sum(numpy.square(g.astype("f8")).sum() for g in expected.values()))
    result = {}
    for name, gradient in expected.items():
        if name not in found or found[name].shape != gradient.shape:
            continue
        a, b = gradient.astype("f8"), found[name].astype("f8")
        norm, difference = numpy.sqrt(numpy.square(a).sum()), numpy.sqrt(numpy.square(a - b).sum())
        if norm <= 1e-10 * scale and difference <= 1e-5 * scale:
            result[name] = None  # a shift in front of a normalization, say: only rounding is left to compare
        else:
            result[name] = difference / norm if norm else numpy.inf
    return result


def compare(expected, found, tolerance):
    """Prints a row for each parameter, -> whether all agree."""
    distance, good = distances(expected, found), True
    print(f"{'parameter':48} {'shape':>20} {'norm':>11} {'distance':>11}")
    for name in sorted(set(expected) | set(found)):
        array = expected.get(name, found.get(name))
        row = f"{name:48} {'x'.join(map(str, array.shape)):>20} {numpy.linalg.norm(array.reshape(-1)):11.3e}"
        if name not in expected or name not in found:
            agrees, note = False, f"only in {'the trainer' if name in found else 'PyTorch'}"
        elif name not in distance:
            agrees, note = False, f"the trainer's shape is {'x'.join(map(str, found[name].shape))}"
        else:
            agrees = distance[name] is None or bool(distance[name] <= tolerance)
            note = f"{'zero' if distance[name] is None else format(distance[name], '.3e'):>11}"
        good = good and agrees
        print(f"{row} {note}{'' if agrees else '   DIFFERS'}")
    print(f"{'agree' if good else 'DIFFER'}: {len(expected)} parameters, largest distance "
          f"{max((d for d in distance.values() if d is not None), default=0.0):.3e}, tolerance {tolerance:.0e}")
    return good


def value_shape(value, sizes):
    return [sizes[d.dim_param] if d.dim_param else d.dim_value for d in value.type.tensor_type.shape.dim]


def draw(model, sizes, seed, shift, options):
    """-> (weights, batch, labels). `shift`: how far from zero the normalizations' shifts lie; None: as the model's
    own initialization has them."""
    random = numpy.random.default_rng(seed)
    weights, batch = first_values(model, seed), {}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization" and shift is not None:
            shape = weights[node.input[1]].shape
            signs = random.choice([-1, 1], shape)
            weights[node.input[1]] = random.uniform(0.5, 1.5, shape).astype("f4")
            weights[node.input[2]] = (signs * random.uniform(shift, shift + 1, shape)).astype("f4")
    output = next(value for value in model.graph.output if value.name == options.loss_output)
    shape = value_shape(output, sizes)
    classes = shape.pop(class_axis(len(shape), options))
    for value in model.graph.input:
        if value.name not in weights:
            if value.type.tensor_type.elem_type == onnx.TensorProto.INT64:
                batch[value.name] = random.integers(0, classes, value_shape(value, sizes))
            else:
                batch[value.name] = random.normal(0, 1, value_shape(value, sizes)).astype("f4")
    return weights, batch, random.integers(0, classes, shape)


def make(model, options):
    """Writes weights, a batch and labels that make a sound comparison, and PyTorch's gradients."""
    sizes = {"N": options.batch, **{key: int(size) for key, size in (pair.split("=") for pair in options.dim)}}
    for attempt in range(12):
        weights, batch, labels = draw(model, sizes, options.seed + attempt, (0, 1, None)[attempt % 3], options)
        loss, gradients = gradients_by_torch(model, weights, batch, labels, "float64", options)
        single = gradients_by_torch(model, weights, batch, labels, "float32", options)[1]
        worst = max(distance or 0.0 for distance in distances(gradients, single).values())
        if worst <= options.tolerance / 2:
            break
    else:
        fail(f"PyTorch's own float32 and float64 differ by {worst:.1e} after twelve seeds; try a narrower model, "
             "a larger image or another --batch")
    os.makedirs(options.make, exist_ok=True)
    for name, array in {**batch, "labels": labels}.items():
        numpy.save(os.path.join(options.make, name + ".npy"), array)
    write_safetensors(os.path.join(options.make, "weights.safetensors"), weights)
    write_safetensors(os.path.join(options.make, "gradients.safetensors"), gradients)
    print(f"seed {options.seed + attempt}, loss {loss:.9g}, {len(gradients)} gradients, PyTorch's float32 within "
          f"{worst:.1e} of its float64")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--weights", metavar="FILE.safetensors", help="default: the model's own initializers")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy", help="as the model reads it")
    parser.add_argument("--labels", metavar="FILE.npy", help="integers; without: the loss output is a scalar loss")
    parser.add_argument("--gradients", metavar="FILE.safetensors", help="the trainer's")
    parser.add_argument("--loss", type=float, metavar="X", help="the trainer's loss, compared too")
    parser.add_argument("--loss-output", default="logits", metavar="NAME")
    parser.add_argument("--class-axis", type=int, help="default: 1, and 2 for logits of three axes")
    parser.add_argument("--precision", default="float64", choices=["float64", "float32"])
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--make", metavar="DIRECTORY")
    parser.add_argument("--batch", type=int, default=4, help="with --make")
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=N", help="with --make")
    parser.add_argument("--seed", type=int, default=1, help="with --make")
    options = parser.parse_args()

    textual = options.model.endswith(".onnxtxt")
    model = onnx.load(options.model, format="onnxtxt" if textual else "protobuf")
    if dropout_nodes(model):
        fail(f"Dropout is on in {len(dropout_nodes(model))} nodes, and its draws cannot be compared; make the model "
             "with dropout=0")
    if options.make:
        return make(model, options)
    if not options.gradients:
        fail("--gradients FILE is needed")
    batch = dict(pair.split("=", 1) for pair in options.input)
    batch = {name: numpy.load(path) for name, path in batch.items()}
    weights = with_weights(model, read_safetensors(options.weights)[0] if options.weights else {})
    labels = numpy.load(options.labels) if options.labels else None
    loss, expected = gradients_by_torch(model, weights, batch, labels, options.precision, options)
    print(f"loss: PyTorch {loss:.9g}" + ("" if options.loss is None else f", trainer {options.loss:.9g}"))
    good = compare(expected, read_safetensors(options.gradients)[0], options.tolerance)
    if options.loss is not None and abs(options.loss - loss) > options.tolerance * max(1.0, abs(loss)):
        print("the losses DIFFER")
        good = False
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError, NotImplementedError) as problem:
        fail(problem)
