"""Uploads in a browser: several files at once, cut connections, a server that dies, a page that is loaded again."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from playwright.sync_api import Locator, Page, StorageState, expect

from tests.browser.bars import serious
from tests.browser.conftest import Open
from tests.browser.work import API, SAMPLE
from tests.chaos.victims import Anatomy, Kind
from tests.conftest import ask
from tests.studio import RealStudio

JOB_MS = 120_000
MODEL_ADDRESS = re.compile(r"/models/[0-9a-f-]{36}/$")
SLOW_BYTES_A_SECOND = 6_000_000
PIECE_BYTES = 4 << 20
# Where what was begun is, as the page remembers it.
BEGUN_AT = """() => Object.keys(localStorage).filter(key => key.startsWith("tus::"))
  .map(key => JSON.parse(localStorage.getItem(key)).uploadUrl)[0]"""
# What the browser logs of requests that fail on purpose.
FAILED = "Failed to load resource"


def write_large_model(path: Path, seed: int) -> str:
    """Write a network of 20 MB whose bytes no other test has; return its SHA-256."""
    weights = np.random.default_rng(seed).normal(size=(1000, 5000)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5000])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def line_speed(page: Page) -> Callable[[int], None]:
    """Let the page send no faster than a line of a few megabytes a second; return what changes that, 0 cuts the line."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")

    def change(bytes_a_second: int) -> None:
        limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_a_second or -1}
        session.send("Network.emulateNetworkConditions", {"offline": bytes_a_second == 0} | limits)

    change(SLOW_BYTES_A_SECOND)
    return change


def send(page: Page, *files: Path) -> None:
    """Choose files on the page that is open, and send them."""
    page.locator("#upload-form").get_by_label(re.compile("^(Model file|Data set)")).set_input_files(files)
    page.get_by_role("button", name="Upload", exact=True).click()


def line_of(page: Page, file: Path) -> Locator:
    """Return a file's line in the list of what is on its way."""
    return page.get_by_role("list", name="Files on their way").get_by_role("listitem").filter(has_text=file.name)


def await_a_piece(page: Page, line: Locator, file: Path) -> None:
    """Wait until the first piece has arrived and others have not."""
    bar = line.get_by_role("progressbar")
    share = 100 * PIECE_BYTES / file.stat().st_size
    page.wait_for_function("([bar, share]) => bar.value > share", arg=[bar.element_handle(), share])
    expect(line).not_to_contain_text("Taken in")


def sha256_of_model(studio: RealStudio, page: Page) -> str:
    """Return what the studio says of the model whose page is shown."""
    return str(ask(studio, "GET", f"{API}models/{page.url.strip('/').split('/')[-1]}/").body["sha256"])


