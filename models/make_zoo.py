#!/usr/bin/env python3
"""make_zoo.py: writes the models of the zoo, directly with onnx.helper.

    python make_zoo.py                                  every model, beside this script
    python make_zoo.py lenet5 unet                      only these
    python make_zoo.py resnet50:image=32,classes=10     the same architecture, smaller (for tests)
    python make_zoo.py --directory /tmp --list

A file holds a forward model in training mode (BatchNormalization with training_mode = 1, Dropout switched on) and no
weights: each initializer is declared as a sparse tensor without a single non-zero, and the model's TrainingInfo says
how its first value is drawn. So ResNet-50 is a file of tens of kilobytes, and a trainer draws its 25 million weights
when it starts. The loss is not part of the file. The batch is the symbolic dimension N; text models leave their
length T symbolic too.

Needs the Python package onnx. The models are committed: nobody who uses or tests the project has to run this. It
writes the same bytes each time.
"""
import argparse
import inspect
import math
import os

import onnx
from onnx import TensorProto, helper

OPSET, IR_VERSION = 17, 8


# ---- first values: each returns the operator that makes one, and its attributes --------------------------------------

def normal(scale):
    return "RandomNormal", {"mean": 0.0, "scale": scale}


def uniform(bound):
    return "RandomUniform", {"low": -bound, "high": bound}


def filled(value):
    return "ConstantOfShape", {"value": helper.make_tensor("", TensorProto.FLOAT, [1], [value])}


# ---- the builder ----------------------------------------------------------------------------------------------------

