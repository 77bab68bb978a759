"""Mini-WebVision."""

from __future__ import annotations

from datasets.webvision import WebVision

NAMES = """
tench, goldfish, great white shark, tiger shark, hammerhead, electric ray, stingray, cock, hen, ostrich, brambling,
goldfinch, house finch, junco, indigo bunting, robin, bulbul, jay, magpie, chickadee, water ouzel, kite, bald eagle,
vulture, great grey owl, European fire salamander, common newt, eft, spotted salamander, axolotl, bullfrog, tree frog,
tailed frog, loggerhead, leatherback turtle, mud turtle, terrapin, box turtle, banded gecko, common iguana,
American chameleon, whiptail, agama, frilled lizard, alligator lizard, Gila monster, green lizard, African chameleon,
Komodo dragon, African crocodile
"""


class WebVisionMini(WebVision):
    """The first 50 classes of WebVision, Google's images alone: what most papers on noisy labels call (mini-)WebVision.

    `webvision-mini[flickr]` adds Flickr's images, more than 100,000 together, as a few papers do. The rest is that of
    `webvision`: `[ilsvrc12]` tests on ILSVRC12's validation images of these classes as well. An inspection by hand of
    a sample (Albert et al., WACV 2022) found about 70 % of labels right, 5 % wrong and 25 % of no class at all.
    """

    name = "webvision-mini"
    aliases = ("mini-webvision",)
    summary = "65,944 web images of ImageNet's first 50 classes, clean validation images (WebVision's or ILSVRC12's)"
    source = "Jiang et al. 2018 (MentorNet, arXiv 1712.05055), of WebVision 1.0 (Li et al. 2017)"
    parameters = {"flickr": False, "ilsvrc12": False}
    kept = 50
    published = {False: 65_944, True: None}

    def class_names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in NAMES.split(","))
