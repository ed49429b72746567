"""The keyboard alone: everything is reached by Tab and shows that it is, and menus, dialogs and choices follow the keys."""

from __future__ import annotations

import re

from playwright.sync_api import Page, StorageState, expect

from tests.browser.conftest import Open
from tests.browser.work import Work

# Keeps what the focus has come to, whether that is seen, and when it has gone once around.
FOLLOW = """() => {
  for (const details of document.querySelectorAll("main details")) details.open = true;
  const shown = (element) => {
    const style = element && getComputedStyle(element);
    return style && ((style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none");
  };
  window.unseen = [];
  window.around = false;
  document.addEventListener("focusin", ({ target }) => {
    if (target.dataset.reached) window.around = true;
    target.dataset.reached = "yes";
    const marked = [target, target.closest(".choice"), target.closest("label.input")];
    if (!marked.some(shown)) window.unseen.push(target.outerHTML.slice(0, 120));
  });
}"""
UNREACHED = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
  .filter((element) => element.checkVisibility({ visibilityProperty: true }) && element.tabIndex >= 0)
  .filter((element) => !element.disabled && element.type !== "hidden" && !element.dataset.reached)
  .filter((element) => element.type !== "radio" ||
    ![...document.getElementsByName(element.name)].some((each) => each.dataset.reached))
  .map((element) => element.outerHTML.slice(0, 120))"""
MOST = 900
AT_ONCE = 30
ADDRESSES = (
    "/overview/",
    *(f"/{each}/?view=all" for each in ("models", "jobs", "devices", "benchmarks", "artifacts")),
    "/search/?q=digits",
    *(f"/models/{{work.model}}/{tab}" for tab in ("", "?tab=operators", "?tab=layers", "?tab=variants", "?tab=files")),
    "/models/{work.model}/optimize/",
    "/models/{work.model}/benchmark/",
    "/optimize/?model={work.model}&model={work.variant}",
    "/jobs/{work.optimization}/",
    "/benchmarks/{work.compared_benchmark}/",
    "/comparisons/new/?model={work.model}&model={work.variant}",
    "/comparisons/{work.comparison}/",
    "/compare/?run={work.benchmark}&run={work.compared_benchmark}",
    *(f"/settings/{each}/" for each in ("account", "api-keys", "members", "workspace", "webhooks/add", "audit")),
)


def tab_around(page: Page) -> list[str]:
    """Press Tab until the focus has been everywhere; tell what it did not come to, and where it was not seen."""
    page.evaluate(FOLLOW)
    for _ in range(MOST // AT_ONCE):
        for _ in range(AT_ONCE):
            page.keyboard.press("Tab")
        if page.evaluate("window.around"):
            break
    else:
        return [f"{page.url}: the focus does not come around"]
    unseen: list[str] = page.evaluate("window.unseen")
    unreached: list[str] = page.evaluate(UNREACHED)
    return [f"{page.url}: not seen at {each}" for each in unseen] + [f"{page.url}: not at {each}" for each in unreached]


def test_the_tab_key_reaches_everything_and_the_focus_is_seen(
    open_page: Open, signed_in: StorageState, work: Work
) -> None:
    page = open_page(storage_state=signed_in)
    faults: list[str] = []
    for address in ADDRESSES:
        page.goto(address.format(work=work))
        faults += tab_around(page)
    assert not faults, "\n".join(faults)


def test_menus_follow_the_keys(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(storage_state=signed_in)
    page.goto("/overview/")
    menu = page.get_by_label("Account", exact=True)
    entry = page.get_by_role("link", name="Account", exact=True)
    for key in ("Enter", "Space"):
        menu.focus()
        page.keyboard.press(key)
        expect(entry).to_be_visible()
        page.keyboard.press("Tab")
        expect(entry).to_be_focused()
        page.keyboard.press("Escape")
        expect(entry).to_be_hidden()
        expect(menu).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(entry).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("button", name="Sign out")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(entry).to_be_focused()
    # Whoever goes on leaves nothing open behind.
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(entry).to_be_hidden()
    page.get_by_label("Theme").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Light")).to_have_attribute("aria-pressed", "true")


def test_the_dialog_keeps_the_focus_and_gives_it_back(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(storage_state=signed_in)
    page.goto("/jobs/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    link = page.get_by_role("navigation", name="Sections").first.get_by_role("link", name="Models")
    link.focus()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(link).to_be_focused()


def test_tabs_choices_and_folds_follow_the_keys(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in)
    page.goto(f"/models/{work.model}/")
    tab = page.get_by_role("main").get_by_role("link", name="Operators", exact=True)
    tab.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("tab=operators"))
    expect(tab).to_have_attribute("aria-current", "page")
    page.goto(f"/models/{work.model}/optimize/")
    page.locator("#precision-fp16").focus()
    page.keyboard.press("Space")
    expect(page.locator("#plan")).to_contain_text("Makes fp16")
    expect(page.locator("#precision-fp16")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#precision-fp16")).not_to_be_checked()
    fold = page.get_by_text("Advanced options", exact=False).first
    fold.focus()
    page.keyboard.press("Space")
    expect(page.get_by_label("Accuracy budget")).to_be_visible()
