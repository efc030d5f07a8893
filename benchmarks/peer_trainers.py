"""The trainers of torchgan, torch-mimicry and vegans for one DCGAN, each with the shims that a current torch needs.

A maker is given the images and the options of ``peers.py``, and returns a function that trains on every batch once.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import types
from collections.abc import Callable
from typing import Any

SHAPE, LATENT, LR, BETAS = (1, 28, 28), 64, 1e-3, (0.5, 0.999)


def networks(options: argparse.Namespace) -> tuple[Any, Any]:
    """DCGAN's networks as a user of the peers would write them: in contiguous layout."""
    import torch

    from ganbench.toolkit import convolutional_discriminator, convolutional_generator

    torch.manual_seed(0)
    g = convolutional_generator(SHAPE, LATENT, options.width)
    d = convolutional_discriminator(SHAPE, options.width, batch_norm=True)
    return g.to(memory_format=torch.contiguous_format), d.to(memory_format=torch.contiguous_format)


def scaled(images: Any) -> Any:
    return images.float() / 127.5 - 1


def loader(images: Any, options: argparse.Namespace) -> Any:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    rows = scaled(images)
    dataset = TensorDataset(rows, torch.zeros(len(rows), dtype=torch.int64))
    return DataLoader(dataset, options.batch_size, shuffle=True, drop_last=True)


def torchgan(images: Any, options: argparse.Namespace) -> Callable[[], Any]:
    import torch
    import torchvision

    original = torchvision.utils.make_grid
    torchvision.utils.make_grid = lambda *a, range=None, **kw: original(*a, value_range=range, **kw)
    from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
    from torchgan.models import Discriminator, Generator
    from torchgan.trainer import Trainer

    networks_ = networks(options)

    class G(Generator):
        def __init__(self) -> None:
            super().__init__(LATENT)
            self.model = networks_[0]

        def forward(self, x: Any) -> Any:
            return self.model(x)

    class D(Discriminator):
        def __init__(self) -> None:
            super().__init__(SHAPE[0])
            self.model = networks_[1]

        def forward(self, x: Any) -> Any:
            return self.model(x)

    adam = {"name": torch.optim.Adam, "args": {"lr": LR, "betas": BETAS}}
    models = {"generator": {"name": G, "optimizer": adam}, "discriminator": {"name": D, "optimizer": adam}}
    folder = tempfile.mkdtemp()
    losses = [MinimaxGeneratorLoss(), MinimaxDiscriminatorLoss()]
    places = {"checkpoints": f"{folder}/model", "recon": f"{folder}/images", "log_dir": f"{folder}/logs"}
    trainer = Trainer(models, losses, device=torch.device("cpu"), epochs=1, sample_size=64, **places)
    batches = loader(images, options)

    def turn() -> None:
        trainer.start_epoch, trainer.epochs = 0, 1
        trainer(batches)

    return turn


def mimicry(images: Any, options: argparse.Namespace) -> Callable[[], Any]:
    import torch
    import torch._dynamo  # looks at every module that is there, and must not find these

    class Anything(types.ModuleType):
        __path__: list[str] = []

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return Anything(f"{self.__name__}.{name}")

        def __call__(self, *a: Any, **kw: Any) -> Any:
            return self

    names = ("tensorflow", "tensorflow.compat", "tensorflow.compat.v1", "tensorflow.python", "tensorflow.python.ops")
    for name in names:
        sys.modules.setdefault(name, Anything(name))
    six: Any = types.ModuleType("torch._six")
    six.inf, six.string_classes, six.PY3 = math.inf, (str, bytes), True
    sys.modules.setdefault("torch._six", six)
    from torch_mimicry.nets.gan import gan
    from torch_mimicry.training import Trainer

    networks_ = networks(options)

    class G(gan.BaseGenerator):
        def __init__(self) -> None:
            super().__init__(nz=LATENT, ngf=options.width, bottom_width=7, loss_type="gan")
            self.model = networks_[0]

        def forward(self, x: Any) -> Any:
            return self.model(x)

    class D(gan.BaseDiscriminator):
        def __init__(self) -> None:
            super().__init__(ndf=options.width, loss_type="gan")
            self.model = networks_[1]

        def forward(self, x: Any) -> Any:
            return self.model(x)

    g, d = G(), D()
    of_g, of_d = (torch.optim.Adam(network.parameters(), lr=LR, betas=BETAS) for network in (g, d))
    batches = loader(images, options)

    def turn() -> None:
        settings = {"log_dir": tempfile.mkdtemp(), "n_dis": 1, "lr_decay": None, "device": torch.device("cpu")}
        Trainer(d, g, of_d, of_g, batches, options.batches, **settings).train()

    return turn


def vegans(images: Any, options: argparse.Namespace) -> Callable[[], Any]:
    from torch.utils.data import dataloader

    dataloader._BaseDataLoaderIter.next = lambda self: next(self)  # type: ignore[attr-defined]
    import torch
    from vegans.GAN import VanillaGAN

    g, d = networks(options)
    d = torch.nn.Sequential(*d, torch.nn.Sigmoid())  # vegans judges by probabilities
    kinds = {"Generator": torch.optim.Adam, "Adversary": torch.optim.Adam}
    settings = {name: {"lr": LR, "betas": BETAS} for name in kinds}
    about = {"optim": kinds, "optim_kwargs": settings, "folder": tempfile.mkdtemp(), "ngpu": 0}
    model = VanillaGAN(g, d, x_dim=SHAPE, z_dim=LATENT, **about)
    rows = scaled(images).numpy()
    return lambda: model.fit(rows, epochs=1, batch_size=options.batch_size)


MAKERS: dict[str, Callable[[Any, argparse.Namespace], Callable[[], Any]]] = {
    "torchgan": torchgan,
    "torch-mimicry": mimicry,
    "vegans": vegans,
}
