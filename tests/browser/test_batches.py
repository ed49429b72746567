"""A job that fails and is run again, and a batch from the form to its end, in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import StorageState, expect

from tests.browser.conftest import Open
from tests.browser.work import JOB_SECONDS, SAMPLE, await_final, upload
from tests.studio import RealStudio

LONG_MS = 1000 * JOB_SECONDS


def test_a_failure_is_read_and_run_again(open_page: Open, signed_in: StorageState, studio: RealStudio) -> None:
    cut = (SAMPLE / "digits.onnx").read_bytes()[:200_000]
    broken = upload(studio, "models/", "cut.onnx", cut, name="Cut for good")["id"]
    assert await_final(studio, f"models/{broken}/")["status"] == "failed"
    page = open_page(storage_state=signed_in)
    page.goto("/jobs/?kind=analysis&status=failed")
    page.get_by_role("link", name="Analyse Cut for good").first.click()
    note = page.get_by_role("main").get_by_role("alert")
    expect(note).to_contain_text("What to do:")
    expect(note.get_by_role("link", name="Upload another file")).to_be_visible()
    code = note.get_by_role("link", name=re.compile("^[a-z]+_[a-z_]+$"))
    expect(code).to_be_hidden()
    note.get_by_text("Technical detail").click()
    expect(code).to_be_visible()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("is queued again.")).to_be_visible()
    # It is cut short as before: the page follows it to the same end, and says so once more.
    expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("What to do:", timeout=LONG_MS)
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


def test_a_batch_is_submitted_and_watched_to_its_end(
    open_page: Open, signed_in: StorageState, studio: RealStudio
) -> None:
    data = (SAMPLE / "digits-eval.npz").read_bytes()
    dataset = upload(studio, "datasets/", "digits-eval.npz", data, name="Digits for batches")["id"]
    models = [
        upload(studio, "models/", "digits.onnx", (SAMPLE / "digits.onnx").read_bytes(), name=f"Batch {name}")["id"]
        for name in ("one", "two")
    ]
    for model in models:
        assert await_final(studio, f"models/{model}/")["status"] == "ready"
    page = open_page(storage_state=signed_in)
    page.goto(f"/optimize/?model={models[0]}&model={models[1]}")
    plan = page.locator("#plan")
    page.get_by_label("fp16 weights").check()
    expect(plan).to_contain_text("2 jobs will run")
    page.get_by_label("int8, calibrated").check()
    expect(plan).to_contain_text("2 jobs will run; 2 combinations cannot work")
    page.get_by_label("Calibration data").select_option(value=dataset)
    expect(plan).to_contain_text("4 jobs will run")
    page.get_by_label("Name").fill("Two by two")
    page.get_by_role("button", name="Start all").click()
    expect(page).to_have_url(re.compile("/batches/"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Two by two")
    live = page.locator("#batch")
    expect(live).to_contain_text("4 completed", timeout=2 * LONG_MS)
    expect(page.get_by_role("button", name="Cancel all")).to_have_count(0)
    for name in ("Batch one", "Batch two"):
        row = page.get_by_role("row").filter(has_text=name)
        expect(row.get_by_text("Completed")).to_have_count(2)
        expect(row.get_by_role("link", name="fp16")).to_be_visible()
        expect(row).to_contain_text("smaller")
    told = await_final(studio, f"optimization-jobs/batches/{page.url.partition('/batches/')[2]}")
    assert (told["status"], told["counts"]["completed"]) == ("completed", 4)
    page.get_by_role("row").filter(has_text="Batch one").get_by_role("link", name="fp16").click()
    expect(page.get_by_role("heading", name="What next")).to_be_visible()
    page.get_by_role("link", name="part of a batch").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Two by two")
