"""Instance-dependent noise: random weights for each class."""

from __future__ import annotations

from datasets.noise.by_image import ByImage


class InstanceDependent(ByImage):
    """An image's wrong label by its pixels: scores x W[y] with random weights of its class y, softmax over the others.

    Xia et al. 2020, algorithm 2 (part-dependent noise): the elements of W, (K, d, K), are standard normal; the true
    class is left out of the softmax. With `--draw multinomial` an image's flip rate is a normal of standard deviation
    0.1 truncated to [0, 1], as published, except that its location is solved so that the mean is the rate asked for.

    What x is decides what noise this is. Released code takes raw bytes: then brightness, which all images have in
    common, decides, and most wrong labels of a class go to one other class, as with class-conditional noise. So here x
    is standardised per channel; `[scale=raw]` is as published (with `--draw multinomial`), and `[scale=soft]` divides
    scores by sqrt(d), which leaves a distribution where the others are nearly an argmax.
    ASSUMPTION: images of more than 32 pixels a side are scored at 32 x 32 means of boxes, as the caption says.
    """

    name = "instance"
    aliases = ("pdn",)
    summary = "each label wrong at the rate, to a class that random weights of its class choose by the pixels"
    source = "Xia et al. 2020 (PDN, arXiv 2006.07836)"
    shared = False
