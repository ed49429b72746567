"""The main job in a browser: sign in, upload, optimize, watch it finish, take the variant away. With JavaScript and without."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

import onnxruntime
from playwright.sync_api import Download, Page, StorageState, expect

from tests.browser.conftest import Open, sign_in
from tests.browser.work import API, SAMPLE, Work
from tests.conftest import ask
from tests.studio import RealStudio

JOB_MS = 120_000
JOB_ADDRESS = re.compile(r"/jobs/[0-9a-f-]{36}/$")
DATASET_ADDRESS = re.compile(r"/datasets/[0-9a-f-]{36}/$")
MODEL_ADDRESS = re.compile(r"/models/[0-9a-f-]{36}/$")


def upload_through_page(page: Page, address: str, file_name: str, name: str) -> None:
    """Send a file of the sample with the form at the top of a list."""
    page.goto(address)
    page.locator("#upload-form").get_by_label(re.compile("^(Model file|Data set)")).set_input_files(SAMPLE / file_name)
    page.locator("#upload-form summary").click()
    page.locator("#upload-form").get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Upload").click()


def is_the_variant(download: Download, studio: RealStudio, model: str) -> None:
    """Check that a file is what the studio says it is, and that it is a model that runs."""
    content = Path(download.path()).read_bytes()
    said = ask(studio, "GET", f"{API}models/{model}/").body
    assert hashlib.sha256(content).hexdigest() == said["sha256"]
    assert len(content) == said["size_bytes"]
    assert len(content) < (SAMPLE / "digits.onnx").stat().st_size / 3
    assert download.suggested_filename.endswith(".onnx")
    assert onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).get_inputs()


def test_upload_optimize_watch_and_download(open_page: Open, studio: RealStudio) -> None:
    page = open_page()
    page.goto("/models/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_label("Email").fill(studio.user)
    page.get_by_label("Password").fill(studio.password)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")

    upload_through_page(page, "/datasets/", "digits-calibration.npz", "Journey data")
    page.wait_for_url(DATASET_ADDRESS)
    expect(page.get_by_role("heading", level=1)).to_have_text("Journey data")
    upload_through_page(page, "/models/", "digits.onnx", "Journey digits")
    page.wait_for_url(MODEL_ADDRESS)
    expect(page.get_by_role("heading", level=1)).to_have_text("Journey digits")
    expect(page.locator("dl.facts")).to_contain_text("Ready", timeout=JOB_MS)
    expect(page.locator("dl.facts")).to_contain_text("0.451 MB")

    page.get_by_role("link", name="Optimize", exact=True).click()
    plan = page.locator("#plan")
    expect(plan).to_contain_text("What will run")
    page.get_by_label("fp16 weights").check()
    expect(plan).to_contain_text("Makes fp16")
    page.get_by_label("int8, calibrated").check()
    expect(plan).to_contain_text("Makes int8")
    page.get_by_label("Calibration data").select_option(label="No data")
    expect(plan.locator(".note")).to_contain_text("int8")
    data = page.get_by_label("Calibration data")
    data.select_option(data.get_by_role("option", name=re.compile("Journey data")).get_attribute("value"))
    expect(plan).to_contain_text("Expected size")

    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.resource_type} {request.url}"))
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(JOB_ADDRESS)
    expect(page.locator("#job-live .status").first).to_have_text("Completed", timeout=JOB_MS)
    expect(page.get_by_role("heading", name="Before and after")).to_be_visible()
    assert any(line.startswith(("xhr", "fetch")) and "/events/?after=" in line for line in asked), asked
    page.get_by_text("Log", exact=True).click()
    expect(page.get_by_role("log", name="Log of the job").get_by_role("listitem").first).to_be_visible()

    variant = page.get_by_role("link", name="Open the variant").get_attribute("href") or ""
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download variant").click()
    is_the_variant(waiting.value, studio, variant.strip("/").split("/")[-1])


def test_a_refused_upload_says_why_and_the_form_stays(open_page: Open, signed_in: StorageState, tmp_path: Path) -> None:
    page = open_page(storage_state=signed_in, expected="422")
    letter = tmp_path / "letter.onnx"
    letter.write_text("Dear studio, this is no model.\n" * 20)
    page.goto("/models/")
    page.get_by_label(re.compile("^Model file")).set_input_files(letter)
    page.get_by_role("button", name="Upload").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("text")
    expect(alert.get_by_role("link", name="model_unreadable")).to_be_visible()
    expect(page.get_by_role("button", name="Upload")).to_be_enabled()


def test_the_main_job_without_javascript(open_page: Open, studio: RealStudio) -> None:
    page = open_page(java_script_enabled=False)
    page.goto("/")
    page.get_by_role("link", name="Sign in").first.click()
    sign_in(page, studio)
    upload_through_page(page, "/datasets/", "digits-calibration.npz", "Plain data")
    expect(page.get_by_role("heading", level=1)).to_have_text("Plain data")
    expect(page.get_by_role("status").filter(has_text="“Plain data” is here")).to_be_visible()
    upload_through_page(page, "/models/", "digits.onnx", "Plain digits")
    # The page refreshes itself until the analysis is done.
    expect(page.locator("dl.facts")).to_contain_text("Ready", timeout=JOB_MS)

    page.get_by_role("link", name="Optimize", exact=True).click()
    page.get_by_label("int8, dynamic").check()
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator("#plan")).to_contain_text("What will run")
    expect(page.get_by_label("int8, dynamic")).to_be_checked()
    page.get_by_label("int8, calibrated").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(JOB_ADDRESS)
    expect(page.get_by_role("heading", name="Before and after")).to_be_visible(timeout=JOB_MS)
    variant = page.get_by_role("link", name="Open the variant").get_attribute("href") or ""
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download variant").click()
    is_the_variant(waiting.value, studio, variant.strip("/").split("/")[-1])

    page.get_by_role("link", name="Open the variant").click()
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Tags").fill("plain, small")
    page.get_by_role("main").get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="plain", exact=True)).to_be_visible()


def test_from_what_is_possible_to_another_format(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in)
    page.goto(f"/models/{work.model}/")
    page.get_by_role("link", name="Compatibility", exact=True).click()
    row = page.get_by_role("row", name=re.compile("^This machine"))
    row.get_by_role("cell").nth(2).get_by_role("link", name=re.compile("^fp16")).click()
    expect(page.get_by_label("TensorFlow Lite", exact=False).first).to_be_checked()
    plan = page.locator("#plan")
    expect(plan).to_contain_text("Makes fp16")

    page.locator("#target-openvino").check()
    # The answer to this choice takes the place of the choices, those of precisions among them.
    expect(plan).not_to_contain_text("Convert to tflite")
    expect(page.locator("#precisions")).to_contain_text("Not for the chosen format")
    page.locator("#precision-int4").focus()
    page.keyboard.press("Space")
    expect(plan).to_contain_text("Precision not supported")
    expect(page.locator("#precision-int4")).to_be_focused()
    plan.get_by_role("link", name=re.compile("^Make it in fp16")).click()
    expect(plan).to_contain_text("Makes fp16")

    page.locator("#target-tflite").check()
    page.get_by_text("Advanced options").click()
    page.get_by_label("Accuracy budget").fill("0.05")
    expect(plan).to_contain_text("Convert to tflite")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(JOB_ADDRESS)
    expect(page.get_by_role("heading", name="Before and after")).to_be_visible(timeout=JOB_MS)
    expect(page.get_by_role("link", name=re.compile(r"tflite-fp16\.tflite$"))).to_be_visible()
    expect(page.get_by_role("link", name=re.compile(r"-recipe\.yaml$")).first).to_be_visible()


def test_another_format_without_javascript(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(java_script_enabled=False, storage_state=signed_in)
    page.goto(f"/models/{work.model}/optimize/")
    page.locator("#target-openvino").check()
    page.locator("#precision-fp16").check()
    page.get_by_text("Advanced options").click()
    page.get_by_label("Simplify the graph").check()
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator("#plan")).to_contain_text("Compress the network")
    expect(page.get_by_text("Advanced options: 1 changed")).to_be_visible()
    expect(page.get_by_label("Simplify the graph")).to_be_checked()
    expect(page.locator("#precisions")).to_contain_text("Not for the chosen format")


def test_a_bundle_is_made_and_taken_away_and_a_log_read_without_javascript(
    open_page: Open, signed_in: StorageState, work: Work, tmp_path: Path
) -> None:
    page = open_page(storage_state=signed_in, java_script_enabled=False)
    page.goto(f"/models/{work.variant}/?tab=files")
    page.get_by_role("main").get_by_role("button", name="Make a bundle").last.click()
    page.wait_for_url(JOB_ADDRESS)
    # The page refreshes itself until the job has ended.
    expect(page.get_by_role("heading", name="Bundle", exact=True)).to_be_visible(timeout=JOB_MS)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download bundle").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
        assert {"README.md", "recipe.json", "run.py", "model.onnx", "SHA256SUMS"} <= set(archive.namelist())
    sums = (tmp_path / "SHA256SUMS").read_text().split()
    assert hashlib.sha256((tmp_path / "model.onnx").read_bytes()).hexdigest() in sums
    page.get_by_text("Log", exact=True).click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Whole log as text").click()
    assert "Completed." in Path(waiting.value.path()).read_text()


def test_what_libraries_print_can_be_hidden(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in)
    page.goto(f"/jobs/{work.cancelled_optimization}/events/")
    log = page.get_by_role("log", name="Log of the job")
    expect(log.get_by_role("listitem").first).to_be_visible()
    log.evaluate("""log => log.querySelector("li").className = "debug" """)
    page.get_by_label("Debug lines").uncheck()
    expect(log.locator("li.debug")).to_be_hidden()
    expect(log.locator("li:not(.debug)").first).to_be_visible()
    page.get_by_label("Debug lines").check()
    expect(log.locator("li.debug")).to_be_visible()
