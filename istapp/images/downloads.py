"""Downloads of the registered sets into the user's cache: only when asked for, resumed, and checked pixel by pixel."""

import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import PIL.Image

from istapp.basics.errors import UserError, reason
from istapp.basics.paths import write_atomically
from istapp.basics.progress import line
from istapp.images.image import decode, read_image
from istapp.images.registry import ARCHIVE_BYTES, SETS, Dataset, Entry

TIMEOUT = 30  # seconds without a byte
PAUSE = 1.0  # seconds before the second attempt, doubled before each further one
CHUNK = 1 << 18

#: Answers after which trying again makes sense: too slow, too many requests, and trouble on the server's side.
PASSING = frozenset({408, 429, 500, 502, 503, 504})


#: What reading a damaged archive raises; a name that is no UTF-8 is a ValueError.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


class _TooLarge(Exception):
    """More arrives than the file can be."""


class _Broken(Exception):
    """The connection failed; another attempt may go on from what has arrived."""


def cache_folder() -> Path:
    """Return where downloaded sets are kept, ``~/.cache/istapp`` unless XDG_CACHE_HOME says otherwise.

    Raises:
        UserError: neither that variable nor a home folder is known.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "istapp"
    except RuntimeError:
        raise UserError("there is no home folder to keep downloads in: set XDG_CACHE_HOME to a folder") from None


def fetch_set(dataset: Dataset) -> Path:
    """Bring a set into the cache and return its folder; images that are there already and right are not fetched again.

    Raises:
        UserError: the address does not answer or delivers something else, or the disk does not take it.
    """
    folder = cache_folder() / dataset.folder
    if dataset.member:
        _fetch_archive(dataset)
    else:
        wanted = _unfinished(dataset)
        for number, entry in enumerate(wanted, 1):
            url = dataset.url.format(file=entry.file, stem=Path(entry.file).stem)
            arrived = folder / f".{entry.file}"
            fetch(url, arrived, f"{dataset.name}, file {number} of {len(wanted)}", most=dataset.most_bytes(entry))
            try:
                _store(arrived.read_bytes(), dataset, entry, url)
            finally:
                arrived.unlink(missing_ok=True)
    return folder


def fetch(url: str, path: Path, label: str = "", attempts: int = 4, most: int = ARCHIVE_BYTES) -> None:
    """Download one file; what an interrupted attempt has left in ``path.part`` is kept and continued.

    Raises:
        UserError: the server refuses, sends more than `most` bytes, the connection fails in every attempt, or the file
            cannot be written.
    """
    part = path.with_name(path.name + ".part")
    problem: object = None
    for attempt in range(attempts):
        time.sleep(PAUSE * 2 ** (attempt - 1) if attempt else 0)
        try:
            _receive(url, part, label or path.name, most)
        except urllib.error.HTTPError as error:
            problem = f"the server answered {error.code} {error.reason}"
            if error.code not in PASSING:
                raise UserError(f"{url}: {problem}") from None
        except (_Broken, urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            problem = getattr(error, "reason", None) or error
        else:
            os.replace(part, path)
            return
    raise UserError(f"{url}: {problem}; gave up after {attempts} attempts, the same command goes on where it stopped")


def _receive(url: str, part: Path, label: str, most: int) -> None:
    """Append to `part` what the server still has, or start anew where it cannot continue."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "istapp"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except ValueError as error:  # from an address that a server sends us on to
        raise UserError(f"{url}: the server sends on to what is no address: {error}") from None
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        if have and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # nothing comes after what is there: it was complete
        part.unlink(missing_ok=True)
        raise _Broken("the server has no part of the file that fits") from None
    with answer:
        start = have if answer.status == 206 else 0
        total = _announced(answer, start)
        try:
            _refuse_size(total or 0, most, part)
            got = _append(_chunks(answer, start, total, label, most), part, "ab" if start else "wb")
        except _TooLarge:
            part.unlink(missing_ok=True)
            size = f"{most / 2**20:.0f} MiB"
            raise UserError(f"{url} sends more than the {size} that it can be; nothing is kept") from None
    if total is not None and got != total:
        raise _Broken(f"the connection ended after {got} of {total} bytes")


def _announced(answer: http.client.HTTPResponse, start: int) -> int | None:
    """Return how large the whole file will be, None where the server does not say it or says no number."""
    length = answer.headers.get("Content-Length", "")
    return start + int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None


def _refuse_size(total: int, most: int, part: Path) -> None:
    """Raise `_TooLarge` for what is more than it can be, UserError for what the disk has no room for."""
    if total > most:
        raise _TooLarge
    folder = next(each for each in part.parents if each.exists())
    free = shutil.disk_usage(folder).free
    if total > free:
        raise UserError(f"cannot write {part}: it needs {total / 2**20:.0f} MiB, and {free / 2**20:.0f} are free")


