"""A pretended GPU: tensors that say they are on one and are computed on the CPU, under a GPU's rules.

    with pretended("cuda") as seen:
        ...  # build, train and sample as on a GPU
    print(seen.waits)

Within the block ``torch.cuda`` (or ``torch.mps``) looks like a machine with such devices, and ``tensor.to("cuda")``
works. Everything is really computed, by the CPU's kernels, so whole trials run and their numbers are the CPU's.

What it refuses, with the messages of CUDA: tensors of two devices in one operation, ``.numpy()`` and ``np.array`` of
a tensor on the device, a generator of another device, an index on the device into a tensor on the CPU; with the kind
``mps``, float64.

What it counts, by the line that asked for it (``Seen``): kernels; waits (``.item()``, ``float(loss)``,
``if loss > 0``, ``print(loss)``, boolean masks, ``nonzero``, ``torch.cuda.synchronize``); copies to the device
and back; operations without a deterministic kernel, of which it warns as CUDA does.

What it cannot show: the rounding of a GPU's kernels, its speed, its memory and the want of it, races between streams,
what cuDNN or cuBLAS choose, a broken driver, code compiled for a GPU (``torch.compile``, Triton, own extensions), CUDA
graphs, the legacy types (``torch.cuda.FloatTensor``), and casts of autocast within functions that C++ composes.

Made of a wrapper subclass and a TorchDispatchMode. To C++ a tensor is on the device ``lazy:0``, because autograd would
ask a CUDA driver; Python sees the pretended one.
"""

from ganbench.conformance.device_use import Seen
from ganbench.conformance.pretended_device.standins import pretended

__all__ = ["Seen", "pretended"]