@pytest.fixture
def large(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A model large enough to be interrupted, and its SHA-256."""
    path = tmp_path / f"large-{os.urandom(3).hex()}.onnx"
    yield path, write_large_model(path, int.from_bytes(os.urandom(4)))
    path.unlink()


def test_several_files_at_once(open_page: Open, signed_in: StorageState, tmp_path: Path) -> None:
    page = open_page(storage_state=signed_in, expected=FAILED)
    letter = tmp_path / "<b>letter.onnx"
    letter.write_text("Dear studio, this is no model.\n" * 20)
    empty = tmp_path / "empty.onnx"
    empty.touch()
    page.goto("/models/")
    send(page, SAMPLE / "digits.onnx", SAMPLE / "digits.tflite", letter, empty)
    lines = page.get_by_role("list", name="Files on their way").get_by_role("listitem")
    expect(lines).to_have_count(4)
    for name, format_ in (("digits.onnx", "ONNX"), ("digits.tflite", "TensorFlow Lite")):
        line = lines.filter(has_text=name)
        expect(line).to_contain_text(f"{format_}, 0.", timeout=JOB_MS)
        digest = hashlib.sha256((SAMPLE / name).read_bytes()).hexdigest()
        expect(line).to_contain_text(f"SHA-256 of what arrived: {digest}")
        expect(line).to_contain_text("ready", timeout=JOB_MS)
        expect(line.get_by_role("link", name=f"Open {name}")).to_have_attribute("href", MODEL_ADDRESS)
    refused = lines.filter(has_text="letter")
    expect(refused.get_by_role("alert")).to_contain_text("text")
    expect(refused.get_by_role("link", name="model_unreadable")).to_have_attribute(
        "href", re.compile("#model_unreadable$")
    )
    expect(refused.locator(".upload-name")).to_have_text("<b>letter.onnx")
    expect(lines.filter(has_text="empty.onnx").get_by_role("alert")).to_contain_text("The file is empty.")
    # The list below follows by itself.
    expect(page.get_by_role("row", name=re.compile("digits.tflite")).first).to_be_visible()
    assert serious(page) == []
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    refused.get_by_role("button", name=re.compile("Take off the list")).click()
    expect(lines).to_have_count(3)


def test_a_cut_connection_is_waited_for(
    open_page: Open, signed_in: StorageState, studio: RealStudio, large: tuple[Path, str]
) -> None:
    file, digest = large
    page = open_page(storage_state=signed_in, expected=FAILED)
    page.goto("/models/")
    change = line_speed(page)
    send(page, file)
    line = line_of(page, file)
    await_a_piece(page, line, file)
    expect(line).to_contain_text(re.compile(r"[\d.]+ MB of 20 MB, [\d.]+ MB/s, \d+ s left"))
    change(0)
    expect(line).to_contain_text("No answer; goes on by itself")
    expect(page.get_by_role("status").filter(has_text="No answer")).to_have_count(1)
    change(10 * SLOW_BYTES_A_SECOND)
    page.wait_for_url(MODEL_ADDRESS)
    assert sha256_of_model(studio, page) == digest


def test_a_server_that_was_killed_goes_on(
    open_page: Open, signed_in: StorageState, studio: RealStudio, large: tuple[Path, str]
) -> None:
    file, digest = large
    page = open_page(storage_state=signed_in, expected=FAILED)
    page.goto("/models/")
    line_speed(page)
    send(page, file)
    await_a_piece(page, line_of(page, file), file)
    killed = Anatomy(studio).of(Kind.WEB_WORKER)
    assert killed
    for worker in killed:
        os.kill(worker.pid, signal.SIGKILL)
    page.wait_for_url(MODEL_ADDRESS, timeout=JOB_MS)
    assert sha256_of_model(studio, page) == digest


def test_a_page_that_is_loaded_again_goes_on_with_the_same_file(
    open_page: Open, signed_in: StorageState, studio: RealStudio, large: tuple[Path, str]
) -> None:
    file, digest = large
    page = open_page(storage_state=signed_in)
    page.goto("/models/")
    line_speed(page)
    send(page, file)
    await_a_piece(page, line_of(page, file), file)
    page.reload()
    line = line_of(page, file)
    expect(line).to_contain_text("Begun earlier")
    arrived = float(line.get_by_role("progressbar").evaluate("bar => bar.value"))
    assert 100 * PIECE_BYTES / file.stat().st_size <= arrived < 100
    # Another file is not mistaken for it.
    again = line.get_by_label(re.compile("choose the same file again"))
    again.set_input_files(SAMPLE / "digits.onnx")
    expect(line.get_by_role("alert")).to_contain_text("This is another file")
    sent: list[int] = []
    page.on(
        "request",
        lambda request: sent.append(int(request.headers["upload-offset"])) if request.method == "PATCH" else None,
    )
    again.set_input_files(file)
    page.wait_for_url(MODEL_ADDRESS)
    assert min(sent) == round(arrived / 100 * file.stat().st_size), "what had arrived is not sent again"
    assert sha256_of_model(studio, page) == digest


def test_paused_resumed_by_keyboard_and_given_up(
    open_page: Open, signed_in: StorageState, studio: RealStudio, large: tuple[Path, str]
) -> None:
    file, _ = large
    # A piece that was given up may still hold the upload for a moment; the client asks again.
    page = open_page(storage_state=signed_in, expected=FAILED)
    page.goto("/models/")
    line_speed(page)
    send(page, file)
    line = line_of(page, file)
    await_a_piece(page, line, file)
    line.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")
    expect(line).to_contain_text("Paused")
    resume = line.get_by_role("button", name="Resume")
    expect(resume).to_be_focused()
    page.keyboard.press("Enter")
    expect(line).to_contain_text("Sending")
    address = page.evaluate(BEGUN_AT)
    assert ask(studio, "GET", address.removeprefix(studio.base)).status == 200
    line.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("list", name="Files on their way")).to_be_hidden()
    assert ask(studio, "GET", address.removeprefix(studio.base)).status == 404
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")
    expect(page.get_by_role("list", name="Files on their way")).to_be_hidden()


def test_data_sets_arrive_the_same_way(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(storage_state=signed_in)
    page.goto("/datasets/")
    send(page, SAMPLE / "digits-calibration.npz", SAMPLE / "digits-eval.npz")
    for name, words in (("digits-calibration.npz", "200 samples"), ("digits-eval.npz", "labelled")):
        line = page.get_by_role("list", name="Files on their way").get_by_role("listitem").filter(has_text=name)
        expect(line).to_contain_text(words)
        expect(page.get_by_role("row", name=re.compile(name)).first).to_be_visible()


def test_weights_beside_an_onnx_model_are_asked_for_as_one_archive(
    open_page: Open, signed_in: StorageState, studio: RealStudio, tmp_path: Path
) -> None:
    page = open_page(storage_state=signed_in)
    write_large_model(tmp_path / "whole.onnx", seed=7)
    model = onnx.load(tmp_path / "whole.onnx")
    onnx.save(model, tmp_path / "parted.onnx", save_as_external_data=True, location="parted.onnx.data")
    page.goto("/models/")
    send(page, tmp_path / "parted.onnx", tmp_path / "parted.onnx.data")
    lines = page.get_by_role("list", name="Files on their way").get_by_role("listitem")
    weights = lines.filter(has=page.get_by_text("parted.onnx.data", exact=True))
    expect(weights.get_by_role("alert")).to_contain_text("into one .zip and upload that")
    graph = lines.filter(has=page.get_by_text("parted.onnx", exact=True))
    expect(graph.get_by_role("alert")).to_contain_text(
        "Put the .onnx and 'parted.onnx.data' into one .zip", timeout=JOB_MS
    )
    with zipfile.ZipFile(tmp_path / "parted.zip", "w") as archive:
        for name in ("parted.onnx", "parted.onnx.data"):
            archive.write(tmp_path / name, name)
    page.goto("/models/")
    send(page, tmp_path / "parted.zip")
    page.wait_for_url(MODEL_ADDRESS)
    expect(page.locator("dl.facts")).to_contain_text("Ready", timeout=JOB_MS)
    expect(page.locator("dl.facts")).to_contain_text("5.00 M")


def test_only_pages_with_a_drop_zone_load_the_client(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(storage_state=signed_in)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for address, expected in (("/jobs/", False), ("/models/", True), ("/datasets/", True)):
        asked.clear()
        page.goto(address)
        assert any("tus-js-client" in url for url in asked) is expected, address


def test_a_list_that_is_narrowed_hides_nothing_that_was_uploaded(
    open_page: Open, signed_in: StorageState, tmp_path: Path
) -> None:
    content = (SAMPLE / "digits.onnx").read_bytes()
    files = [tmp_path / f"seen-{name}.onnx" for name in ("one", "two", "three")]
    for file in files:
        file.write_bytes(content)
    page = open_page(storage_state=signed_in)
    page.goto("/models/?search=nothing+is+called+so")
    expect(page.get_by_text("No model matches.")).to_be_visible()
    send(page, files[0])
    expect(page).to_have_url(MODEL_ADDRESS)
    page.goto("/models/")
    expect(page.locator("#list").get_by_role("link", name="seen-one").first).to_be_visible()
    page.goto("/models/?search=nothing+is+called+so")
    send(page, *files[1:])
    note = page.get_by_text("The list below is narrowed, and may not show what has just come.")
    expect(note).to_be_visible()
    note.get_by_role("link", name="Show all").click()
    expect(page.locator("#list").get_by_role("link", name="seen-three").first).to_be_visible()
