"""Downloads against a server on this machine: whole, interrupted, resumed, refused."""

import contextlib
import http.server
import io
import re
import threading
import tracemalloc
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from istapp.basics.errors import UserError
from istapp.images import datasets, downloads, registry


@dataclass
class Server:
    """What the server has, how it behaves, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    address: str = ""
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)  # after how many bytes the next answers end
    answers: list[int] = field(default_factory=list)  # status codes of the next answers
    asked: list[tuple[str, str]] = field(default_factory=list)
    length: str | None = None  # what every answer says its length is, "" for nothing
    endless: bool = False
    moved: str | None = None  # where every answer sends the client on to


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server: Server = self.server.state
        name, wanted = self.path.lstrip("/"), self.headers.get("Range", "")
        server.asked.append((name, wanted))
        if server.answers:
            return self.send_error(server.answers.pop(0))
        if server.moved is not None:
            self.send_response(302)
            self.send_header("Location", server.moved)
            return self.end_headers()
        if name not in server.files:
            return self.send_error(404)
        data, start = server.files[name], 0
        if wanted and server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                return self.end_headers()
        self.send_response(206 if start else 200)
        length = str(len(data) - start) if server.length is None else server.length
        if length:
            self.send_header("Content-Length", length)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            while server.endless:
                self.wfile.write(bytes(2**16))
        end = server.breaks.pop(0) if server.breaks else len(data)
        self.wfile.write(data[start : start + end])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server on the loopback interface; no pauses between attempts."""
    state = Server()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.state = state
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        state.address = f"http://127.0.0.1:{httpd.server_port}"
        monkeypatch.setattr(downloads, "PAUSE", 0)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield state
        httpd.shutdown()
        thread.join()


