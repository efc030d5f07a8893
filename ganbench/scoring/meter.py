"""Shows how fast images go through a slow network: a line redrawn on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ganbench.plugin.interfaces import Extractor
from ganbench.scoring.feature_cache import ExtractorWrapper

SIGN_OF_LIFE = 50  # images between two signs of life of a network that takes tenths of a second for each
SECONDS = 10.0  # between two lines


class Meter:
    """Counts images and says how many a second, on standard error."""

    def __init__(self) -> None:
        self.done, self.title = 0, ""
        self.start = self.said = time.monotonic()
        self.drawn = False

    @contextmanager
    def measuring(self, title: str) -> Iterator[None]:
        """Count anew under a title; what was drawn is wiped afterwards."""
        self.done, self.title = 0, title
        self.start = self.said = time.monotonic()
        try:
            yield
        finally:
            if self.drawn:
                sys.stderr.write("\r\033[K")
                sys.stderr.flush()
                self.drawn = False

    def add(self, images: int) -> None:
        self.done += images
        now = time.monotonic()
        on_terminal = sys.stderr.isatty()
        if now - self.said < (0.5 if on_terminal else SECONDS):
            return
        self.said = now
        text = f"{self.title}: {self.done:,} images, {self.done / (now - self.start):,.1f} images/s"
        if on_terminal:
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
            self.drawn = True
        else:
            print(text, file=sys.stderr, flush=True)


class MeteredExtractor(ExtractorWrapper):
    """An extractor whose passes are counted."""

    def __init__(self, inner: Extractor, meter: Meter) -> None:
        super().__init__(inner)
        self.meter = meter

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        outputs = []
        for chunk in batch.split(SIGN_OF_LIFE if self.inner.dear else len(batch)):
            outputs.append(self.inner(chunk))
            self.meter.add(len(chunk))
        features = torch.cat([found for found, _ in outputs])
        return features, None if outputs[0][1] is None else torch.cat([found for _, found in outputs])
