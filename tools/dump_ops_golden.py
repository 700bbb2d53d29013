#!/usr/bin/env python3
"""Writes tests/golden/ops/*.json: inputs, outputs and gradients of elementary operators as PyTorch computes them in f64.

    /opt/venv/bin/python tools/dump_ops_golden.py

Each file is a list of cases {"attributes", "inputs", "outputs"}; tensors are {"shape", "values"} (integers where all are). "dy" is the gradient
given to the output "y", and "d<input>" what comes back for an input. Images are stored with channels last.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "ops"


def random(*shape, scale=1.0, shift=0.0):
    """Values that survive printing: multiples of 1/1024."""
    return (torch.randn(shape, dtype=torch.float64) * scale * 1024).round() / 1024 + shift


def stored(tensor):
    if tensor.dtype == torch.int64:
        values = tensor.flatten().tolist()
    else:
        values = [float(f"{v:.9g}") for v in tensor.detach().flatten().tolist()]
    return {"shape": list(tensor.shape), "values": values}


def case(function, inputs, **attributes):
    """Runs function(*inputs) with gradients for every floating-point input."""
    leaves = {k: v.clone().requires_grad_() if v.is_floating_point() else v for k, v in inputs.items()}
    y = function(*leaves.values())
    dy = random(*y.shape)
    y.backward(dy)
    outputs = {"y": stored(y), "dy": stored(dy)}
    outputs |= {"d" + k: stored(v.grad) for k, v in leaves.items() if v.is_floating_point()}
    return {"attributes": attributes, "inputs": {k: stored(v) for k, v in inputs.items()}, "outputs": outputs}


def write(name, cases):
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    (FOLDER / f"{name}.json").write_text(f"[\n{text}\n]\n")


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def activations():
    functions = {
        "relu": F.relu, "relu6": F.relu6, "silu": F.silu, "gelu": F.gelu, "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "sigmoid": torch.sigmoid, "tanh": torch.tanh,
    }
    x = torch.linspace(-9.03, 9.01, 37, dtype=torch.float64)
    return [case(f, {"x": x}, act=name) for name, f in functions.items()]


def softmaxes():
    x = random(3, 11, scale=3.0)
    return [case(lambda x: F.softmax(x, -1), {"x": x}, log=False), case(lambda x: F.log_softmax(x, -1), {"x": x}, log=True)]


def norms():
    x, image = random(2, 3, 10, scale=2.0, shift=0.5), random(2, 3, 4, 6, scale=2.0, shift=0.5)
    gamma, beta = random(10, shift=1.0), random(10)
    channel_gamma, channel_beta = random(6, shift=1.0), random(6)
    cases = [
        case(lambda x, gamma, beta: F.layer_norm(x, (10,), gamma, beta, 1e-3), {"x": x, "gamma": gamma, "beta": beta}, op="layer", eps=1e-3),
        case(lambda x, gamma: F.rms_norm(x, (10,), gamma, 1e-3), {"x": x, "gamma": gamma}, op="rms", eps=1e-3),
        case(lambda x: F.normalize(x, dim=-1), {"x": x}, op="l2", eps=1e-12),
        case(lambda x, gamma, beta: nhwc(F.group_norm(nchw(x), 3, gamma, beta, 1e-3)),
             {"x": image, "gamma": channel_gamma, "beta": channel_beta}, op="group", groups=3, eps=1e-3),
    ]
    for training in (True, False):
        mean, variance = random(6), random(6).abs() + 0.5
        before = {"running_mean": stored(mean), "running_variance": stored(variance)}
        c = case(lambda x, gamma, beta: nhwc(F.batch_norm(nchw(x), mean, variance, gamma, beta, training, 0.2, 1e-3)),
                 {"x": image, "gamma": channel_gamma, "beta": channel_beta}, op="batch", training=training, momentum=0.2, eps=1e-3)
        c["inputs"] |= before
        c["outputs"] |= {"running_mean": stored(mean), "running_variance": stored(variance)}
        cases.append(c)
    return cases


def pools():
    cases = []
    for kernel, stride, padding, ceil_mode, include in (((2, 2), (2, 2), (0, 0), False, True), ((3, 2), (2, 1), (1, 0), False, True),
                                                        ((3, 3), (2, 2), (1, 1), True, True), ((3, 3), (2, 2), (1, 1), True, False),
                                                        ((2, 3), (3, 3), (0, 1), True, True)):
        attributes = dict(kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode, count_include_pad=include)
        x = random(2, 7, 8, 3)
        cases.append(case(lambda x: nhwc(F.avg_pool2d(nchw(x), kernel, stride, padding, ceil_mode, include)), {"x": x}, op="avg", **attributes))
        if include:
            cases.append(case(lambda x: nhwc(F.max_pool2d(nchw(x), kernel, stride, padding, 1, ceil_mode)), {"x": x}, op="max", **attributes))
    for size in ((3, 5), (9, 2)):
        cases.append(case(lambda x: nhwc(F.adaptive_avg_pool2d(nchw(x), size)), {"x": random(1, 7, 8, 3)}, op="adaptive", size=size))
    return cases


def resizes():
    cases = []
    for mode in ("bilinear", "bicubic"):
        for align, antialias in ((False, False), (True, False), (False, True)):
            for size in ((9, 11), (3, 4), (5, 2)):
                cases.append(case(
                    lambda x: nhwc(F.interpolate(nchw(x), size, mode=mode, align_corners=align, antialias=antialias)),
                    {"x": random(1, 5, 7, 2)}, mode=mode, align_corners=align, antialias=antialias, size=size))
    return cases


def losses():
    cases = []
    for smoothing in (0.0, 0.1):
        labels = torch.tensor([3, -100, 0, 6, 2])
        cases.append(case(lambda logits, labels: F.cross_entropy(logits, labels, label_smoothing=smoothing),
                          {"logits": random(5, 7, scale=3.0), "labels": labels}, label_smoothing=smoothing))
    return cases


def clip_loss(logits, smoothing):
    """transformers, models/clip/modeling_clip.py: clip_loss"""
    index = torch.arange(len(logits))
    return (F.cross_entropy(logits, index, label_smoothing=smoothing) + F.cross_entropy(logits.t(), index, label_smoothing=smoothing)) / 2


def siglip_loss(logits):
    """transformers, models/siglip/modeling_siglip.py: SiglipModel.forward"""
    sign = 2 * torch.eye(len(logits), dtype=logits.dtype) - 1
    return -F.logsigmoid(sign * logits).sum(-1).mean()


def max_of_hinges(scores, margin, hardest):
    """fartashf/vsepp, model.py: ContrastiveLoss"""
    diagonal = scores.diag().view(-1, 1)
    mask = torch.eye(len(scores), dtype=torch.bool)
    rows = (margin + scores - diagonal).clamp(min=0).masked_fill(mask, 0)
    columns = (margin + scores - diagonal.t()).clamp(min=0).masked_fill(mask, 0)
    if hardest:
        rows, columns = rows.max(1)[0], columns.max(0)[0]
    return rows.sum() + columns.sum()


def distillation(student, teacher, t):
    return F.kl_div(F.log_softmax(student / t, -1), F.log_softmax(teacher / t, -1), reduction="batchmean", log_target=True) * t * t


def pair_losses():
    cases = []
    for n, scale in ((5, 3.0), (1, 1.0), (4, 60.0)):
        logits = random(n, n, scale=scale)
        logits[0, 0] = 0.0
        for smoothing in (0.0, 0.1):
            cases.append(case(lambda x: clip_loss(x, smoothing), {"x": logits}, op="contrastive", label_smoothing=smoothing))
        cases.append(case(siglip_loss, {"x": logits}, op="sigmoid_contrastive"))
    for hardest in (True, False):
        cases.append(case(lambda x: max_of_hinges(x, 0.2, hardest), {"x": random(6, 6, scale=0.3)}, op="max_of_hinges", margin=0.2, hardest=hardest))
    x, target = random(3, 4), random(3, 4)
    x[0, 0] = target[0, 0]
    cases.append(case(F.mse_loss, {"x": x, "target": target}, op="mse"))
    for beta in (1.0, 0.25):
        cases.append(case(lambda x, target: F.smooth_l1_loss(x, target, beta=beta), {"x": x, "target": target}, op="smooth_l1", beta=beta))
    logits = random(3, 4, scale=30.0)
    logits[1, 1] = 0.0
    cases.append(case(F.binary_cross_entropy_with_logits, {"x": logits, "target": random(3, 4).sigmoid()}, op="bce"))
    for t in (1.0, 2.5):
        pair = {"x": random(4, 4, scale=3.0), "target": random(4, 4, scale=3.0)}
        cases.append(case(lambda x, target: distillation(x, target, t), pair, op="distillation", temperature=t))
        cases.append(case(lambda x, target: (distillation(x, target, t) + distillation(x.t(), target.t(), t)) / 2, pair, op="affinity", temperature=t))
    return cases


def reductions():
    x = random(2, 3, 4, 5)
    cases = []
    for axes in ((0,), (1,), (3,), (1, 2), (0, 3), (0, 2, 3), (0, 1, 2, 3)):
        for name, function in (("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax)):
            cases.append(case(lambda x: function(x, dim=axes), {"x": x}, op=name, axes=axes))
    return cases


def main():
    torch.manual_seed(20)
    for group in (activations, softmaxes, norms, pools, resizes, losses, reductions, pair_losses):
        write(group.__name__, group())


if __name__ == "__main__":
    main()
