"""torch_interpreter.py: runs an ONNX graph with PyTorch's operators, so that autograd differentiates it.

An oracle for the zoo and what resembles it, written from the operators' definitions and knowing nothing of the
translator. One table entry an operator: a function of the node's attributes and operands. BatchNormalization runs in
training mode where the model says so; Dropout passes its input through (a comparison needs a model without it, or
ratio 0: `dropout_nodes` finds the others). What is not covered raises NotImplementedError with the operator's name.
"""
import math

import numpy
import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional

TORCH_TYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.DOUBLE: torch.float64,
               onnx.TensorProto.INT64: torch.int64, onnx.TensorProto.INT32: torch.int32,
               onnx.TensorProto.BOOL: torch.bool}


def numbers(tensor):
    return [int(number) for number in tensor.reshape(-1).tolist()]


# ---- operators: each gets (node's attributes, operands...) -----------------------------------------------------------

def padded(x, attributes, spatial, fill=0.0):
    """ONNX's pads (begins, then ends) applied to the spatial axes. torch's F.pad counts from the last axis."""
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b""):
        raise NotImplementedError("auto_pad")
    pads = attributes.get("pads", [0] * 2 * spatial)
    if not any(pads):
        return x
    return functional.pad(x, [p for axis in reversed(range(spatial)) for p in (pads[axis], pads[axis + spatial])],
                          value=fill)


def convolution(attributes, x, weight, bias=None):
    spatial = x.dim() - 2
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[spatial - 1]
    return run(padded(x, attributes, spatial), weight, bias, attributes.get("strides", 1), 0,
               attributes.get("dilations", 1), attributes.get("group", 1))


def transposed_convolution(attributes, x, weight, bias=None):
    spatial = x.dim() - 2
    pads = attributes.get("pads", [0] * 2 * spatial)
    if pads[:spatial] != pads[spatial:] or "output_shape" in attributes or "auto_pad" in attributes:
        raise NotImplementedError("ConvTranspose with uneven pads, auto_pad or output_shape")
    run = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[spatial - 1]
    return run(x, weight, bias, attributes.get("strides", 1), pads[:spatial], attributes.get("output_padding", 0),
               attributes.get("group", 1), attributes.get("dilations", 1))


def max_pool(attributes, x):
    spatial = x.dim() - 2
    if attributes.get("ceil_mode", 0):
        raise NotImplementedError("MaxPool with ceil_mode")
    run = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[spatial - 1]
    return run(padded(x, attributes, spatial, -math.inf), attributes["kernel_shape"], attributes.get("strides", 1), 0,
               attributes.get("dilations", 1))


def average_pool(attributes, x):
    if any(attributes.get("pads", [])) or attributes.get("ceil_mode", 0):
        raise NotImplementedError("AveragePool with pads or ceil_mode")
    run = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[x.dim() - 3]
    return run(x, attributes["kernel_shape"], attributes.get("strides", 1))


def batch_norm(attributes, x, scale, bias, mean, variance):
    """Written out: functional.batch_norm would do, but ONNX's running statistics use the population variance."""
    shape = [1, -1] + [1] * (x.dim() - 2)
    momentum, running = attributes.get("momentum", 0.9), []
    if attributes.get("training_mode", 0):
        axes = [0] + list(range(2, x.dim()))
        old = mean, variance
        mean, variance = x.mean(axes), x.var(axes, unbiased=False)
        running = [momentum * before + (1 - momentum) * now.detach() for before, now in zip(old, (mean, variance))]
    normal = (x - mean.reshape(shape)) * torch.rsqrt(variance.reshape(shape) + attributes.get("epsilon", 1e-5))
    return [normal * scale.reshape(shape) + bias.reshape(shape)] + running


def layer_norm(attributes, x, scale, bias=None):
    axis = attributes.get("axis", -1) % x.dim()
    return functional.layer_norm(x, x.shape[axis:], scale, bias, attributes.get("epsilon", 1e-5))


def gemm(attributes, a, b, c=None):
    a = a.T if attributes.get("transA", 0) else a
    b = b.T if attributes.get("transB", 0) else b
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + attributes.get("beta", 1.0) * c


