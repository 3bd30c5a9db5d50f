"""A headless Chromium for tests of the console: one for a module, with pages that tell what went wrong in them."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import axe_playwright_python
from playwright.sync_api import BrowserContext, Page, sync_playwright

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT = 60_000  # milliseconds; a loaded machine is slow
AXE = pathlib.Path(axe_playwright_python.__file__).with_name("axe.min.js")


class Browser:
    """Use as a context manager. `complaints`: what pages logged of policies that they broke, and errors of their scripts."""

    def __init__(self, executable: str, profile: pathlib.Path, base: str) -> None:
        self.base = base
        self.complaints: list[str] = []
        self._executable = executable
        self._profile = profile

    def __enter__(self) -> Browser:
        self._playwright = sync_playwright().start()
        self._context: BrowserContext = self._playwright.chromium.launch_persistent_context(
            self._profile, executable_path=self._executable, args=FLAGS, headless=True, accept_downloads=True
        )
        self._context.set_default_timeout(WAIT)
        self._context.grant_permissions(["clipboard-read", "clipboard-write"])
        return self

    def __exit__(self, *exc: object) -> None:
        self._context.close()
        self._playwright.stop()

    def page(self, width: int = 1200, height: int = 800) -> Page:
        page = self._context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("console", self._heard)
        page.on("dialog", lambda dialog: self.complaints.append(f"a script ran: {dialog.message}"))
        return page

    def _heard(self, message: Any) -> None:
        if re.search(r"Content.Security.Policy|TrustedHTML|Refused to", message.text):
            self.complaints.append(message.text)

    def sign_in(self, page: Page, user: str, key: str, place: str = "") -> None:
        page.goto(self.base + place)
        page.get_by_label("User").fill(user)
        page.get_by_label("Key", exact=True).fill(key)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Sign out").wait_for()


def faults_of(page: Page) -> list[str]:
    """What axe finds, in words; 'undecided' ones, where it can't tell, are not among them."""
    if not page.evaluate("() => Boolean(window.axe)"):
        page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']}: {fault['help']}: {json.dumps([node['target'] for node in fault['nodes']][:3])}"
        for fault in found["violations"]
    ]