class Builder:
    """Collects nodes and parameters. A layer is called by its dotted path, as in PyTorch: `layer1.0.conv1` gives the
    node /layer1/0/conv1, whose result has the same name, and the parameters layer1.0.conv1.weight and so on. Every
    method returns the name of its result."""

    def __init__(self, name, input_name, input_shape, input_type=TensorProto.FLOAT):
        self.name, self.nodes, self.declared = name, [], []
        self.first_nodes, self.first_outputs, self.bindings, self.shapes = [], [], [], set()
        self.input = input_name
        self.inputs = [helper.make_tensor_value_info(input_name, input_type, input_shape)]

    def node(self, operator, path, operands, **attributes):
        name = "/" + path.replace(".", "/")
        self.nodes.append(helper.make_node(operator, operands, [name], name=name, **attributes))
        return name

    def parameter(self, name, shape, first):
        values = helper.make_tensor(name, TensorProto.FLOAT, [0], b"", raw=True)
        indices = helper.make_tensor("", TensorProto.INT64, [0], b"", raw=True)
        self.declared.append(helper.make_sparse_tensor(values, indices, shape))
        output = f"first_{len(self.declared)}"
        operator, attributes = first
        operands = []
        if operator == "ConstantOfShape":
            operands.append("shape_" + "_".join(map(str, shape)))
            if operands[0] not in self.shapes:
                self.shapes.add(operands[0])
                self.first_nodes.append(helper.make_node("Constant", [], operands, value_ints=shape))
        else:
            attributes = {**attributes, "shape": shape}
        self.first_nodes.append(helper.make_node(operator, operands, [output], **attributes))
        self.first_outputs.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, shape))
        self.bindings.append(onnx.StringStringEntryProto(key=name, value=output))
        return name

    def ints(self, path, values):
        return self.node("Constant", path, [], value_ints=values)

    def scalar(self, path, value):
        return self.node("Constant", path, [], value=helper.make_tensor("", TensorProto.FLOAT, [], [value]))

    # layers

    def conv(self, x, path, channels_in, channels_out, kernel, stride=1, padding=0, groups=1, bias=False):
        fan_in = channels_in // groups * kernel * kernel
        operands = [x, self.parameter(path + ".weight", [channels_out, channels_in // groups, kernel, kernel],
                                      normal(math.sqrt(2 / fan_in)))]
        if bias:
            operands.append(self.parameter(path + ".bias", [channels_out], filled(0.0)))
        return self.node("Conv", path, operands, dilations=[1, 1], group=groups, kernel_shape=[kernel] * 2,
                         pads=[padding] * 4, strides=[stride] * 2)

    def upsample(self, x, path, channels_in, channels_out):
        """A transposed convolution, 2 x 2 with stride 2: each pixel becomes four."""
        weight = self.parameter(path + ".weight", [channels_in, channels_out, 2, 2], normal(math.sqrt(1 / channels_in)))
        bias = self.parameter(path + ".bias", [channels_out], filled(0.0))
        return self.node("ConvTranspose", path, [x, weight, bias], kernel_shape=[2, 2], strides=[2, 2])

    def batch_norm(self, x, path, channels):
        operands = [x] + [self.parameter(path + suffix, [channels], filled(value)) for suffix, value in
                          ((".weight", 1.0), (".bias", 0.0), (".running_mean", 0.0), (".running_var", 1.0))]
        name = "/" + path.replace(".", "/")
        self.nodes.append(helper.make_node(
            "BatchNormalization", operands, [name, name + "/running_mean", name + "/running_var"], name=name,
            epsilon=1e-5, momentum=0.9, training_mode=1))
        return name

    def layer_norm(self, x, path, width, epsilon):
        weight = self.parameter(path + ".weight", [width], filled(1.0))
        bias = self.parameter(path + ".bias", [width], filled(0.0))
        return self.node("LayerNormalization", path, [x, weight, bias], axis=-1, epsilon=epsilon)

    def gemm(self, x, path, width_in, width_out, scale=None):
        """A linear layer on a matrix; the weight is [out, in]. Without `scale`: Kaiming's for a ReLU behind it."""
        first = normal(math.sqrt(2 / width_in) if scale is None else scale)
        weight = self.parameter(path + ".weight", [width_out, width_in], first)
        bias = self.parameter(path + ".bias", [width_out], filled(0.0))
        return self.node("Gemm", path, [x, weight, bias], transB=1)

    def classifier(self, x, path, width_in, classes):
        weight = self.parameter(path + ".weight", [classes, width_in], uniform(math.sqrt(1 / width_in)))
        bias = self.parameter(path + ".bias", [classes], filled(0.0))
        return self.node("Gemm", path, [x, weight, bias], transB=1)

    def linear(self, x, path, width_in, width_out, scale=0.02):
        """A linear layer on the last axis of anything; the weight is [in, out]."""
        weight = self.parameter(path + ".weight", [width_in, width_out], normal(scale))
        bias = self.parameter(path + ".bias", [width_out], filled(0.0))
        return self.node("Add", path + ".add", [self.node("MatMul", path + ".matmul", [x, weight]), bias])

    def relu(self, x, path):
        return self.node("Relu", path, [x])

    def relu6(self, x, path):
        return self.node("Clip", path, [x, self.scalar(path + ".min", 0.0), self.scalar(path + ".max", 6.0)])

    def max_pool(self, x, path, kernel, stride, padding=0):
        return self.node("MaxPool", path, [x], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[padding] * 4)

    def pooled(self, x):
        return self.node("Flatten", "flatten", [self.node("GlobalAveragePool", "avgpool", [x])], axis=1)

    def dropout(self, x, path, ratio):
        if not ratio:
            return x
        mode = self.node("Constant", path + ".training_mode", [],
                         value=helper.make_tensor("", TensorProto.BOOL, [], [True]))
        return self.node("Dropout", path, [x, self.scalar(path + ".ratio", ratio), mode])

    def gelu(self, x, path):
        """x/2 (1 + erf(x / sqrt 2)), in the operators that exporters write."""
        inner = self.node("Div", path + ".div", [x, self.scalar(path + ".root2", math.sqrt(2))])
        inner = self.node("Add", path + ".add", [self.node("Erf", path + ".erf", [inner]),
                                                 self.scalar(path + ".one", 1.0)])
        return self.node("Mul", path + ".half_mul", [self.node("Mul", path + ".mul", [x, inner]),
                                                     self.scalar(path + ".half", 0.5)])

    def gelu_tanh(self, x, path):
        """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), GPT-2's."""
        cube = self.node("Pow", path + ".pow", [x, self.scalar(path + ".three", 3.0)])
        cube = self.node("Mul", path + ".mul", [cube, self.scalar(path + ".coefficient", 0.044715)])
        inner = self.node("Add", path + ".add", [x, cube])
        inner = self.node("Mul", path + ".mul_1", [inner, self.scalar(path + ".root", math.sqrt(2 / math.pi))])
        inner = self.node("Add", path + ".add_1", [self.node("Tanh", path + ".tanh", [inner]),
                                                   self.scalar(path + ".one", 1.0)])
        half = self.node("Mul", path + ".half_mul", [x, self.scalar(path + ".half", 0.5)])
        return self.node("Mul", path + ".mul_2", [half, inner])

    def attention(self, x, path, width, heads, names, mask=None, dropout=0.0, scale=0.02):
        """Multi-head self-attention; `names` are those of the linear layers in and out. mask: bool, true where a
        position may look. `scale`: the standard deviation of the last layer's first weights."""
        joined = self.linear(x, f"{path}.{names[0]}", width, 3 * width)
        parts = [f"/{path}/{letter}".replace(".", "/") for letter in "qkv"]
        self.nodes.append(helper.make_node("Split", [joined, self.ints(path + ".split_sizes", [width] * 3)], parts,
                                           name=f"/{path}/split".replace(".", "/"), axis=-1))
        per_head = self.ints(path + ".heads_shape", [0, 0, heads, width // heads])
        query, key, value = (
            self.node("Transpose", f"{path}.{letter}_transpose",
                      [self.node("Reshape", f"{path}.{letter}_reshape", [part, per_head])], perm=order)
            for letter, part, order in zip("qkv", parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])))
        scores = self.node("Mul", path + ".scale", [self.node("MatMul", path + ".scores", [query, key]),
                                                    self.scalar(path + ".factor", math.sqrt(heads / width))])
        if mask is not None:
            scores = self.node("Where", path + ".mask", [mask, scores, self.scalar(path + ".never", -1e9)])
        weights = self.node("Softmax", path + ".softmax", [scores], axis=-1)
        weights = self.dropout(weights, path + ".attn_dropout", dropout)
        mixed = self.node("Transpose", path + ".transpose", [self.node("MatMul", path + ".mix", [weights, value])],
                          perm=[0, 2, 1, 3])
        mixed = self.node("Reshape", path + ".reshape", [mixed, self.ints(path + ".shape", [0, 0, width])])
        return self.linear(mixed, f"{path}.{names[1]}", width, width, scale)

    def finish(self, logits, shape):
        """The model: the last node's result becomes `logits`."""
        assert self.nodes[-1].output[0] == logits
        self.nodes[-1].output[0] = "logits"
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, self.name, self.inputs, [output], sparse_initializer=self.declared)
        model = helper.make_model(graph, producer_name="actnn", ir_version=IR_VERSION,
                                  opset_imports=[helper.make_opsetid("", OPSET)])
        information = model.training_info.add()
        information.initialization.CopyFrom(
            helper.make_graph(self.first_nodes, self.name + "_first_values", [], self.first_outputs))
        information.initialization_binding.extend(self.bindings)
        return model