def png(seed: int, shape=(9, 7)) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def register(monkeypatch, tmp_path):
    """Register the set "Tiny" of the given files, with an empty cache and nothing else at hand."""
    monkeypatch.delenv("ISTAPP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def registered(files: dict[str, bytes], url: str, member: str = "", recipe=registry.unchanged) -> Path:
        images = {name: recipe(registry_image(data)) for name, data in files.items()}
        entries = tuple(registry.Entry(n, *i.size, 3 if i.colour else 1, i.hash) for n, i in images.items())
        record = registry.Dataset("Tiny", "Tiny", "test", "none", url, member, recipe=recipe)
        monkeypatch.setitem(registry.SETS, "Tiny", record)
        monkeypatch.setattr(registry, "entries", lambda name: entries if name == "Tiny" else ())
        return tmp_path / "istapp" / "Tiny"

    return registered


def registry_image(data: bytes):
    return downloads.decode(data, "x", "test")


def kept(folder: Path) -> list[str]:
    """What lies anywhere in the cache."""
    return sorted(path.name for path in folder.parent.rglob("*") if path.is_file())


# ---- one file


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(data=st.binary(max_size=400), breaks=st.lists(st.integers(0, 120), max_size=3), ranges=st.booleans())
def test_interruptions_do_not_show(server, tmp_path_factory, data, breaks, ranges):
    path = tmp_path_factory.mktemp("fetch") / "file"
    server.files, server.breaks, server.ranges = {"file": data}, list(breaks), ranges
    downloads.fetch(f"{server.address}/file", path)
    assert path.read_bytes() == data
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    server.breaks = []


def test_a_later_run_goes_on_where_the_first_stopped(server, tmp_path):
    server.files = {"file": bytes(range(100))}
    server.breaks = [30, 20, 10, 5]
    with pytest.raises(UserError, match="65 of 100 bytes; gave up after 4 attempts"):
        downloads.fetch(f"{server.address}/file", tmp_path / "file")
    assert not (tmp_path / "file").exists() and (tmp_path / "file.part").stat().st_size == 65
    server.asked.clear()
    downloads.fetch(f"{server.address}/file", tmp_path / "file")
    assert server.asked == [("file", "bytes=65-")]
    assert (tmp_path / "file").read_bytes() == bytes(range(100))


def test_a_server_that_cannot_resume_sends_it_all_again(server, tmp_path):
    server.files, server.ranges = {"file": b"0123456789"}, False
    (tmp_path / "file.part").write_bytes(b"xxxx")
    downloads.fetch(f"{server.address}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize("left", [b"0123456789", b"0123456789 and more"])
def test_what_was_complete_or_too_long(server, tmp_path, left):
    server.files = {"file": b"0123456789"}
    (tmp_path / "file.part").write_bytes(left)
    downloads.fetch(f"{server.address}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"0123456789"
    assert len(server.asked) == (1 if len(left) == 10 else 2)


def test_passing_trouble_is_tried_again_and_the_rest_is_not(server, tmp_path):
    server.files, server.answers = {"file": b"good"}, [503, 429]
    downloads.fetch(f"{server.address}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"good" and len(server.asked) == 3
    server.asked.clear()
    with pytest.raises(UserError, match="404 Not Found"):
        downloads.fetch(f"{server.address}/absent", tmp_path / "absent")
    assert len(server.asked) == 1 and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_nobody_answers(server, tmp_path):
    with pytest.raises(UserError, match=r"127.0.0.1:1/file: .*refused.*gave up after 4"):
        downloads.fetch("http://127.0.0.1:1/file", tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(server, tmp_path, monkeypatch):
    server.files = {"file": bytes(downloads.CHUNK * 2)}
    opened = Path.open

    def full(path, *arguments, **options):
        file = opened(path, *arguments, **options)

        def write(data):
            raise OSError(28, "No space left on device")

        return type(
            "Full", (), {"__enter__": lambda s: s, "__exit__": lambda s, *e: file.close(), "write": staticmethod(write)}
        )()

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match=r"cannot write .*no space left"):
        downloads.fetch(f"{server.address}/file", tmp_path / "file")
    assert not list(tmp_path.iterdir()) and len(server.asked) == 1


def test_a_forbidden_folder(server, tmp_path):
    server.files = {"file": b"data"}
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot write"):
        downloads.fetch(f"{server.address}/file", tmp_path / "taken" / "file")


def test_progress_is_for_a_terminal_only(server, tmp_path, monkeypatch, capsys):
    server.files = {"file": b"data"}
    downloads.fetch(f"{server.address}/file", tmp_path / "file")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    downloads.fetch(f"{server.address}/file", tmp_path / "file", "Tiny, file 1 of 1")
    shown = capsys.readouterr()
    assert shown.out == "" and "Tiny, file 1 of 1: 0.0 of 0.0 MiB" in shown.err and "\n" not in shown.err


# ---- sets of single files


def test_a_set_is_downloaded_only_when_asked_for(server, register):
    server.files = {"a.png": png(1), "b.png": png(2)}
    folder = register(server.files, server.address + "/{file}")
    with pytest.raises(UserError, match="istapp datasets --download Tiny"):
        datasets.load("Tiny")
    assert server.asked == [] and not folder.exists()
    assert [image.name for image in datasets.load("Tiny", download=True)] == ["a", "b"]
    assert kept(folder) == ["a.png", "b.png"]
    assert (folder / "a.png").read_bytes() == server.files["a.png"]
    server.asked.clear()
    datasets.load("Tiny", download=True)
    assert datasets.download("Tiny") == folder and server.asked == []


def test_an_interrupted_set_is_completed_and_a_damaged_file_replaced(server, register):
    files = {"a.png": png(1), "b.png": png(2), "c.png": png(3)}
    folder = register(files, server.address + "/{file}")
    server.files = {name: data for name, data in files.items() if name != "c.png"}
    with pytest.raises(UserError, match="404"):
        datasets.download("Tiny")
    with pytest.raises(UserError, match="1 of 3 files are missing"):
        datasets.load("Tiny")
    server.files = files
    (folder / "a.png").write_bytes(b"damaged")
    server.asked.clear()
    assert len(datasets.load("Tiny", download=True)) == 3
    assert [name for name, _ in server.asked] == ["a.png", "c.png"]


def test_another_image_than_registered_is_not_kept(server, register):
    folder = register({"a.png": png(1)}, server.address + "/{file}")
    for wrong, reason in ((png(2), "not a.png of Tiny"), (b"<html>moved</html>", "not an image"), (b"", "empty")):
        server.files = {"a.png": wrong}
        with pytest.raises(UserError, match=reason):
            datasets.load("Tiny", download=True)
        assert kept(folder) == []
    with pytest.raises(UserError, match="not at hand"):
        datasets.load("Tiny")


def test_published_files_become_the_set_by_its_recipe(server, register):
    colour = png(1, (9, 7, 3))
    folder = register({"a.png": colour}, server.address + "/{stem}_HR.png", recipe=registry.luma)
    server.files = {"a_HR.png": colour}
    (image,) = datasets.load("Tiny", download=True)
    assert not image.colour and image.hash == registry.luma(registry_image(colour)).hash
    with PIL.Image.open(folder / "a.png") as stored:
        assert stored.mode == "L"


def test_the_users_own_folder_is_not_touched(server, register, tmp_path, monkeypatch):
    files = {"a.png": png(1), "b.png": png(2)}
    folder = register(files, server.address + "/{file}")
    server.files = files
    own = tmp_path / "own" / "Tiny"
    own.mkdir(parents=True)
    (own / "a.png").write_bytes(files["a.png"])
    monkeypatch.setenv("ISTAPP_DATA", str(own.parent))
    with pytest.raises(UserError, match=f"{own} is not the whole of Tiny"):
        datasets.load("Tiny", download=True)
    assert server.asked == [] and kept(own) == ["a.png"] and not folder.exists()


# ---- archives


def archive(members: dict[str, bytes], way: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", way) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return file.getvalue()


def test_an_archive_gives_the_sets_files_and_nothing_else(server, register):
    files = {"t1.png": png(1), "t2.png": png(2)}
    folder = register(files, server.address + "/all.zip", "{stem}.bmp")
    bmp = {}
    for name, data in files.items():
        file = io.BytesIO()
        PIL.Image.open(io.BytesIO(data)).save(file, "BMP")
        bmp[f"Code/Train/{Path(name).stem}.BMP"] = file.getvalue()
    junk = {"../../t3.png": b"outside", "/t4.png": b"outside", "__MACOSX/._t1.bmp": b"junk", "Code/read.me": b""}
    server.files = {"all.zip": archive(bmp | junk)}
    assert [image.name for image in datasets.load("Tiny", download=True)] == ["t1", "t2"]
    assert kept(folder) == ["t1.png", "t2.png"]
    assert not list(folder.parents[2].rglob("t[34].png"))
    server.asked.clear()
    datasets.download("Tiny")
    assert server.asked == []


def test_a_broken_off_archive_is_resumed(server, register):
    files = {"t1.png": png(1, (99, 99))}
    folder = register(files, server.address + "/all.zip", "{stem}.png")
    server.files, server.breaks = {"all.zip": archive(files)}, [100, 100, 100, 100]
    with pytest.raises(UserError, match="gave up"):
        datasets.download("Tiny")
    assert kept(folder) == ["all.zip.part"]
    server.asked.clear()
    datasets.download("Tiny")
    assert server.asked == [("all.zip", "bytes=400-")] and kept(folder) == ["t1.png"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (b"not an archive", "is damaged"),
        (archive({"other.png": png(1)}), "holds no t1.png"),
        (archive({"t1.png": png(2)}), "another hash"),
        (archive({"t1.png": png(1)})[:-30], "is damaged"),
        (archive({"t1.png": png(1)})[:60] + bytes(8) + archive({"t1.png": png(1)})[68:], "is damaged"),
        (archive({"t1.png": png(1), "é": b""}).replace("é".encode(), b"\xc3\xc3"), "is damaged"),
        # A kilobyte of these unpacks to gigabytes before anybody can count.
        (archive({"t1.png": png(1)}, zipfile.ZIP_BZIP2), "packed in an unusual way"),
        (archive({"t1.png": png(1)}, zipfile.ZIP_LZMA), "packed in an unusual way"),
    ],
)
def test_a_wrong_archive_is_not_kept(server, register, wrong, reason):
    folder = register({"t1.png": png(1)}, server.address + "/all.zip", "{stem}.png")
    server.files = {"all.zip": wrong}
    with pytest.raises(UserError, match=reason) as error:
        datasets.download("Tiny")
    assert "\n" not in str(error.value) and kept(folder) == []


# ---- servers and archives that mean harm


@pytest.mark.parametrize("length", ["", "999999999999", "30000000"])
def test_a_body_without_end_is_not_kept(length: str, server, register) -> None:
    folder = register({"a.png": png(1)}, f"{server.address}/{{file}}")
    server.files, server.endless, server.length = {"a.png": b""}, True, length
    with pytest.raises(UserError, match="more than the 1 MiB"):
        datasets.download("Tiny")
    server.endless = False
    assert not kept(folder) and len(server.asked) == 1


@pytest.mark.parametrize("length", ["-1", "many", "1e3", "9" * 5000, "3"])
def test_a_lying_length_is_no_traceback(length: str, server, register) -> None:
    folder = register({"a.png": png(1)}, f"{server.address}/{{file}}")
    server.files, server.length = {"a.png": png(1)}, length
    with contextlib.suppress(UserError):
        datasets.download("Tiny")
    assert kept(folder) in ([], ["a.png"])


@pytest.mark.parametrize("to", ["http://[::1", "/again", "file:///etc/passwd", "http://" + "x" * 70 + ".org/"])
def test_an_address_that_leads_nowhere_is_one_line(to: str, server, register) -> None:
    folder = register({"a.png": png(1)}, f"{server.address}/{{file}}")
    server.moved = to
    with pytest.raises(UserError, match=re.escape(f"{server.address}/a.png: ")):
        datasets.download("Tiny")
    assert kept(folder) == []


def test_no_part_for_a_file_of_which_there_is_none(server, register) -> None:
    register({"a.png": png(1)}, f"{server.address}/{{file}}")
    server.files, server.answers = {"a.png": png(1)}, [416, 416]
    datasets.download("Tiny")
    server.answers = [416] * 9
    with pytest.raises(UserError, match="no part of the file"):
        downloads.fetch(f"{server.address}/a.png", downloads.cache_folder() / "b.png")


def test_a_member_that_unpacks_to_gigabytes_is_refused(server, register, monkeypatch) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file, file.open("a.png", "w", force_zip64=True) as out:
        for _ in range(40):
            out.write(bytes(2**20))
    monkeypatch.setattr(registry, "MEMBER_BYTES", 2**24)
    register({"a.png": png(1)}, f"{server.address}/set.zip", "{stem}.png")
    server.files = {"set.zip": archive.getvalue()}
    tracemalloc.start()
    with pytest.raises(UserError, match="larger than an image"):
        datasets.download("Tiny")
    assert tracemalloc.get_traced_memory()[1] < 3 * 2**24
    tracemalloc.stop()


@pytest.mark.parametrize("file", ["../a.png", "/etc/a.png", "b/../../a.png", "..", "", "a\\b.png", "C:a.png"])
def test_a_registry_names_plain_files_only(file: str, tmp_path: Path, monkeypatch) -> None:
    table = tmp_path / "registry.csv"
    table.write_text(f"set,file,height,width,channels,sha256\nEvil,{file},1,1,1,00\n")
    monkeypatch.setattr(registry, "REGISTRY", table)
    with pytest.raises(UserError, match="no plain name"):
        registry.entries("Evil")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "set,file,height,width,channels,sha256\nEvil,a,x,1,1,0\n"])
def test_a_damaged_registry_is_one_line(text: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "registry.csv").write_text(text)
    monkeypatch.setattr(registry, "REGISTRY", tmp_path / "registry.csv")
    registry.entries.cache_clear()
    with pytest.raises(UserError, match="restore it"):
        registry.entries("Evil")
    registry.entries.cache_clear()


def test_a_full_disk_is_told_before_anything_is_fetched(server, register, monkeypatch) -> None:
    folder = register({"a.png": png(1)}, f"{server.address}/{{file}}")
    server.files = {"a.png": png(1)}
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(UserError, match="cannot write .* are free"):
        datasets.download("Tiny")
    assert not kept(folder)


def test_without_a_home_folder_the_sets_at_hand_are_found(tmp_path: Path, monkeypatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(downloads.Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("ISTAPP_DATA", str(tmp_path))
    assert datasets.load("photos", images=["camera"]) and datasets.status()
    with pytest.raises(UserError, match="set XDG_CACHE_HOME"):
        datasets.load("Set11")
    with pytest.raises(UserError, match="set XDG_CACHE_HOME"):
        datasets.download("Set11")