def clip(attributes, x, low=None, high=None):
    """The gradient at a bound itself is torch.clamp's: it passes."""
    low = attributes.get("min", low)
    high = attributes.get("max", high)
    return torch.clamp(x, None if low is None else float(low), None if high is None else float(high))


def reshape(attributes, x, shape):
    target = numbers(shape)
    if not attributes.get("allowzero", 0):
        target = [x.shape[axis] if size == 0 else size for axis, size in enumerate(target)]
    return x.reshape(target)


def flatten(attributes, x):
    axis = attributes.get("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def split(attributes, x, sizes=None):
    axis = attributes.get("axis", 0)
    if sizes is None:
        raise NotImplementedError("Split without sizes")
    return list(torch.split(x, numbers(sizes), axis))


def slice_(attributes, x, starts, ends, axes=None, steps=None):
    axes = range(len(numbers(starts))) if axes is None else numbers(axes)
    steps = [1] * len(axes) if steps is None else numbers(steps)
    for axis, start, end, step in zip(axes, numbers(starts), numbers(ends), steps):
        if step < 1:
            raise NotImplementedError("Slice backwards")
        size = x.shape[axis]
        start, end = (max(0, min(size, at + size if at < 0 else at)) for at in (start, end))
        x = x.index_select(axis, torch.arange(start, max(start, end), step))
    return x


def gather(attributes, x, indices):
    axis = attributes.get("axis", 0) % x.dim()
    indices = torch.where(indices < 0, indices + x.shape[axis], indices)
    picked = x.index_select(axis, indices.reshape(-1))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1:])


def axes_of(attributes, operand):
    return attributes.get("axes") if operand is None else numbers(operand)


def unsqueeze(attributes, x, axes=None):
    axes = axes_of(attributes, axes)
    for axis in sorted(a % (x.dim() + len(axes)) for a in axes):
        x = x.unsqueeze(axis)
    return x


def squeeze(attributes, x, axes=None):
    axes = axes_of(attributes, axes)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def reduction(run):
    def reduce(attributes, x, axes=None):
        axes = axes_of(attributes, axes) or list(range(x.dim()))
        return run(x, axes, keepdim=bool(attributes.get("keepdims", 1)))
    return reduce


def cross_entropy(attributes, scores, labels, weights=None):
    return functional.cross_entropy(scores, labels, weights, ignore_index=attributes.get("ignore_index", -100),
                                    reduction=attributes.get("reduction", b"mean").decode())


def pointwise(run):
    return lambda attributes, *operands: run(*operands)


OPERATORS = {
    "Abs": pointwise(torch.abs), "Add": pointwise(torch.add), "Div": pointwise(torch.div), "Erf": pointwise(torch.erf),
    "Exp": pointwise(torch.exp), "Log": pointwise(torch.log), "Mul": pointwise(torch.mul), "Neg": pointwise(torch.neg),
    "Pow": pointwise(torch.pow), "Relu": pointwise(torch.relu), "Sigmoid": pointwise(torch.sigmoid),
    "Sqrt": pointwise(torch.sqrt), "Sub": pointwise(torch.sub), "Tanh": pointwise(torch.tanh),
    "MatMul": pointwise(torch.matmul), "Where": pointwise(torch.where), "Identity": pointwise(lambda x: x),
    "Equal": pointwise(torch.eq), "Less": pointwise(torch.lt), "LessOrEqual": pointwise(torch.le),
    "Greater": pointwise(torch.gt), "GreaterOrEqual": pointwise(torch.ge), "Not": pointwise(torch.logical_not),
    "Clip": clip, "Gemm": gemm, "Conv": convolution, "ConvTranspose": transposed_convolution, "MaxPool": max_pool,
    "AveragePool": average_pool, "BatchNormalization": batch_norm, "LayerNormalization": layer_norm,
    "GlobalAveragePool": lambda a, x: x.mean(list(range(2, x.dim())), keepdim=True),
    "Softmax": lambda a, x: torch.softmax(x, a.get("axis", -1)),
    "LogSoftmax": lambda a, x: torch.log_softmax(x, a.get("axis", -1)),
    "Gelu": lambda a, x: functional.gelu(x, approximate=a.get("approximate", b"none").decode()),
    "SoftmaxCrossEntropyLoss": cross_entropy, "Dropout": lambda a, x, *rest: x,
    "ReduceMean": reduction(torch.mean), "ReduceSum": reduction(torch.sum),
    "Reshape": reshape, "Flatten": flatten, "Split": split, "Slice": slice_, "Gather": gather,
    "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": lambda a, x: x.permute(a["perm"]),
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "Expand": lambda a, x, shape: x.expand(torch.broadcast_shapes(x.shape, tuple(numbers(shape)))),
    "Shape": lambda a, x: torch.tensor(x.shape[a.get("start", 0):a.get("end", None)]),
    "Cast": lambda a, x: x.to(TORCH_TYPES[a["to"]]),
}


