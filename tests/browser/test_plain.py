"""Without JavaScript: every page has what it is about, and what is done on it is done by forms alone."""

from __future__ import annotations

import re
import uuid

from playwright.sync_api import StorageState, expect

from tests.browser.conftest import Open
from tests.browser.places import find_places, prove
from tests.browser.visits import visits
from tests.browser.work import Work
from tests.studio import RealStudio

JOB_MS = 120_000
# What is of no use without a script: a form that nothing sends, a button that does nothing, a chart without its numbers.
USELESS = """() => {
  const shown = (element) => element.checkVisibility();
  const found = [];
  for (const form of [...document.querySelectorAll("form")].filter(shown)) {
    const sends = [...form.elements].some((each) => each.type === "submit" && !each.disabled);
    // A search of one field is sent by Enter.
    if (form.role === "search" || form.getAttribute("role") === "search") continue;
    const apart = form.id && document.querySelector(`[type=submit][form="${form.id}"], button[form="${form.id}"]`);
    if (!sends && !apart) found.push(`nothing sends ${form.action}`);
  }
  for (const button of [...document.querySelectorAll("button[type=button]")].filter(shown)) {
    found.push(`nothing happens at ${button.outerHTML.slice(0, 100)}`);
  }
  for (const chart of document.querySelectorAll(".chart")) {
    if (!document.querySelector("main table")) found.push(`no table beside ${chart.id}`);
    if (shown(chart)) found.push(`an empty box for ${chart.id}`);
  }
  const main = document.querySelector("main");
  if (document.querySelectorAll("h1").length !== 1) found.push("not one heading of the first level");
  if (!main || main.innerText.trim().length < 20) found.push("nothing to read");
  return found;
}"""


def test_every_page_is_of_use(open_page: Open, signed_in: StorageState, studio: RealStudio, work: Work) -> None:
    places = find_places(open_page(storage_state=signed_in), studio, work)
    windows = {
        True: open_page(storage_state=signed_in, java_script_enabled=False),
        False: open_page(java_script_enabled=False),
    }
    faults: list[str] = []
    for visit in visits(places):
        page = windows[visit.signed_in]
        answer = page.goto(visit.path)  # with its style sheet, which hides what scripts alone can do
        assert answer is not None
        faults += [f"{visit.path}: {each}" for each in [*page.evaluate(USELESS), *([] if answer.ok else ["not there"])]]
    assert not faults, "\n".join(faults)


def test_models_are_compared(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in, java_script_enabled=False)
    page.goto("/models/?search=Shown")
    for model in (work.model, work.variant):
        page.locator(f'input[name="row"][value="{model}"]').check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare models")
    page.get_by_label("At most, in seconds").fill("5")
    page.get_by_role("button", name="Check the plan first").click()
    expect(page.locator("#plan")).to_contain_text("Holds 1 model against")
    page.get_by_role("button", name="Start").click()
    # The page loads itself again until the job has ended.
    expect(page.get_by_role("table").first).to_be_visible(timeout=JOB_MS)
    expect(page.get_by_role("main")).to_contain_text("Shown digits")


def test_lists_are_paged(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(storage_state=signed_in, java_script_enabled=False)
    page.goto("/devices/?view=table&page_size=25")
    name = page.locator("#list tbody th a").first
    first = name.inner_text()
    page.get_by_role("link", name="Next").click()
    expect(page).to_have_url(re.compile("page=2"))
    expect(name).not_to_have_text(first)
    page.get_by_role("link", name="Previous").click()
    expect(name).to_have_text(first)


def test_settings_are_changed(open_page: Open, signed_in: StorageState, studio: RealStudio) -> None:
    page = open_page(storage_state=signed_in, java_script_enabled=False)
    word = uuid.uuid4().hex[:6]
    prove(page, studio)
    page.goto("/settings/api-keys/")
    page.get_by_label("Name").fill(f"Plain {word}")
    page.get_by_role("main").get_by_role("button", name="Make a key").click()
    expect(page.locator("#new-key-secret")).to_have_text(re.compile("^eas_"))
    page.get_by_role("row").filter(has_text=f"Plain {word}").get_by_text("Revoke…").click()
    page.get_by_role("row").filter(has_text=f"Plain {word}").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status").filter(has_text="no longer works")).to_be_visible()
    page.goto("/devices/add/")
    page.get_by_label("Name").first.fill(f"Plain board {word}")
    page.get_by_role("main").get_by_role("button", name="Add the device").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Plain board {word}")
