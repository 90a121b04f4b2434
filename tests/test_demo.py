"""The network in the page: its graphs compute what torch computes, and the page what `istapp` computes, from disk."""

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from books import ROOT
from browser import Browser, needs_chromium
from demo import payload
from pipeline import BuildError, demo
from torch import Tensor

from istapp import methods
from istapp.experiments.evaluation import reconstruct
from istapp.images import datasets
from istapp.images.image import luma, read_image
from istapp.methods.ista_net_pp import ISTANetPP
from istapp.methods.linear import second_moment
from istapp.metrics import psnr
from istapp.sampling import BLOCK, BlockSampling, sampling_matrix

pytestmark = pytest.mark.xdist_group("browser")

HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A trial</title>
<meta http-equiv="Content-Security-Policy" content="connect-src 'none'"></head><body>"""


# ---- the graphs ----


@pytest.fixture(params=["shipped", "random"])
def network(request: pytest.FixtureRequest) -> ISTANetPP:
    """The network that comes with the book, and an untrained one of another size."""
    if request.param == "shipped":
        return methods.get("ista-net-pp")
    torch.manual_seed(1)
    return ISTANetPP(stages=3, channels=8).eval()


def test_the_graphs_compute_what_torch_computes(network: ISTANetPP) -> None:
    """Every stage of an image, by onnxruntime and by torch, within 1e-5."""
    pytest.importorskip("onnx", reason="the Python package onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the Python package onnxruntime is not installed")
    from demo.graphs import graphs

    sessions = {
        name: runtime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        for name, graph in graphs(network).items()
    }

    def run(name: str, **given: object) -> list[np.ndarray]:
        return sessions[name].run(None, {key: np.asarray(value) for key, value in given.items()})

    sampling = BlockSampling(ratio=0.25)
    image = datasets.photo("camera").luma()[..., 99:198, 165:231]
    phi = sampling.phi.float().numpy()[:, :, None, None]
    (y,) = run("sample", x=image.numpy(), phi=phi)
    assert y == pytest.approx(sampling.A(image).numpy(), abs=1e-5)
    (x0,) = run("adjoint", y=y, phi=phi)
    rho, sigma = run("condition", ratio=np.float32([[0.25]]))
    x = x0
    with torch.inference_mode():
        wanted = network.trace(sampling.A(image), sampling)
    for k, (wanted_r, wanted_x) in enumerate(wanted):
        (r,) = run("gradient", x=x, x0=x0, phi=phi, rho=rho[0, k])
        (x,) = run("proximal", r=r, sigma=sigma[0, k], stage=np.int64(k))
        assert r == pytest.approx(wanted_r.numpy(), abs=1e-5)
        assert x == pytest.approx(wanted_x.numpy(), abs=1e-5)


def test_a_network_without_condition_module_is_refused() -> None:
    """The graphs have no place for step sizes that were learned as plain numbers."""
    from demo.graphs import graphs

    with pytest.raises(ValueError, match="dynamic_step"):
        graphs(ISTANetPP(stages=2, channels=4, dynamic_step=False))


def test_the_second_moment_is_packed_without_loss_that_shows() -> None:
    """Unpacked again it differs by less than a thousandth of the smallest of its waves' moments."""
    c = second_moment().numpy()
    deviation, correlation = payload.packed_moment(c)
    n = np.arange(BLOCK)
    cosines = np.sqrt(2 / BLOCK) * np.cos(np.pi * (n + 0.5) * n[:, None] / BLOCK)
    cosines[0] /= np.sqrt(2)
    basis = np.kron(cosines, cosines)
    parity = (np.arange(BLOCK**2) // BLOCK % 2) * 2 + np.arange(BLOCK**2) % BLOCK % 2
    unpacked, read = np.zeros_like(c), 0
    for each in range(4):
        members = np.flatnonzero(parity == each)
        rows, columns = np.triu_indices(len(members))
        values = correlation[read : (read := read + len(rows))] / 32767
        for down, across in ((rows, columns), (columns, rows)):
            unpacked[members[down], members[across]] = values
    assert read == len(correlation)
    whitened = basis @ c @ basis.T / deviation / deviation[:, None]
    assert np.abs(unpacked - whitened).max() < 1e-4


# ---- the build ----


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which the runtime was never fetched; returns a folder for programs, the first that are found."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setattr(demo, "RUNTIME", tmp_path / "npm" / "runtime.js")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return programs


def npm(programs: Path, script: str) -> None:
    """Put a program called npm there."""
    (programs / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (programs / "npm").chmod(0o755)


def test_without_npm_the_page_says_what_it_lacks(
    no_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page names the network's size all the same, has no scripts, and the reason stands where the demo would."""
    pytest.importorskip("onnx", reason="the Python package onnx is not installed")
    monkeypatch.setenv("PATH", str(no_cache))
    site = staged(tmp_path / "site")
    assert "npm" in demo.write(site)
    shown = (site / demo.PAGE).with_suffix(".html").read_text()
    assert "built without the network" in shown and "npm" in shown and "<script" not in shown
    assert not list((site / demo.FOLDER).iterdir())
    stages = methods.get("ista-net-pp").config["stages"]
    assert json.loads((site / demo.PAGE).read_text().splitlines()[1])["myst"]["substitutions"]["stages"] == str(stages)


def test_an_npm_that_fails_is_told(no_cache: Path) -> None:
    """No network, no package: the reason is npm's, and nothing is left in the cache."""
    npm(no_cache, "exit 1")
    with pytest.raises(demo.Unavailable, match="could not fetch"):
        demo.runtime()
    assert not demo.RUNTIME.exists()


def test_another_package_than_the_known_one_is_refused(no_cache: Path) -> None:
    """What npm brings is compared with the hash before anything in it is read."""
    npm(no_cache, "echo something else > other.tgz")
    with pytest.raises(BuildError, match="another onnxruntime-web"):
        demo.runtime()
    assert not demo.RUNTIME.exists()


def test_the_cache_holds_what_the_package_holds(no_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call does not ask npm."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in ((demo.MODULE, b"export default `\xc3\xa4`"), (demo.WASM, b"\0asm")):
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    (no_cache / "package").write_bytes(packed.getvalue())
    hashed = base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()
    monkeypatch.setattr(demo, "INTEGRITY", f"sha512-{hashed}")
    npm(no_cache, f"cp {no_cache / 'package'} it.tgz")
    given = json.loads(demo.runtime().read_text().removeprefix("istappDemo.runtime = ").rstrip(";\n"))
    assert given["module"] == "export default `ä`"
    assert gzip.decompress(base64.b64decode(given["wasm"])) == b"\0asm"
    npm(no_cache, "exit 1")
    assert demo.runtime() == demo.RUNTIME


# ---- the page ----


def staged(site: Path) -> Path:
    """A folder with the page in it, as the build has staged it."""
    (site / demo.PAGE).parent.mkdir(parents=True)
    shutil.copy(ROOT / demo.PAGE, site / demo.PAGE)
    return site


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the page that works, as a page of its own; skips where what it needs cannot be had."""
    site = staged(tmp_path_factory.mktemp("demo"))
    if why := demo.write(site):
        pytest.skip(why)
    shown = site / "book" / "trial.html"
    shutil.copytree(site / demo.FOLDER, site / "demo")
    shown.write_text(HEAD + (site / demo.PAGE).with_suffix(".html").read_text(), encoding="utf-8")
    return shown


@pytest.fixture(scope="module")
def ready(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser in which the network was loaded, by keyboard, and has recovered a first picture."""
    with Browser(tmp_path_factory.mktemp("profile")) as tab:
        tab.open(page)
        tab.value(drop("new File(['early'], 'early.png')"))
        assert "Load the network first" in message(tab, "error")
        tab.press("Tab", "Enter")
        recovered(tab)
        yield tab


def recovered(tab: Browser, what: str = "job.last === istappDemo.network.stages && job.jpeg") -> dict:
    """Wait for the picture that is being worked on; returns its PSNRs, JPEG's among them if there is one."""
    tab.wait(f"((job) => job && {what})(istappDemo.state.job)", 600)
    return tab.value("({...istappDemo.state.job, images: null, planes: null})")


def chosen(tab: Browser, script: str, what: str = "job.last === istappDemo.network.stages && job.jpeg") -> dict:
    """Change something, and wait for the picture that follows."""
    tab.value(f"istappDemo.state.job = null; {script}")
    return recovered(tab, what)


def set_to(name: str, value: object) -> str:
    """What moves a field of the page as a reader would."""
    return (
        f"{{ const field = document.getElementById('demo-{name}'); field.value = {json.dumps(value)}; "
        "field.dispatchEvent(new Event('input', {bubbles: true})); field.dispatchEvent(new Event('change')); }"
    )


def click(name: str) -> str:
    """What clicks on something of the page."""
    return f"document.getElementById('demo-{name}').click();"


def drop(*files: str) -> str:
    """What drops files, each an expression, on the page; none of them is what happens when text is dropped."""
    added = "".join(f"load.items.add({file});" for file in files)
    return f"""{{ const load = new DataTransfer(); {added}
        const event = new DragEvent('drop', {{dataTransfer: load, bubbles: true, cancelable: true}});
        document.body.dispatchEvent(event); }}"""


def open_file(tab: Browser, file: Path) -> dict:
    """Choose a file, and wait until it is recovered."""
    tab.value("istappDemo.state.job = null")
    tab.choose("#demo-file", file)
    return recovered(tab)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A picture of four whole blocks, which costs little: the cameraman's face, 66 x 66 pixels."""
    file = tmp_path / "small.png"
    PIL.Image.open(ROOT / "data" / "photos" / "camera.png").crop((210, 60, 276, 126)).save(file)
    return file


def message(tab: Browser, name: str) -> str:
    """What the page says in a line of its own."""
    return tab.value(f"document.getElementById('demo-{name}').textContent")


def by_python(planes: Tensor, ratio: float) -> dict[str, float]:
    """PSNR of the network's and of the linear reconstruction as `istapp` computes them, for whole blocks."""
    sampling, found = BlockSampling(ratio=ratio), {}
    for name in ("ista-net-pp", "linear"):
        with torch.inference_mode():
            estimate = methods.get(name)(sampling.A(planes), sampling)
        found[name] = psnr(luma(estimate), luma(planes))
    return found


def detail(name: str, job: dict) -> Tensor:
    """The luma of a photograph where the page's frame stands."""
    return datasets.photo(name).luma()[..., job["y"] : job["y"] + job["height"], job["x"] : job["x"] + job["width"]]


@needs_chromium
def test_the_page_recovers_what_istapp_recovers(ready: Browser) -> None:
    """The first photograph's detail: above the linear estimate, and both are Python's to 0.01 dB."""
    job = chosen(ready, set_to("photo", demo.FIRST))
    stages = str(methods.get("ista-net-pp").config["stages"])
    wanted = by_python(detail(demo.FIRST, job), 0.1)
    assert (job["width"], job["height"]) == (132, 132)
    assert job["psnr"][stages] > job["psnr"]["linear"] + 0.5
    assert job["psnr"][stages] == pytest.approx(wanted["ista-net-pp"], abs=0.01)
    assert job["psnr"]["linear"] == pytest.approx(wanted["linear"], abs=0.01)
    assert job["bytes"] == 16 * 109
    assert int(job["jpeg"]["words"].replace(",", "")) <= job["bytes"]
    assert 10 < job["psnr"]["jpeg"] < 60


@needs_chromium
def test_the_pixels_agree_with_torch(ready: Browser, small: Path) -> None:
    """Parity of the network in WebAssembly, stage by stage, within 1e-4 at another ratio than the first."""
    ready.value(set_to("ratio", 30))
    open_file(ready, small)
    sampling = BlockSampling(ratio=0.3)
    with torch.inference_mode():
        stages = methods.get("ista-net-pp").trace(sampling.A(read_image(small).luma()), sampling)
    for k, (_, wanted) in enumerate(stages, 1):
        seen = ready.value(f"Array.from(istappDemo.state.job.images[{k}][0])")
        assert np.abs(seen - wanted.flatten().numpy()).max() < 1e-4, k
    ready.value(set_to("ratio", 10))


@needs_chromium
def test_the_matrix_is_that_of_the_book(ready: Browser) -> None:
    """Drawn from its seed in JavaScript it is NumPy's to 1e-12: every fifth of 545 rows, the last among them."""
    drawn = ready.value(
        "Array.from(new Function(istappDemo.network.worker + "
        "'; onmessage = null; return samplingMatrix(this, 545);')"
        ".call(istappDemo.network.generator).filter((_, i) => Math.floor(i / 1089) % 5 === 4))"
    )
    assert np.abs(np.reshape(drawn, (109, 1089)) - sampling_matrix(545)[4::5]).max() < 1e-12


@needs_chromium
@pytest.mark.parametrize(("width", "height"), [(275, 40), (40, 275)])
def test_a_whole_picture_is_worked_on_in_tiles_without_seams(
    ready: Browser, tmp_path: Path, width: int, height: int
) -> None:
    """A picture longer than a tile, of no whole blocks, in colour: Python's result to 0.01 dB and 1e-4 a pixel."""
    file = tmp_path / "piece.png"
    PIL.Image.open(ROOT / "data" / "photos" / "coffee.png").crop((100, 60, 100 + width, 60 + height)).save(file)
    open_file(ready, file)
    job = chosen(ready, click("whole") + click("colour") + click("start"))
    image = read_image(file)
    estimate, _ = reconstruct(methods.get("ista-net-pp"), image.rgb(), BlockSampling(ratio=0.1))
    stages = str(methods.get("ista-net-pp").config["stages"])
    assert (job["width"], job["height"]) == (width, height)
    assert job["psnr"][stages] == pytest.approx(psnr(luma(estimate), image.luma()), abs=0.01)
    seen = ready.value(f"Array.from(istappDemo.state.job.images[{stages}][1])")
    assert np.abs(seen - estimate[1].flatten().numpy()).max() < 1e-4
    assert "about" in message(ready, "estimate")
    ready.value(click("colour") + click("detail"))


@needs_chromium
def test_where_no_jpeg_is_that_small_the_table_says_so(ready: Browser, small: Path) -> None:
    """At 1 % not even the worst JPEG fits; and the page says that the network never learned such a ratio."""
    open_file(ready, small)
    job = chosen(ready, set_to("ratio", 1), "job.jpeg")
    assert job["bytes"] == 40 and "at least" in job["jpeg"]["words"] and "jpeg" not in job["psnr"]
    assert "learned from" in message(ready, "measured")
    ready.value(set_to("ratio", 10))


@needs_chromium
def test_mistakes_cost_one_line_and_what_was_there_stays(ready: Browser, tmp_path: Path, small: Path) -> None:
    """A text file, half a picture, nothing at all: told in words, and the last picture is still there to work on."""
    before = open_file(ready, small)
    text, half, empty = tmp_path / "notes.txt", tmp_path / "half.png", tmp_path / "empty.png"
    text.write_text("no picture")
    half.write_bytes((ROOT / "data" / "photos" / "camera.png").read_bytes()[:300])
    empty.touch()
    for file in (text, half, empty):
        ready.choose("#demo-file", file)
        ready.wait(f"document.getElementById('demo-error').textContent.includes('{file.name}')")
        assert "Choose a PNG" in message(ready, "error")
        assert not ready.value("document.getElementById('demo-error').hidden")
    ready.value(drop("new File(['no picture'], 'letter.txt', {type: 'text/plain'})"))
    ready.wait("document.getElementById('demo-error').textContent.includes('letter.txt')")
    ready.value(drop())
    assert "no file" in message(ready, "error")
    assert chosen(ready, set_to("ratio", 10))["psnr"] == before["psnr"]
    assert message(ready, "error") == ""


@needs_chromium
def test_a_picture_of_forty_megapixels_is_shrunk_and_an_animated_one_shows_its_first(
    ready: Browser, tmp_path: Path
) -> None:
    """Both are recovered, and the page says what it did to them."""
    large, moving = tmp_path / "large.png", tmp_path / "moving.gif"
    PIL.Image.linear_gradient("L").resize((8000, 5000)).save(large)
    frames = [PIL.Image.linear_gradient("L").resize((64, 48)).rotate(180 * k) for k in range(2)]
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    open_file(ready, large)
    assert "40.0 megapixels" in message(ready, "note")
    assert ready.value("istappDemo.state.picture.width * istappDemo.state.picture.height") <= 4e6
    job = open_file(ready, moving)
    assert (job["width"], job["height"]) == (64, 48)
    assert "animated" in message(ready, "note")
    assert ready.value("document.getElementById('demo-whole').disabled")


@needs_chromium
def test_everything_is_reached_by_keyboard(ready: Browser) -> None:
    """The frame moves by arrows, a block at a time; so do ratio, stage and divider."""
    chosen(ready, set_to("photo", "camera"), "job.last > 0")
    ready.value("document.getElementById('demo-frame').focus()")
    x, y = (ready.value(f"istappDemo.state.frame.{axis}") for axis in "xy")
    ready.press("ArrowRight", "ArrowDown")
    recovered(ready, f"job.x === {x + 33} && job.y === {y + 33} && job.last > 1")
    for name in ("stage", "at", "ratio"):
        before = ready.value(f"document.getElementById('demo-{name}').focus(), document.activeElement.value")
        ready.press("ArrowLeft")
        assert int(ready.value("document.activeElement.value")) == int(before) - 1, name
        assert ready.value("document.activeElement.getAttribute('aria-valuetext')")
    assert not ready.value(
        "[...document.querySelectorAll('#demo :is(button, input, select, canvas, svg)')].filter((each) => "
        "!each.labels?.length && !each.textContent.trim() && !each.getAttribute('aria-label')).map((each) => each.id)"
    )


@needs_chromium
def test_the_reconstruction_is_saved_as_png(ready: Browser, tmp_path: Path, small: Path) -> None:
    """The file holds the pixels of the last stage, and is called after photograph and ratio."""
    ready.value(set_to("ratio", 10))
    open_file(ready, small)
    ready.do("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    ready.value(click("save"))
    file = tmp_path / "small-10-percent.png"
    for _ in range(100):
        ready.value("new Promise((done) => setTimeout(done, 50))")
        if file.exists():
            break
    seen = ready.value("Array.from(istappDemo.state.job.images[istappDemo.network.stages][0])")
    saved = np.asarray(PIL.Image.open(file).convert("RGB"))
    assert np.abs(saved[..., 1] - 255 * np.clip(seen, 0, 1).reshape(saved.shape[:2])).max() < 0.51


@needs_chromium
def test_a_whole_photograph_can_be_stopped(ready: Browser) -> None:
    """Stop ends the work, and the next picture is recovered as if nothing had been."""
    chosen(ready, set_to("photo", "camera"), "job.last > 0")
    job = chosen(ready, click("whole") + click("start"), "job.width > 500 && job.last >= 0")
    ready.value(click("stop"))
    ready.value("new Promise((done) => setTimeout(done, 2000))")
    assert ready.value("istappDemo.state.job.last") <= job["last"] + 1
    assert message(ready, "note") == "Stopped."
    assert chosen(ready, click("detail"), "job.last > 1")["width"] == 132


@needs_chromium
@pytest.mark.parametrize("width", [380, 1300])
def test_nothing_is_wider_than_the_screen(ready: Browser, width: int) -> None:
    """Also on a telephone, with everything shown."""
    chosen(ready, set_to("photo", "china"), "job.last > 0")
    ready.screen(width, 900)
    assert ready.value("document.documentElement.scrollWidth") <= width


@needs_chromium
def test_nothing_is_asked_of_another_place_and_nothing_fails(ready: Browser) -> None:
    """Last of the file: whatever the tests above did, files beside the page are all that was read."""
    assert ready.requests() and all(each.startswith("file://") for each in ready.requests())
    assert not ready.errors()
    with pytest.raises(AssertionError, match="fetch"):
        ready.value("fetch('http://127.0.0.1:9/')")
