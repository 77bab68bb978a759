"""Fetching files that a data set's maker publishes, with a progress bar and a checksum."""

from __future__ import annotations

from pathlib import Path

from datasets.interface import DataError, Progress


class Bar:
    """What pooch calls while it downloads, passed on as `progress(what, done, total)`."""

    def __init__(self, what: str, progress: Progress) -> None:
        self.what, self.progress = what, progress
        self.total, self.done = 0, 0

    def update(self, count: int) -> None:
        """`count` more bytes have come."""
        self.done += count
        self.progress(self.what, self.done, max(self.total, self.done))

    def reset(self) -> None:
        """Start anew."""
        self.done = 0

    def close(self) -> None:
        """Nothing is left open."""


def fetch(urls: tuple[str, ...], md5: str, target: Path, progress: Progress) -> Path:
    """`target`, fetched from the first of `urls` (mirrors) that answers, unless it is there already and right.

    The file appears under its name only when it is whole and has the checksum that its maker's loader declares.

    Raises:
        DataError: no mirror answers, the file is another one, or the folder can't be written.
    """
    import pooch  # type: ignore[import-untyped]

    pooch.get_logger().setLevel("WARNING")  # the bar says the rest
    reasons = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{target.parent} can't be made: {error.strerror}. Type another --data-root DIR.") from error
    for url in urls:
        downloader = pooch.HTTPDownloader(progressbar=Bar(f"downloading {target.name}", progress), timeout=30)
        try:
            pooch.retrieve(url, f"md5:{md5}", fname=target.name, path=target.parent, downloader=downloader)
        except Exception as error:  # whatever goes wrong with one mirror, the next may do better
            reasons.append(f"  {url}: {type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''}")
        else:
            return target
    raise DataError(
        f"{target.name} couldn't be downloaded. Fetch it by hand into {target.parent}, or type --data-root DIR if you "
        "have it:\n" + "\n".join(reasons)
    )