def image_input(name, channels, image):
    return Builder(name, "image", ["N", channels, image, image])


# ---- models ---------------------------------------------------------------------------------------------------------

def mlp(image=28, channels=1, hidden=512, classes=10):
    b = image_input("mlp", channels, image)
    x = b.node("Flatten", "flatten", [b.input], axis=1)
    x = b.relu(b.gemm(x, "fc1", channels * image * image, hidden), "relu1")
    x = b.relu(b.gemm(x, "fc2", hidden, hidden // 2), "relu2")
    return b.finish(b.classifier(x, "fc3", hidden // 2, classes), ["N", classes])


def lenet5(image=28, channels=1, classes=10):
    b = image_input("lenet5", channels, image)
    x = b.relu(b.conv(b.input, "conv1", channels, 6, 5, padding=2, bias=True), "relu1")
    x = b.max_pool(x, "pool1", 2, 2)
    x = b.relu(b.conv(x, "conv2", 6, 16, 5, bias=True), "relu2")
    x = b.node("Flatten", "flatten", [b.max_pool(x, "pool2", 2, 2)], axis=1)
    x = b.relu(b.gemm(x, "fc1", 16 * ((image // 2 - 4) // 2) ** 2, 120), "relu3")
    x = b.relu(b.gemm(x, "fc2", 120, 84), "relu4")
    return b.finish(b.classifier(x, "fc3", 84, classes), ["N", classes])


def residual_block(b, x, path, channels_in, channels, channels_out, stride):
    """ResNet's block: two 3 x 3 convolutions, or, when it widens, a bottleneck of 1 x 1, 3 x 3, 1 x 1."""
    if channels_out == channels:
        plan = [(channels, 3, stride), (channels, 3, 1)]
    else:
        plan = [(channels, 1, 1), (channels, 3, stride), (channels_out, 1, 1)]
    y, width = x, channels_in
    for index, (channels_next, kernel, step) in enumerate(plan, 1):
        y = b.conv(y, f"{path}.conv{index}", width, channels_next, kernel, step, kernel // 2)
        y = b.batch_norm(y, f"{path}.bn{index}", channels_next)
        if index < len(plan):
            y = b.relu(y, f"{path}.relu{index}")
        width = channels_next
    if stride != 1 or channels_in != channels_out:
        x = b.conv(x, f"{path}.downsample.0", channels_in, channels_out, 1, stride)
        x = b.batch_norm(x, f"{path}.downsample.1", channels_out)
    return b.relu(b.node("Add", path + ".add", [y, x]), f"{path}.relu{len(plan)}")


def resnet(b, x, blocks, channels, expansion, classes):
    """The stages behind the stem; each but the first halves the image and doubles the channels."""
    width = channels
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            x = residual_block(b, x, f"layer{stage + 1}.{block}", width, channels, channels * expansion, stride)
            width = channels * expansion
        channels *= 2
    return b.finish(b.classifier(b.pooled(x), "fc", width, classes), ["N", classes])


def resnet_small(name, image, image_channels, width, blocks, classes):
    """With the stem for small images: one 3 x 3 convolution and no pooling."""
    b = image_input(name, image_channels, image)
    x = b.batch_norm(b.conv(b.input, "conv1", image_channels, width, 3, padding=1), "bn1", width)
    return resnet(b, b.relu(x, "relu"), blocks, width, 1, classes)


def resnet20(image=28, channels=1, width=16, classes=10):
    return resnet_small("resnet20", image, channels, width, [3, 3, 3], classes)


def resnet18(image=32, channels=3, width=64, classes=10):
    return resnet_small("resnet18", image, channels, width, [2, 2, 2, 2], classes)


def resnet50(image=224, channels=3, width=64, classes=1000):
    b = image_input("resnet50", channels, image)
    x = b.relu(b.batch_norm(b.conv(b.input, "conv1", channels, width, 7, 2, 3), "bn1", width), "relu")
    return resnet(b, b.max_pool(x, "maxpool", 3, 2, 1), [3, 4, 6, 3], width, 4, classes)


def vgg16(image=224, channels=3, width=64, hidden=4096, classes=1000, dropout=0.5):
    b = image_input("vgg16", channels, image)
    x, channels_in, index = b.input, channels, 0
    for count, channels_out in ((2, width), (2, 2 * width), (3, 4 * width), (3, 8 * width), (3, 8 * width)):
        for _ in range(count):
            x = b.conv(x, f"features.{index}", channels_in, channels_out, 3, padding=1, bias=True)
            x = b.relu(x, f"features.{index + 1}")
            channels_in, index = channels_out, index + 2
        x = b.max_pool(x, f"features.{index}", 2, 2)
        index += 1
    x = b.node("Flatten", "flatten", [x], axis=1)
    x = b.relu(b.gemm(x, "classifier.0", channels_in * (image // 32) ** 2, hidden), "classifier.1")
    x = b.dropout(x, "classifier.2", dropout)
    x = b.dropout(b.relu(b.gemm(x, "classifier.3", hidden, hidden), "classifier.4"), "classifier.5", dropout)
    return b.finish(b.classifier(x, "classifier.6", hidden, classes), ["N", classes])


def mobilenetv2(image=224, channels=3, multiplier=1.0, classes=1000, dropout=0.2):
    b = image_input("mobilenetv2", channels, image)

    def scaled(channels):
        return max(8, int(channels * multiplier + 4) // 8 * 8)

    def conv_norm(x, path, channels_in, channels_out, kernel, stride=1, groups=1, active=True):
        x = b.conv(x, path + ".0", channels_in, channels_out, kernel, stride, kernel // 2, groups)
        x = b.batch_norm(x, path + ".1", channels_out)
        return b.relu6(x, path + ".2") if active else x

    x, width, index = conv_norm(b.input, "features.0", channels, scaled(32), 3, 2), scaled(32), 1
    for expansion, channels_out, count, first_stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                                         (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        channels_out = scaled(channels_out)
        for block in range(count):
            path, stride, y, hidden = f"features.{index}", first_stride if block == 0 else 1, x, width * expansion
            if expansion != 1:
                y = conv_norm(y, path + ".expand", width, hidden, 1)
            y = conv_norm(y, path + ".depthwise", hidden, hidden, 3, stride, groups=hidden)
            y = conv_norm(y, path + ".project", hidden, channels_out, 1, active=False)
            x = b.node("Add", path + ".add", [x, y]) if stride == 1 and width == channels_out else y
            width, index = channels_out, index + 1
    last = scaled(1280)
    x = b.dropout(b.pooled(conv_norm(x, f"features.{index}", width, last, 1)), "classifier.0", dropout)
    return b.finish(b.classifier(x, "classifier.1", last, classes), ["N", classes])


def densenet121(image=224, channels=3, classes=1000, growth=32):
    b = image_input("densenet121", channels, image)

    def norm_relu_conv(x, path, index, channels_in, channels_out, kernel):
        x = b.relu(b.batch_norm(x, f"{path}.norm{index}", channels_in), f"{path}.relu{index}")
        return b.conv(x, f"{path}.conv{index}", channels_in, channels_out, kernel, padding=kernel // 2)

    x = b.conv(b.input, "features.conv0", channels, 2 * growth, 7, 2, 3)
    x = b.relu(b.batch_norm(x, "features.norm0", 2 * growth), "features.relu0")
    x, width = b.max_pool(x, "features.pool0", 3, 2, 1), 2 * growth
    for block, count in enumerate((6, 12, 24, 16), 1):
        for layer in range(1, count + 1):
            path = f"features.denseblock{block}.denselayer{layer}"
            y = norm_relu_conv(x, path, 1, width, 4 * growth, 1)
            y = norm_relu_conv(y, path, 2, 4 * growth, growth, 3)
            x, width = b.node("Concat", path + ".concat", [x, y], axis=1), width + growth
        if block < 4:
            path = f"features.transition{block}"
            x, width = norm_relu_conv(x, path, "", width, width // 2, 1), width // 2
            x = b.node("AveragePool", path + ".pool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = b.relu(b.batch_norm(x, "features.norm5", width), "relu")
    return b.finish(b.classifier(b.pooled(x), "classifier", width, classes), ["N", classes])


def unet(image=128, channels=3, width=32, depth=4, classes=21):
    b = image_input("unet", channels, image)

    def double_conv(x, path, channels_in, channels_out):
        for index, channels_before in ((1, channels_in), (2, channels_out)):
            x = b.conv(x, f"{path}.conv{index}", channels_before, channels_out, 3, padding=1)
            x = b.relu(b.batch_norm(x, f"{path}.bn{index}", channels_out), f"{path}.relu{index}")
        return x

    x, skipped = double_conv(b.input, "down0", channels, width), []
    for level in range(1, depth + 1):
        skipped.append(x)
        x = b.max_pool(x, f"down{level}.pool", 2, 2)
        x = double_conv(x, f"down{level}", width << level - 1, width << level)
    for level in reversed(range(depth)):
        x = b.upsample(x, f"up{level}.upsample", width << level + 1, width << level)
        x = b.node("Concat", f"up{level}.concat", [skipped[level], x], axis=1)
        x = double_conv(x, f"up{level}", width << level + 1, width << level)
    return b.finish(b.conv(x, "head", width, classes, 1, bias=True), ["N", classes, image, image])


def causal_transformer(name, layers, width, heads, context, vocabulary, dropout):
    """GPT-2: norms before, learned positions, GELU by tanh, and the token table once more as the last layer."""
    b = Builder(name, "tokens", ["N", "T"], TensorProto.INT64)
    length = b.node("Shape", "length", [b.input], start=1, end=2)
    every = b.ints("all_positions", list(range(context)))
    positions = b.node("Slice", "positions", [every, b.ints("start", [0]), length, b.ints("axis", [0])])
    column = b.node("Unsqueeze", "position_column", [positions, b.ints("last_axis", [1])])
    mask = b.node("LessOrEqual", "causal_mask", [positions, column])

    table = b.parameter("wte.weight", [vocabulary, width], normal(0.02))
    x = b.node("Gather", "wte", [table, b.input])
    x = b.node("Add", "embedding", [x, b.node("Gather", "wpe", [
        b.parameter("wpe.weight", [context, width], normal(0.01)), positions])])
    x = b.dropout(x, "drop", dropout)
    residual_scale = 0.02 / math.sqrt(2 * layers)
    for layer in range(layers):
        path = f"h.{layer}"
        y = b.attention(b.layer_norm(x, path + ".ln_1", width, 1e-5), path + ".attn", width, heads,
                        ("c_attn", "c_proj"), mask, dropout, residual_scale)
        x = b.node("Add", path + ".add_1", [x, b.dropout(y, path + ".attn.dropout", dropout)])
        y = b.linear(b.layer_norm(x, path + ".ln_2", width, 1e-5), path + ".mlp.c_fc", width, 4 * width)
        y = b.linear(b.gelu_tanh(y, path + ".mlp.act"), path + ".mlp.c_proj", 4 * width, width, residual_scale)
        x = b.node("Add", path + ".add_2", [x, b.dropout(y, path + ".mlp.dropout", dropout)])
    x = b.layer_norm(x, "ln_f", width, 1e-5)
    x = b.node("MatMul", "lm_head", [x, b.node("Transpose", "wte_transpose", [table], perm=[1, 0])])
    return b.finish(x, ["N", "T", vocabulary])


def gpt2(layers=12, width=768, heads=12, context=1024, vocabulary=50257, dropout=0.1):
    return causal_transformer("gpt2", layers, width, heads, context, vocabulary, dropout)


def decoder(layers=3, width=128, heads=4, context=128, vocabulary=256, dropout=0.0):
    return causal_transformer("decoder", layers, width, heads, context, vocabulary, dropout)


def vit_tiny(image=224, channels=3, patch=16, layers=12, width=192, heads=3, classes=1000):
    b = image_input("vit_tiny", channels, image)
    x = b.conv(b.input, "patch_embed.proj", channels, width, patch, patch, bias=True)
    x = b.node("Reshape", "patch_embed.flatten", [x, b.ints("patch_embed.shape", [0, width, -1])])
    x = b.node("Transpose", "patch_embed.transpose", [x], perm=[0, 2, 1])
    batch = b.node("Shape", "batch", [b.input], start=0, end=1)
    shape = b.node("Concat", "cls_shape", [batch, b.ints("cls_rest", [1, width])], axis=0)
    token = b.node("Expand", "cls_expand", [b.parameter("cls_token", [1, 1, width], normal(0.02)), shape])
    x = b.node("Concat", "with_cls", [token, x], axis=1)
    places = b.parameter("pos_embed", [1, (image // patch) ** 2 + 1, width], normal(0.02))
    x = b.node("Add", "embedding", [x, places])
    for layer in range(layers):
        path = f"blocks.{layer}"
        y = b.attention(b.layer_norm(x, path + ".norm1", width, 1e-6), path + ".attn", width, heads, ("qkv", "proj"))
        x = b.node("Add", path + ".add_1", [x, y])
        y = b.linear(b.layer_norm(x, path + ".norm2", width, 1e-6), path + ".mlp.fc1", width, 4 * width)
        y = b.linear(b.gelu(y, path + ".mlp.act"), path + ".mlp.fc2", 4 * width, width)
        x = b.node("Add", path + ".add_2", [x, y])
    index = b.node("Constant", "cls_index", [], value=helper.make_tensor("", TensorProto.INT64, [], [0]))
    x = b.node("Gather", "cls", [b.layer_norm(x, "norm", width, 1e-6), index], axis=1)
    return b.finish(b.classifier(x, "head", width, classes), ["N", classes])


ZOO = {"mlp": mlp, "lenet5": lenet5, "resnet20": resnet20, "resnet18": resnet18, "resnet50": resnet50, "vgg16": vgg16,
       "mobilenetv2": mobilenetv2, "densenet121": densenet121, "unet": unet, "gpt2": gpt2, "decoder": decoder,
       "vit-tiny": vit_tiny}


# ---- command line ---------------------------------------------------------------------------------------------------

def check(model):
    """Both graphs pass onnx's checker, and shape inference. For the latter the parameters are made inputs: onnx's own
    inference takes a sparse initializer for a sparse tensor, where the specification means a way of storing."""
    onnx.checker.check_model(model)
    dense = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in model.graph.sparse_initializer:
        dense.graph.input.append(helper.make_tensor_value_info(tensor.values.name, TensorProto.FLOAT, tensor.dims))
    del dense.graph.sparse_initializer[:], dense.training_info[:]
    first = helper.make_model(model.training_info[0].initialization, ir_version=IR_VERSION,
                              opset_imports=model.opset_import)
    for part in dense, first:
        onnx.checker.check_model(part)
        onnx.shape_inference.infer_shapes(part, check_type=True, strict_mode=True, data_prop=True)


def build(request):
    """NAME or NAME:key=value,... -> (name, model)."""
    name, _, options = request.partition(":")
    if name not in ZOO:
        raise SystemExit(f"make_zoo.py: no model called {name}; there are: {' '.join(ZOO)}")
    known = inspect.signature(ZOO[name]).parameters
    arguments = {}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key not in known:
            raise SystemExit(f"make_zoo.py: {name} has no option {key}; it has: {' '.join(known)}")
        arguments[key] = type(known[key].default)(value)
    model = ZOO[name](**arguments)
    check(model)
    return name, model


def main():
    parser = argparse.ArgumentParser(description="Writes the models of the zoo.")
    parser.add_argument("models", nargs="*", metavar="NAME[:key=value,...]", help="default: all of them")
    parser.add_argument("--directory", default=os.path.dirname(os.path.abspath(__file__)), help="where to write")
    parser.add_argument("--list", action="store_true", help="print the names and their options")
    arguments = parser.parse_args()
    if arguments.list:
        for name, function in ZOO.items():
            print(name, *(f"{key}={value.default}" for key, value in inspect.signature(function).parameters.items()))
        return
    for request in arguments.models or ZOO:
        name, model = build(request)
        path = os.path.join(arguments.directory, name + ".onnx")
        with open(path + ".tmp", "wb") as file:
            file.write(model.SerializeToString(deterministic=True))
        os.replace(path + ".tmp", path)
        declared = model.graph.sparse_initializer
        print(f"{name}.onnx: {os.path.getsize(path):,} bytes, {len(model.graph.node)} nodes, "
              f"{sum(math.prod(tensor.dims) for tensor in declared):,} values in {len(declared)} initializers")


if __name__ == "__main__":
    main()
