"""A hand-made ResNet-9 trained by a plain loop for a given time, to judge searches and the trainer.

    python benchmarks/handmade.py --data cifar10:DIR --seconds 600 --width 16 --seed 0

All training images, nothing selected: one cycle of Nesterov SGD, images that grow from half of
their side, shifts, mirrors in colour, bfloat16 as in nasgen. Prints test accuracies, of views too.
"""

import argparse
import json
import math
import time

import torch
from torch import Tensor, nn

from nasgen.data.base import load
from nasgen.evaluation.precision import MIN_SIDE, is_fast

BATCH, PEAK, WARMUP, DECAY, SMOOTHING, FULL_FROM = 128, 0.1, 0.2, 5e-4, 0.1, 0.7


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def conv(n_in: int, n_out: int, *pool: nn.Module) -> nn.Sequential:
    convolution = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU(), *pool)


def shifted(x: Tensor, dy: Tensor, dx: Tensor, most: int) -> Tensor:
    windows = nn.functional.pad(x, (most,) * 4).unfold(2, x.shape[2], 1).unfold(3, x.shape[3], 1)
    return windows[torch.arange(len(x)), :, dy + most, dx + most]


parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
for name, default in {"data": "digits", "seconds": 60.0, "width": 16, "seed": 0}.items():
    parser.add_argument(f"--{name}", type=type(default), default=default)
given = parser.parse_args()
began, data, pool = time.perf_counter(), load(given.data), nn.MaxPool2d(2)
torch.manual_seed(given.seed)
x, y = torch.from_numpy(data.inputs["x"]), torch.from_numpy(data.targets)
mean, scale = x.float().mean((0, 2, 3), True), x.float().std((0, 2, 3), keepdim=True)
colour, side, crop = x.shape[1] == 3, x.shape[-1], x.shape[-1] // 16 if x.shape[-1] >= 16 else 0
a, b, c, d = (given.width * factor for factor in (1, 2, 4, 8))
end = [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(d, int(y.max()) + 1)]
first = [conv(x.shape[1], a), conv(a, b, pool), Residual(conv(b, b), conv(b, b))]
then = [conv(b, c, pool), conv(c, d, pool), Residual(conv(d, d), conv(d, d))]
net = nn.Sequential(*first, *then, *end).to(memory_format=torch.channels_last)
half = torch.autocast("cpu", torch.bfloat16, enabled=is_fast(x.device) and side >= MIN_SIDE)
answers = half(lambda x: net(x.contiguous(memory_format=torch.channels_last)).float())
sgd = torch.optim.SGD(net.parameters(), PEAK, 0.9, weight_decay=DECAY, nesterov=True, fused=True)
n_batch, n_seen, order, right = max(16, min(BATCH, len(x) // 32)), 0, torch.tensor([]), 0
while (progress := (time.perf_counter() - began) / given.seconds) < 1:
    rows, order = (order if len(order) else torch.randperm(len(x))).tensor_split([n_batch])
    n_seen += len(rows)
    fall = (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP))) / 2
    sgd.param_groups[0]["lr"] = PEAK * (fall if progress > WARMUP else progress / WARMUP)
    batch = shifted((x[rows] - mean) / scale, *torch.randint(-crop, crop + 1, (2, len(rows))), crop)
    batch = torch.where((torch.rand(len(rows), 1, 1, 1) < 0.5) & colour, batch.flip(3), batch)
    small = 4 * round(side * (0.5 + 0.5 * progress / FULL_FROM) / 4)
    if 12 <= small < side:
        batch = nn.functional.interpolate(batch, size=small, mode="bilinear")
    loss = nn.functional.cross_entropy(answers(batch), y[rows], label_smoothing=SMOOTHING)
    sgd.zero_grad()
    loss.backward()
    sgd.step()
net.eval().requires_grad_(False)
x_test, y_test = torch.from_numpy(data.inputs_test["x"]), torch.from_numpy(data.targets_test)
for rows in torch.arange(len(y_test)).split(500):
    plain = (x_test[rows] - mean) / scale
    views = [shifted(plain, *torch.full((2, len(rows)), by), 1) for by in (0, -1, 1)]
    views += [view.flip(3) for view in views if colour]
    found = torch.stack([answers(view).softmax(1) for view in views])
    right = right + (torch.stack([found[0], found.sum(0)]).argmax(2) == y_test[rows]).sum(1)
one, six = (right.double() / len(y_test)).tolist()
found = {"test_accuracy": one, "test_accuracy_views": six, "epochs": n_seen / len(x)}
print(json.dumps(vars(given) | found | {"n_params": sum(p.numel() for p in net.parameters())}))
