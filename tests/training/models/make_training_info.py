#!/usr/bin/env python3
"""make_training_info.py: models that say themselves how they are trained, and what they must become.

    python3 make_training_info.py        # needs onnx and numpy; writes the models of ALGORITHMS here,
                                         # the data they are trained on, and NAME.expected.txt

Two Gemm with Tanh between, a softmax cross-entropy loss, and a TrainingInfoProto whose algorithm is Gradient followed by
one node of ai.onnx.preview.training for all four parameters. The expected weights are those after three steps, computed here
in NumPy's float64 from the formulas of the standard, one number a line in the order of the parameters.
"""
import os

import numpy
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
PREVIEW = "ai.onnx.preview.training"
SAMPLES, WIDTH, HIDDEN, CLASSES, STEPS = 6, 5, 4, 3, 3
PARAMETERS = ["w1", "b1", "w2", "b2"]
RATE = 0.1

random = numpy.random.default_rng(20)
FIRST = {
    "w1": random.normal(size=(WIDTH, HIDDEN)).astype(numpy.float32),
    "b1": random.normal(size=HIDDEN).astype(numpy.float32),
    "w2": random.normal(size=(HIDDEN, CLASSES)).astype(numpy.float32),
    "b2": random.normal(size=CLASSES).astype(numpy.float32),
}
DATA = random.normal(size=(SAMPLES, WIDTH)).astype(numpy.float32)
LABELS = random.integers(0, CLASSES, size=SAMPLES).astype(numpy.int64)
ALGORITHMS = {
    "momentum": ("Momentum", 1, {"alpha": 0.9, "beta": 0.7, "norm_coefficient": 0.01, "mode": "standard"}),
    "nesterov": ("Momentum", 1, {"alpha": 0.9, "beta": 1.0, "norm_coefficient": 0.0, "mode": "nesterov"}),
    "adam": ("Adam", 2, {"alpha": 0.9, "beta": 0.99, "epsilon": 1e-5, "norm_coefficient": 0.02,
                         "norm_coefficient_post": 0.01}),
    "adagrad": ("Adagrad", 1, {"epsilon": 1e-6, "decay_factor": 0.1, "norm_coefficient": 0.01}),
}


def gradients(w):
    """Of the mean cross-entropy, in float64."""
    x = DATA.astype(float)
    hidden = numpy.tanh(x @ w["w1"] + w["b1"])
    logits = hidden @ w["w2"] + w["b2"]
    shares = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[numpy.arange(SAMPLES), LABELS] -= 1
    shares /= SAMPLES
    back = shares @ w["w2"].T * (1 - hidden * hidden)
    return {"w1": x.T @ back, "b1": back.sum(0), "w2": hidden.T @ shares, "b2": shares.sum(0)}


def updated(operator, a, x, g, states, t):
    """One tensor after one step, as the standard's text says."""
    g = g + a["norm_coefficient"] * x
    if operator == "Momentum":
        beta = a["beta"] if t > 0 else 1
        v = a["alpha"] * states[0] + beta * g
        return x - RATE * (g + a["alpha"] * v if a["mode"] == "nesterov" else v), [v]
    if operator == "Adam":
        v = a["alpha"] * states[0] + (1 - a["alpha"]) * g
        h = a["beta"] * states[1] + (1 - a["beta"]) * g * g
        rate = RATE * numpy.sqrt(1 - a["beta"] ** t) / (1 - a["alpha"] ** t) if t > 0 else RATE
        return (1 - a["norm_coefficient_post"]) * (x - rate * v / (numpy.sqrt(h) + a["epsilon"])), [v, h]
    h = states[0] + g * g
    return x - RATE / (1 + t * a["decay_factor"]) * g / (numpy.sqrt(h) + a["epsilon"]), [h]


def expected(operator, state_count, attributes):
    w = {name: value.astype(float) for name, value in FIRST.items()}
    states = {name: [numpy.zeros_like(w[name]) for _ in range(state_count)] for name in PARAMETERS}
    for t in range(STEPS):
        g = gradients(w)
        for name in PARAMETERS:
            w[name], states[name] = updated(operator, attributes, w[name], g[name], states[name], t)
    return numpy.concatenate([w[name].ravel() for name in PARAMETERS])


def model(operator, state_count, attributes):
    tensor = numpy_helper.from_array
    forward = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Tanh", ["h"], ["a"]),
        helper.make_node("Gemm", ["a", "w2", "b2"], ["logits"]),
        helper.make_node("SoftmaxCrossEntropyLoss", ["logits", "labels"], ["loss"]),
    ]
    weights = [tensor(FIRST[name], name) for name in PARAMETERS]
    graph = helper.make_graph(
        forward, "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", WIDTH]),
         helper.make_tensor_value_info("labels", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES]),
         helper.make_tensor_value_info("loss", TensorProto.FLOAT, [])], weights)
    states = [f"{name}.state{k}" for k in range(state_count) for name in PARAMETERS]
    shapes = [FIRST[name] for _ in range(state_count) for name in PARAMETERS]
    results = [name + ".next" for name in PARAMETERS + states]
    algorithm = helper.make_graph(
        [helper.make_node("Gradient", PARAMETERS + ["x"], [name + ".gradient" for name in PARAMETERS],
                          domain=PREVIEW, xs=PARAMETERS, zs=["x"], y="loss"),
         helper.make_node(operator, ["rate", "step"] + PARAMETERS + [name + ".gradient" for name in PARAMETERS] + states,
                          results, domain=PREVIEW, **attributes),
         helper.make_node("Add", ["step", "one"], ["step.next"])],
        "algorithm", [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results]
        + [helper.make_tensor_value_info("step.next", TensorProto.INT64, [])],
        [tensor(numpy.array(RATE, numpy.float32), "rate"), tensor(numpy.array(0, numpy.int64), "step"),
         tensor(numpy.array(1, numpy.int64), "one")]
        + [tensor(numpy.zeros_like(value), name) for name, value in zip(states, shapes)])
    bindings = list(zip(PARAMETERS + states + ["step"], results + ["step.next"]))
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(PREVIEW, 1)])
    made.training_info.append(helper.make_training_info(algorithm, bindings, None, None))
    return made


def main():
    numpy.save(os.path.join(HERE, "training_info.x.npy"), DATA)
    numpy.save(os.path.join(HERE, "training_info.labels.npy"), LABELS)
    for name, (operator, state_count, attributes) in ALGORITHMS.items():
        with open(os.path.join(HERE, name + ".onnx"), "wb") as file:
            file.write(model(operator, state_count, attributes).SerializeToString(deterministic=True))
        numpy.savetxt(os.path.join(HERE, name + ".expected.txt"), expected(operator, state_count, attributes), "%.9e")


if __name__ == "__main__":
    main()