# ---- graphs ---------------------------------------------------------------------------------------------------------

def constant(attributes, precision):
    for key, value in attributes.items():
        array = numpy_helper.to_array(value) if key == "value" else numpy.asarray(
            value, "int64" if key.startswith("value_int") else "float32")
        tensor = torch.from_numpy(numpy.array(array))
        return tensor.to(precision) if tensor.is_floating_point() else tensor
    raise NotImplementedError("Constant without a value")


def run_graph(model, operands, precision=torch.float64):
    """operands: {name: tensor} for inputs and initializers. -> {name: tensor} of every value of the graph."""
    values = dict(operands)
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            results = constant(attributes, precision)
        elif node.domain or node.op_type not in OPERATORS:
            raise NotImplementedError(f"operator {node.domain}{'.' if node.domain else ''}{node.op_type}")
        else:
            results = OPERATORS[node.op_type](attributes, *(values[name] if name else None for name in node.input))
            if node.op_type == "Cast" and results.is_floating_point():
                results = results.to(precision)
        for name, result in zip(node.output, results if isinstance(results, list) else [results]):
            values[name] = result
    return values


def dropout_nodes(model):
    """Names of the Dropout nodes that are switched on."""
    constants = {node.output[0]: numpy_helper.to_array(a.t) for node in model.graph.node if node.op_type == "Constant"
                 for a in node.attribute if a.name == "value"}
    constants.update((tensor.name, numpy_helper.to_array(tensor)) for tensor in model.graph.initializer)
    return [node.name for node in model.graph.node
            if node.op_type == "Dropout" and len(node.input) > 2 and constants.get(node.input[2], True)
            and constants.get(node.input[1], 0.5) > 0]


def declared_initializers(model):
    """{name: shape} of the initializers, dense and sparse."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shapes.update((tensor.values.name, tuple(tensor.dims)) for tensor in model.graph.sparse_initializer)
    return shapes


def dense_initializers(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def first_values(model, seed):
    """Draws what the model's initialization graph describes (with NumPy's generator, so not the trainer's numbers)."""
    random, made, first = numpy.random.default_rng(seed), {}, {}
    for information in model.training_info:
        for node in information.initialization.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                made[node.output[0]] = attributes["value_ints"]
            elif node.op_type == "ConstantOfShape":
                value = numpy_helper.to_array(attributes["value"])[0] if "value" in attributes else 0.0
                made[node.output[0]] = numpy.full(made[node.input[0]], value, "float32")
            elif node.op_type == "RandomNormal":
                made[node.output[0]] = random.normal(attributes.get("mean", 0.0), attributes.get("scale", 1.0),
                                                     attributes["shape"]).astype("float32")
            elif node.op_type == "RandomUniform":
                made[node.output[0]] = random.uniform(attributes.get("low", 0.0), attributes.get("high", 1.0),
                                                      attributes["shape"]).astype("float32")
            else:
                raise NotImplementedError(f"{node.op_type} in an initialization graph")
        first.update((entry.key, made[entry.value]) for entry in information.initialization_binding)
    return {**dense_initializers(model), **first}