def _chunks(answer: http.client.HTTPResponse, start: int, total: int | None, label: str, most: int) -> Iterator[bytes]:
    """Yield what arrives, with a progress line for a person at a terminal."""
    got = start
    try:
        while chunk := answer.read(CHUNK):
            got += len(chunk)
            if got > most:
                raise _TooLarge
            yield chunk
            line(f"{label}: {got / 2**20:.1f}" + (f" of {total / 2**20:.1f} MiB" if total else " MiB"))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _Broken(str(error)) from None
    finally:
        line("")


def _append(chunks: Iterator[bytes], part: Path, mode: str) -> int:
    """Write the chunks and return the file's size; on a full or forbidden disk nothing stays behind."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open(mode) as file:
            for chunk in chunks:
                file.write(chunk)
        return part.stat().st_size
    except OSError as error:
        if part.is_file():
            part.unlink()
        raise _unwritable(part, error) from None


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {reason(error)}")


def _unfinished(dataset: Dataset) -> list[Entry]:
    """Return the images of a set that the cache lacks or holds damaged."""

    def right(entry: Entry) -> bool:
        """Tell whether the cache has an image as it should be."""
        try:
            image = read_image(cache_folder() / dataset.folder / entry.file)
        except UserError:
            return False
        return dataset.recipe(image).hash == entry.sha256

    return [entry for entry in dataset.entries if not right(entry)]


def _store(data: bytes, dataset: Dataset, entry: Entry, origin: str) -> None:
    """Put one downloaded image into the cache: as it came where that is the set's file, else as a PNG of its pixels.

    Raises:
        UserError: it is no image or another one, or the disk does not take it.
    """
    path = cache_folder() / dataset.folder / entry.file
    published = decode(data, path.stem, origin)
    image = dataset.recipe(published)
    if image.hash != entry.sha256:
        raise UserError(
            f"{origin} is not {entry.file} of {dataset.name} (its pixels have another hash), so it was not kept; "
            f"if you have the set, put it into a folder {dataset.folder} and name that folder's parent in ISTAPP_DATA"
        )
    as_it_came = published.hash == entry.sha256 and PurePosixPath(origin).suffix.lower() == path.suffix.lower()
    try:
        if as_it_came:
            write_atomically(path, lambda beside: beside.write_bytes(data))
        else:
            write_atomically(path, PIL.Image.fromarray(image.pixels.numpy()).save)
    except OSError as error:
        raise _unwritable(path, error) from None


def _fetch_archive(dataset: Dataset) -> None:
    """Download a zip archive, take out the images of every set that comes from it, and drop the rest."""
    archive = cache_folder() / "archives" / PurePosixPath(dataset.url).name
    siblings = [other for other in SETS.values() if other.url == dataset.url and other.name != dataset.name]
    wanted = [(one, entry) for one in (dataset, *siblings) for entry in _unfinished(one)]
    if not wanted:
        return
    if not archive.exists():
        fetch(dataset.url, archive)
    try:
        _unpack(archive, wanted)
    except UserError:
        archive.unlink()  # not to be used again; an interruption, though, keeps it for the next attempt
        raise
    archive.unlink()


def _unpack(archive: Path, wanted: list[tuple[Dataset, Entry]]) -> None:
    """Store the wanted images of an archive, found by file name; the archive's own paths are never written to."""
    try:
        with zipfile.ZipFile(archive) as file:
            members = {PurePosixPath(info.filename).name.lower(): info for info in file.infolist()}
            for number, (dataset, entry) in enumerate(wanted, 1):
                name = dataset.member.format(stem=Path(entry.file).stem)
                if name.lower() not in members:
                    raise UserError(f"the archive {dataset.url} holds no {name}, so it is not {dataset.name}")
                data = _member(file, members[name.lower()], dataset.most_bytes(entry))
                if data is None:
                    raise UserError(f"{name} in the archive {dataset.url} is larger than an image of {dataset.name}")
                _store(data, dataset, entry, f"{dataset.url}/{name}")
                line(f"{dataset.name}: {number} of {len(wanted)} images")
    except UserError:
        raise
    except _DAMAGED as error:
        raise UserError(f"the archive {archive} is damaged ({error}) and was removed; download it again") from None
    finally:
        line("")


def _member(file: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes | None:
    """Return the bytes of an archive's member, None where they are more than `most`, whatever the archive says of them.

    Of the ways to pack only deflate is read: of the others `zipfile` unpacks gigabytes from one kilobyte in one go.
    """
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{info.filename} is packed in an unusual way, {info.compress_type}")
    with file.open(info) as member:
        data = member.read(most + 1)
    return data if len(data) <= most else None
