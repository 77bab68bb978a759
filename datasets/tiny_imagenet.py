"""Tiny-ImageNet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from datasets.data_report import count_of
from datasets.file_lists import read_lines
from datasets.files import listed
from datasets.interface import DataError, Description, Labels, Protocol
from datasets.listing import Listing
from datasets.official import ImagePart, OfficialImages

CLASSES = """
n02124075 Egyptian cat; n04067472 reel; n04540053 volleyball; n04099969 rocking chair; n07749582 lemon;
n01641577 bullfrog; n02802426 basketball; n09246464 cliff; n07920052 espresso; n03970156 plunger;
n03891332 parking meter; n02106662 German shepherd; n03201208 dining table; n02279972 monarch; n02132136 brown bear;
n04146614 school bus; n07873807 pizza; n02364673 guinea pig; n04507155 umbrella; n03854065 organ; n03838899 oboe;
n03733131 maypole; n01443537 goldfish; n07875152 potpie; n03544143 hourglass; n09428293 seashore;
n03085013 computer keyboard; n02437312 Arabian camel; n07614500 ice cream; n03804744 nail; n04265275 space heater;
n02963159 cardigan; n02486410 baboon; n01944390 snail; n09256479 coral reef; n02058221 albatross;
n04275548 spider web; n02321529 sea cucumber; n02769748 backpack; n02099712 Labrador retriever; n07695742 pretzel;
n02056570 king penguin; n02281406 sulphur butterfly; n01774750 tarantula; n02509815 lesser panda;
n03983396 pop bottle; n07753592 banana; n04254777 sock; n02233338 cockroach; n04008634 projectile;
n02823428 beer bottle; n02236044 mantis; n03393912 freight car; n07583066 guacamole; n04074963 remote control;
n01629819 European fire salamander; n09332890 lakeside; n02481823 chimpanzee; n03902125 pay-phone;
n03404251 fur coat; n09193705 alp; n03637318 lampshade; n04456115 torch; n02666196 abacus; n03796401 moving van;
n02795169 barrel; n02123045 tabby; n01855672 goose; n01882714 koala; n02917067 bullet train; n02988304 CD player;
n04398044 teapot; n02843684 birdhouse; n02423022 gazelle; n02669723 academic gown; n04465501 tractor;
n02165456 ladybug; n03770439 miniskirt; n02099601 golden retriever; n04486054 triumphal arch; n02950826 cannon;
n03814639 neck brace; n04259630 sombrero; n03424325 gasmask; n02948072 candle; n03179701 desk; n03400231 frying pan;
n02206856 bee; n03160309 dam; n01984695 spiny lobster; n03977966 police van; n03584254 iPod; n04023962 punching bag;
n02814860 beacon; n01910747 jellyfish; n04596742 wok; n03992509 potter's wheel; n04133789 sandal;
n03937543 pill bottle; n02927161 butcher shop; n01945685 slug; n02395406 hog; n02125311 cougar; n03126707 crane;
n04532106 vestment; n02268443 dragonfly; n02977058 cash machine; n07734744 mushroom; n03599486 jinrikisha;
n04562935 water tower; n03014705 chest; n04251144 snorkel; n04356056 sunglasses; n02190166 fly; n03670208 limousine;
n02002724 black stork; n02074367 dugong; n04285008 sports car; n04560804 water jug; n04366367 suspension bridge;
n02403003 ox; n07615774 ice lolly; n04501370 turnstile; n03026506 Christmas stocking; n02906734 broom;
n01770393 scorpion; n04597913 wooden spoon; n03930313 picket fence; n04118538 rugby ball; n04179913 sewing machine;
n04311004 steel arch bridge; n02123394 Persian cat; n04070727 refrigerator; n02793495 barn; n02730930 apron;
n02094433 Yorkshire terrier; n04371430 swimming trunks; n04328186 stopwatch; n03649909 lawn mower; n04417672 thatch;
n03388043 fountain; n01774384 black widow; n02837789 bikini; n07579787 plate; n04399382 teddy; n02791270 barbershop;
n03089624 confectionery; n02814533 beach wagon; n04149813 scoreboard; n07747607 orange; n03355925 flagpole;
n01983481 American lobster; n04487081 trolleybus; n03250847 drumstick; n03255030 dumbbell; n02892201 brass;
n02883205 bow tie; n03100240 convertible; n02415577 bighorn; n02480495 orangutan; n01698640 American alligator;
n01784675 centipede; n04376876 syringe; n03444034 go-kart; n01917289 brain coral; n01950731 sea slug;
n03042490 cliff dwelling; n07711569 mashed potato; n04532670 viaduct; n03763968 military uniform;
n07768694 pomegranate; n02999410 chain; n03617480 kimono; n06596364 comic book; n01768244 trilobite;
n02410509 bison; n03976657 pole; n01742172 boa constrictor; n03980874 poncho; n02808440 bathtub;
n02226429 grasshopper; n02231487 walking stick; n02085620 Chihuahua; n01644900 tailed frog; n02129165 lion;
n02699494 altar; n03837869 obelisk; n02815834 beaker; n07720875 bell pepper; n02788148 bannister; n02909870 bucket;
n03706229 magnetic compass; n07871810 meat loaf; n03447447 gondola; n02113799 standard poodle; n12267677 acorn;
n03662601 lifeboat; n02841315 binoculars; n07715103 cauliflower; n02504458 African elephant
"""
SYNSETS, NAMES = zip(*(entry.split(maxsplit=1) for entry in CLASSES.split(";")), strict=True)
"""The classes in the order of wnids.txt, each with the first of its names in words.txt."""


class TinyImagenet(OfficialImages):
    """100,000 training and 10,000 test photographs of 200 kinds of thing, 64 x 64, cut down from ImageNet.

    Its validation images are the test images, since the labels of its test part were never published. Some images are
    grey; they become RGB. Copies whose validation images were moved into folders of classes are read as well, as long
    as val_annotations.txt is there. Labels count as clean, as in every paper: an ordinary set for synthetic noise.
    """

    name = "tiny-imagenet"
    aliases = ("tiny-imagenet-200",)
    summary = "100,000 + 10,000 photographs of 200 classes, 64x64 RGB"
    source = "Le and Yang 2015, Tiny ImageNet visual recognition challenge (Stanford CS231N)"
    homepage = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    access = "it is a file of 237 MB to be fetched by hand"
    layout = """
        DATA_ROOT/tiny-imagenet-200/           (or tiny-imagenet/, or DATA_ROOT itself)
            wnids.txt                          (200 synsets, one a line, which give the order of the classes)
            words.txt
            train/SYNSET/images/SYNSET_N.JPEG
            val/images/val_N.JPEG
            val/val_annotations.txt            (lines "val_N.JPEG", tab, synset, and a box)
        """
    marks = ("wnids.txt", "val/val_annotations.txt")
    folders = ("tiny-imagenet-200",)
    usual_size = 64
    file_size = (64, 64)

    def describe(self) -> Description:
        return Description(
            name=self.label,
            classes=NAMES,
            image_shape=self._shape,
            train_size=100_000,
            test_size=10_000,
            protocol=Protocol(
                recipes_from="cifar100",
                model="preact-resnet18",
                epochs=200,
                batch_size=128,
                learning_rate=0.1,
                weight_decay=1e-5,
                augmentation="crop8+flip",
                strong_augmentation="crop8+flip+autoaugment",
                source="ASSUMPTION: CIFAR-100's (Ma et al. 2020), with a network and crops for images of 64 pixels",
            ),
            licence="ImageNet's terms: non-commercial research and teaching; images belong to their owners",
            citation="Y. Le and X. Yang, Tiny ImageNet visual recognition challenge, CS 231N, Stanford, 2015",
        )

    def read(self) -> Listing:
        home = self.find_home()
        self._check_synsets(home / "wnids.txt")
        names, notes = _training_files(home / "train")
        labels = np.repeat(np.arange(len(SYNSETS)), [len(each) for each in names])
        paths = [f"{synset}/images/{name}" for synset, each in zip(SYNSETS, names, strict=True) for name in each]
        if not paths:
            raise DataError(f"{home / 'train'} holds no image. Get {self.name} again: {self.homepage}")
        tests, test_labels = self._read_annotations(home / "val/val_annotations.txt")
        train, test = ImagePart(home / "train", paths, labels), ImagePart(home / "val", tests, test_labels)
        listing = self.join_parts([train], test, NAMES, notes)
        moved = _validation_places(home / "val", tests, test_labels.tolist())
        return replace(listing, paths=[*listing.paths[: len(paths)], *moved])

    def _check_synsets(self, file: Path) -> None:
        """Raise DataError where a copy's classes aren't those of the set, or come in another order."""
        found = tuple(line.strip() for line in read_lines(file))
        if found != SYNSETS:
            strange = sorted(set(found) ^ set(SYNSETS))
            how = "holds other classes" if strange else "has its classes in another order"
            which = f"; these are too many or missing:\n{listed(strange)}" if strange else "."
            raise DataError(f"{file} {how} than the published list of {self.name}{which}")

    def _read_annotations(self, file: Path) -> tuple[list[str], Labels]:
        """The test images' names and labels. Raises DataError for lines that have no class."""
        lines = read_lines(file)
        rows = [line.split("\t") for line in lines]
        ids = {synset: number for number, synset in enumerate(SYNSETS)}
        labels = np.array([ids.get(row[1].strip(), -1) if len(row) > 1 else -1 for row in rows], dtype=np.int64)
        bad = [
            number for number, row in enumerate(rows) if labels[number] < 0 or "/" in row[0] or not row[0].strip(". ")
        ]
        if bad:
            wrong = [f"line {number + 1}: {lines[number][:100]!r}" for number in bad]
            raise DataError(
                f"{len(bad):,} lines of {file} lack the name of an image or one of the {len(SYNSETS)} synsets:\n"
                f"{listed(wrong)}"
            )
        return [row[0] for row in rows], labels


def _training_files(folder: Path) -> tuple[list[list[str]], list[str]]:
    """The image files of each class, sorted by name, and a sentence on classes without a folder."""
    found, missing = list[list[str]](), []
    for synset in SYNSETS:
        images = folder / synset / "images"
        if not images.is_dir():
            missing.append(synset)
        names = [each.name for each in images.iterdir()] if images.is_dir() else []
        found.append(sorted(name for name in names if name.upper().endswith(".JPEG") and not name.startswith(".")))
    notes = [count_of(missing, "class has no folder", "classes have no folder")] if missing else []
    return found, notes


def _validation_places(folder: Path, names: list[str], labels: list[int]) -> list[str]:
    """Where the test images lie: in images/, or where a script has moved them, SYNSET/ or SYNSET/images/."""
    together = folder / "images"
    if together.is_dir() and any(together.iterdir()):
        return [f"{together}/{name}" for name in names]
    middle = "/images" if any((folder / synset / "images").is_dir() for synset in SYNSETS) else ""
    return [f"{folder}/{SYNSETS[label]}{middle}/{name}" for name, label in zip(names, labels, strict=True)]
