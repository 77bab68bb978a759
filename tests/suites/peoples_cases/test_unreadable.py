"""Images that can't be read: refused with the way out, and left out where that is asked for, as another run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

RUN = "run --methods ce --noise sym --epochs 1 --seeds 1 --model cnn-small --batch-size 8 --jobs 1"


def break_some(folder: Path) -> None:
    """A page, an empty file and a photo that ends early, in class folders."""
    (folder / "cow/page.jpg").write_text("<html>404</html>")
    (folder / "hen/empty.png").write_bytes(b"")
    whole = io.BytesIO()
    Image.effect_noise((16, 16), 50).convert("RGB").save(whole, "JPEG")
    (folder / "dog/cut.jpg").write_bytes(whole.getvalue()[:-150])


def test_the_refusal_names_the_way_out_and_the_way_leads_on(own: Any) -> None:
    own.class_folders("pets", 6)
    before = own.typed(f"{RUN} --dataset folder:pets --skip-unreadable")
    assert before.code == 0 and before.notes == []
    (whole,) = own.records()
    assert "unreadable_skipped" not in whole["spec"], "where all can be read, it is the run of before"
    break_some(own.folder / "pets")
    refused = own.typed(f"{RUN} --dataset folder:pets")
    assert refused.code == 2 and "3 of 27 images can't be read" in refused.err and "--skip-unreadable" in refused.err
    done = own.typed(f"{RUN} --dataset folder:pets --skip-unreadable")
    assert done.code == 0, done.err
    assert done.notes[0].startswith("3 images can't be read, and are left out (first: cow/page.jpg: cannot identify")
    (record,) = [record for record in own.records() if record["run_id"] != whole["run_id"]]
    assert record["spec"]["unreadable_skipped"] == 3
    assert record["provenance"]["data_report"]["left_out"] == {"unreadable images": 3}
    assert sum(record["measures"]["samples"].values()) == 24
    board = (own.folder / "leaderboards/folder-pets.md").read_text(encoding="utf-8")
    assert "3 unreadable images left out" in board and "--skip-unreadable" in board


def test_it_is_asked_of_every_command_that_reads_the_data(own: Any) -> None:
    own.class_folders("pets", 6)
    break_some(own.folder / "pets")
    for line in ("show dataset folder:pets", "show noise sym --dataset folder:pets"):
        assert own.typed(line).code == 2
        shown = own.typed(f"{line} --skip-unreadable --format json")
        assert shown.code == 0 and shown.notes[0].startswith("3 images can't be read")
    own.picture("pets/cat/large.png", 0, 99, side=32)
    assert "Type --image-size 16" in own.typed("show dataset folder:pets --skip-unreadable").err
    shown = own.typed("show dataset folder:pets --skip-unreadable --image-size 16 --format json")
    assert sum(sum(counts.values()) for counts in shown.json["report"]["images"].values()) == 25


def test_files_of_a_table_that_are_not_there(own: Any) -> None:
    rows = [(path, f"kind {kind}", "train" if number else "test") for path, kind, number in own.pictures(4)]
    own.table("index.csv", ("path", "label", "split"), [*rows, ("im/gone.png", "kind 0", "train")])
    refused = own.typed("show dataset table:index.csv")
    assert refused.code == 2 and "1 of 17 image files don't exist" in refused.err
    assert "To go on without them, type --skip-unreadable" in refused.err
    (own.folder / rows[5][0]).write_bytes(b"no image")
    shown = own.typed("show dataset table:index.csv --skip-unreadable --format json")
    assert shown.notes == [
        f"2 images can't be read, and are left out (first: {rows[5][0]}: cannot identify image file)"
    ]
    images = shown.json["report"]["images"]
    assert images["train"] == {"kind 0": 3, "kind 1": 2, "kind 2": 3, "kind 3": 3} and images["test"]["kind 1"] == 1
    own.table("moved/index.csv", ("path", "label"), [row[:2] for row in rows])
    refused = own.typed("show dataset table:moved/index.csv --skip-unreadable")
    assert refused.code == 2 and "16 of 16 image files don't exist" in refused.err


def test_a_class_without_any_readable_image_is_refused(own: Any) -> None:
    own.class_folders("pets", 3)
    for number in range(3):
        (own.folder / f"pets/hen/{number:02}.png").write_bytes(b"")
    refused = own.typed("show dataset folder:pets --skip-unreadable")
    assert refused.code == 2
    assert "1 of 4 classes have no image that can be read (first: hen)" in refused.err and "hen/00.png" in refused.err


def test_large_scans_bring_no_warning_of_anothers(own: Any, recwarn: Any) -> None:
    """Pillow takes more than 89 million pixels for an attack, and refuses twice as many."""
    for kind, name in enumerate("ab"):
        for number, side in enumerate((9600, 13500)):
            (own.folder / "scans" / name).mkdir(parents=True, exist_ok=True)
            scan = Image.new("1", (side, side))
            scan.putpixel((number, kind), 1)
            scan.save(own.folder / f"scans/{name}/{number}.png")
    shown = own.typed("show dataset folder:scans --image-size 8 --format json")
    assert shown.code == 0 and shown.json["description"]["image_shape"] == [8, 8, 1]
    from datasets.image_file import decode

    assert decode("scans/a/1.png", 8)[0].shape == (8, 8, 1)
    assert [str(warning.message) for warning in recwarn if "Image" in str(warning.message)] == []
    assert "bomb" not in shown.err.lower() and shown.notes == []


def test_more_pixels_than_memory_holds_are_unreadable(own: Any) -> None:
    own.class_folders("pets", 2)
    header = bytearray((own.folder / "pets/cat/00.png").read_bytes())
    header[16:24] = (1 << 16).to_bytes(4, "big") * 2
    import zlib

    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    (own.folder / "pets/cat/vast.png").write_bytes(header)
    shown = own.typed("show dataset folder:pets")
    assert shown.code == 2 and "65,536 x 65,536 pixels are too many" in shown.err
