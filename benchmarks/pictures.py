"""The pictures of the landing page: a real comparison of the bundled sample, photographed; and the studio's icons.

``python -m benchmarks.pictures`` starts a studio of its own, does the main job on the sample, measures the original and
its variants by turns, and writes ``static/img/``. With ``--base`` and ``--data-dir`` it uses a studio that runs already.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, FloatRect, Page, StorageState, sync_playwright

from edge_ai.sample.demo import EVALUATION_NAME, FINAL, MODEL_NAME, Studio, run_sample
from tests.studio import ROOT, reachable_folder, start_studio

IMAGES = ROOT / "static" / "img"
CHROMIUM = "/usr/bin/chromium"
NAME = "Digits sample and its variants"
SECONDS = 60
THEMES = ("light", "dark")
#: Width and height of the window, how many pixels a length of one has, and the parts of the page that are shown.
WIDE = ((1420, 940), 1.5, ("table", "scatter", "forest"))
PHONE = ((400, 940), 2.0, ("scatter", "forest"))
WINDOW = ((1200, 630), 1.5, ())
CARD = (1200, 630)
MARGIN = 8
View = tuple[tuple[int, int], float, tuple[str, ...]]
ICONS = {"icon-192.png": 192, "icon-512.png": 512, "apple-touch-icon.png": 180}
WEBP_QUALITY = 82
SENTENCE = "A smaller, faster model for your device, proven still right."


def main(arguments: list[str] | None = None) -> int:
    """Make every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="address of a studio that runs, such as http://127.0.0.1:8000")
    parser.add_argument("--data-dir", type=Path, help="its data folder")
    given = parser.parse_args(arguments)
    with _studio(given.base, given.data_dir) as (base, demo), sync_playwright() as playwright:
        path = _comparison(base, demo["api_key"])
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        cookies = _sign_in(browser, base + path, demo)
        for theme in THEMES:
            for name, view in (("comparison", WIDE), ("comparison-phone", PHONE)):
                _keep(_photograph(browser, base + path, cookies, theme, view), IMAGES / f"{name}-{theme}.webp")
        window = _photograph(browser, base + path, cookies, "light", WINDOW)
        _keep(_card(browser, window), IMAGES / "card.png")
        for name, size in ICONS.items():
            _keep(_icon(browser, size), IMAGES / name)
        browser.close()
    return 0


@contextlib.contextmanager
def _studio(base: str | None, data_dir: Path | None) -> Iterator[tuple[str, dict[str, str]]]:
    """Give the address of a studio with the sample done, and who may enter."""
    if base and data_dir:
        yield base, json.loads((data_dir / "demo.json").read_text())
        return
    with reachable_folder() as folder, start_studio(folder) as studio:
        run_sample(studio.base, studio.api_key, print)
        yield studio.base, json.loads((studio.data_dir / "demo.json").read_text())


def _comparison(base: str, key: str) -> str:
    """Measure the original and its variants by turns, unless that was done, and return the page's path."""
    api = Studio(base, key)
    found = api.named("comparisons/", NAME)
    if found is None:
        original = api.named("models/", MODEL_NAME)
        dataset = api.named("datasets/", EVALUATION_NAME)
        if original is None or dataset is None:
            raise SystemExit("This studio has not done the sample.")
        variants = api.call("GET", f"models/?parent={original['id']}&page_size=200&ordering=created_at")["results"]
        found = api.call(
            "POST",
            "comparisons/",
            {
                "name": NAME,
                "models": [original["id"], *(each["id"] for each in variants)],
                "device_profile": api.call("GET", "device-profiles/?search=this+machine")["results"][0]["id"],
                "dataset": dataset["id"],
                "threads": 1,
                "max_seconds": SECONDS,
            },
        )
    ended = api.wait(f"comparisons/{found['id']}/", FINAL, print, "comparison")
    return f"/comparisons/{ended['id']}/"


def _sign_in(browser: Browser, address: str, demo: dict[str, str]) -> StorageState:
    """Sign in, and return what a browser remembers of it."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.get_by_label("Email").fill(demo["user"])
    page.get_by_label("Password").fill(demo["password"])
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name=NAME).wait_for()
    state = context.storage_state()
    context.close()
    return state


def _photograph(browser: Browser, address: str, cookies: StorageState, theme: str, view: View) -> bytes:
    """Return the page, or the rectangle of it that holds some of its parts, as a person sees it who has signed in."""
    (width, height), scale, parts = view
    context = browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        storage_state=cookies,
        bypass_csp=True,
    )
    page = context.new_page()
    page.goto(address)
    page.locator("#scatter-chart canvas").wait_for()
    page.locator("#forest-chart canvas").wait_for()
    if parts:
        # What sticks to the window's edges would lie across the picture.
        page.add_style_tag(content="body > header, body > nav { position: static !important }")
    page.wait_for_timeout(1500)
    boxes = [page.locator(f"section[aria-labelledby={part}]").bounding_box() for part in parts]
    there = [box for box in boxes if box is not None]
    if len(there) < len(parts):
        raise SystemExit(f"The page lacks one of {parts}.")
    if not there:
        picture = page.screenshot()
    else:
        left, top = min(box["x"] for box in there) - MARGIN, min(box["y"] for box in there) - MARGIN
        right, bottom = max(box["x"] + box["width"] for box in there), max(box["y"] + box["height"] for box in there)
        clip: FloatRect = {"x": left, "y": top, "width": right + MARGIN - left, "height": bottom + MARGIN - top}
        picture = page.screenshot(full_page=True, clip=clip)
    context.close()
    return picture


def _card(browser: Browser, picture: bytes) -> bytes:
    """Return what is shown beside a link to the studio: the sentence above the picture."""
    icon = (IMAGES / "favicon.svg").read_text()
    shown = base64.b64encode(picture).decode()
    return _drawn(
        browser,
        CARD,
        f"""<style>
        body {{ margin: 0; background: #f6f8f9; color: #16222a; font: 600 46px/1.15 "Liberation Sans", sans-serif }}
        header {{ padding: 44px 60px 34px; display: flex; gap: 28px; align-items: center }}
        svg {{ width: 96px; height: 96px; flex: none }}
        small {{ display: block; font-size: 24px; font-weight: 400; color: #4a5a63; margin-bottom: 8px }}
        img {{ display: block; width: 1080px; margin: auto; border: 1px solid #d5dde1; border-radius: 8px }}
        </style><header>{icon}<div><small>Edge AI Accelerator Studio</small>{SENTENCE}</div></header>
        <img src="data:image/png;base64,{shown}">""",
    )


def _icon(browser: Browser, size: int) -> bytes:
    """Return the icon without round corners, which whoever shows it cuts as is usual there."""
    drawing = (IMAGES / "favicon.svg").read_text().replace('rx="6"', 'rx="0"')
    return _drawn(browser, (size, size), f"<style>body{{margin:0}}svg{{display:block;width:100vw}}</style>{drawing}")


def _drawn(browser: Browser, size: tuple[int, int], html: str) -> bytes:
    page: Page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.set_content(html)
    picture = page.screenshot()
    page.close()
    return picture


def _keep(picture: bytes, path: Path) -> None:
    """Write a picture as small as it gets without being seen."""
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise SystemExit(f"{path}: the browser made no picture.")
    how = [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY] if path.suffix == ".webp" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    _, content = cv2.imencode(path.suffix, pixels, how)
    path.write_bytes(content.tobytes())
    print(f"{path.relative_to(ROOT)}: {pixels.shape[1]} × {pixels.shape[0]}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
