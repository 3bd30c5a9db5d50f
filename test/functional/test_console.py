"""The console in a browser: what a person does with it, by mouse, by keyboard, on a phone; and what nobody can make it do."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from playwright.sync_api import expect

from test.browser import WAIT, Browser, faults_of
from test.listed_names import list_names

expect.set_options(timeout=WAIT)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAYAAABytg0kAAAAFElEQVR4nGP8z8Dwn4GBgYGJAQoAHxcCAk+Uzr4AAAAASUVORK5CYII="
)
NASTY = "<img src=x onerror=alert(1)>"
DROP = """async ([files]) => {
  const transfer = new DataTransfer();
  for (const [name, length, type] of files) {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 10)) & 255);
    transfer.items.add(new File([bytes], name, { type, lastModified: 1700000000000 }));
  }
  const place = document.querySelector('main');
  for (const name of ['dragover', 'drop']) place.dispatchEvent(new DragEvent(name, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def browser(address, tmp_path_factory):
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("there is no chromium")
    base = "http://{}:{}/console/".format(*address)
    with Browser(executable, tmp_path_factory.mktemp("profile"), base) as running:
        yield running


@pytest.fixture
def page(browser):
    """One that nothing goes wrong in: no script's error, nothing that its policy had to refuse."""
    page = browser.page()
    yield page
    page.close(run_before_unload=False)
    assert browser.complaints == []


@pytest.fixture
def at(browser, page, container):
    """The page, signed in and at a new container."""
    browser.sign_in(page, "test:tester", "testing", place_of(container))
    expect(page.get_by_role("heading", name=container[1:])).to_be_visible()
    return page


def place_of(container: str, prefix: str = "") -> str:
    return f"#/a/AUTH_test{container}/{urllib.parse.quote(prefix, '')}"


def row(page, name):
    return page.get_by_role("row").filter(has_text=name)


def open_object(page, name):
    row(page, name).locator(".name").click()
    return page.get_by_role("dialog", name=name)


def until(condition):
    """A replica of a listing may hear of a change a moment later."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it does not come to be")


def made_of(length):
    return bytes((at * 31 + (at >> 10)) & 255 for at in range(length))


# -- signing in


def test_a_token_is_nowhere_but_in_memory(browser, page, container):
    seen = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto(browser.base)
    page.get_by_label("User").fill("test:tester")
    page.get_by_label("Key", exact=True).fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("There is no such user, or the key is wrong.")
    browser.sign_in(page, "test:tester", "testing", place_of(container))
    expect(page.get_by_role("heading", name=container[1:])).to_be_visible()
    assert page.evaluate("() => [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    assert not [url for url in [*seen, page.url] if "AUTH_tk" in url or "AUTH_ftk" in url or "testing" in url]
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    browser.sign_in(page, "test:tester", "testing", place_of(container))
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert container[1:] not in page.content()


def test_an_ended_session_is_told_and_taken_up_again(at, container):
    at.route("**/v1/**", lambda route: route.fulfill(status=401, body="Unauthorized"))
    at.get_by_role("button", name="Turn the order round").click()
    expect(at.get_by_role("alert")).to_contain_text("Your session has ended.")
    at.unroute("**/v1/**")
    at.get_by_label("User").fill("test:tester")
    at.get_by_label("Key", exact=True).fill("testing")
    at.keyboard.press("Enter")
    expect(at.get_by_role("heading", name=container[1:])).to_be_visible()


def test_keystone_lets_in(browser, page, user, container):
    settings = json.loads(user.raw("GET", "/console/settings.json").body)
    asked = []

    def tokens(route):
        asked.append(route.request.post_data_json["auth"])
        if asked[-1]["identity"]["password"]["user"]["password"] != "right":
            return route.fulfill(status=401, json={"error": {}})
        catalog = [{"type": "object-store", "endpoints": [{"interface": "public", "url": "https://elsewhere.example/v1/AUTH_test"}]}]  # fmt: skip
        told = {"project": {"id": "p1", "name": "demo"}, "user": {"name": "jo"}, "catalog": catalog}
        return route.fulfill(status=201, headers={"X-Subject-Token": user.token}, json={"token": told})

    origin = browser.base.removesuffix("/console/")
    page.route("**/settings.json", lambda route: route.fulfill(json={**settings, "keystone": f"{origin}/identity/v3"}))  # fmt: skip
    page.route("**/identity/v3/auth/tokens", tokens)
    page.goto(browser.base + place_of(container))
    page.get_by_label("Keystone").check()
    page.get_by_label("User", exact=True).fill("jo")
    page.get_by_label("Password").fill("wrong")
    page.get_by_label("Project", exact=True).fill("demo")
    page.get_by_label("Domain of the user").fill("people")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Keystone knows no such user")
    page.get_by_label("Password").fill("right")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=container[1:])).to_be_visible()
    expect(page.get_by_text("jo (demo)", exact=True)).to_be_visible()
    assert asked[1]["identity"]["password"]["user"] == {"name": "jo", "password": "right", "domain": {"name": "people"}}  # fmt: skip
    assert asked[1]["scope"] == {"project": {"name": "demo", "domain": {"name": "Default"}}}


# -- up, looked at, down


def test_files_are_dropped_looked_at_and_downloaded(at, user, container):
    at.evaluate(DROP, [[["one.txt", 3000, "text/plain"], ["two.bin", 5, ""]]])
    expect(at.locator("#transfers")).to_contain_text("2 files done")
    expect(row(at, "one.txt")).to_contain_text("3.0 kB")
    assert user("GET", f"{container}/one.txt").body == made_of(3000)
    assert user("HEAD", f"{container}/one.txt").headers["x-object-meta-mtime"] == "1700000000"
    box = open_object(at, "one.txt")
    expect(box.get_by_label("Beginning of one.txt")).to_be_visible()
    with at.expect_download() as started:
        box.get_by_role("button", name="Download").click()
    assert started.value.suggested_filename == "one.txt"
    with open(started.value.path(), "rb") as file:
        assert file.read() == made_of(3000)


def test_what_is_there_is_not_written_over_unasked(at, user, container):
    assert user("PUT", f"{container}/here.txt", b"mine").status == 201
    at.evaluate(DROP, [[["here.txt", 9, "text/plain"]]])
    expect(at.locator("#transfers")).to_contain_text("An object of this name is there already.")
    assert user("GET", f"{container}/here.txt").body == b"mine"
    at.get_by_role("button", name="Replace: here.txt").click()
    expect(at.locator("#transfers")).to_contain_text("1 file done")
    assert user("GET", f"{container}/here.txt").body == made_of(9)


def test_a_large_upload_that_was_cut_off_goes_on(browser, page, user, container):
    settings = json.loads(user.raw("GET", "/console/settings.json").body)
    listing = f"{container}_segments?prefix=large.bin/slo/"

    def begin(page, sent):
        page.route(
            "**/settings.json", lambda route: route.fulfill(json={**settings, "segment_size": 100_000})
        )
        page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" and re.search(r"0000000\d$", request.url) else None)  # fmt: skip
        browser.sign_in(page, "test:tester", "testing", place_of(container))
        expect(page.get_by_role("heading", name=container[1:])).to_be_visible()
        page.evaluate(DROP, [[["large.bin", 950_000, "application/x-large"]]])

    # one of those that arrive is not what it should be: that is found out, and it is sent again
    page.route(re.compile(r"00000000$"), lambda route: route.continue_(post_data=b"x" * 100_000))
    page.route(re.compile(r"0000000[4-9]$"), lambda route: route.abort())
    begin(page, [])
    page.wait_for_function("() => document.querySelector('#transfers progress')?.value > 0.4")
    page.close(run_before_unload=False)

    until(lambda: len(user("GET", listing).body.split()) >= 4)
    sent = []
    again = browser.page()
    begin(again, sent)
    expect(again.locator("#transfers")).to_contain_text("1 file done")
    # a page that ends may let one more pass
    numbers = {int(url[-1]) for url in sent}
    assert {0, 9} <= numbers and len(numbers) < 10
    answer = user("GET", f"{container}/large.bin")
    assert (answer.body, answer.headers["content-type"]) == (made_of(950_000), "application/x-large")
    again.close(run_before_unload=False)


def test_what_large_objects_leave_behind(browser, page, user, container):
    """Nothing: neither when they are replaced, nor when they are deleted, nor when an upload is stopped for good."""
    settings = json.loads(user.raw("GET", "/console/settings.json").body)
    page.route("**/settings.json", lambda route: route.fulfill(json={**settings, "segment_size": 1000}))
    browser.sign_in(page, "test:tester", "testing", place_of(container))
    expect(page.get_by_role("heading", name=container[1:])).to_be_visible()
    segments = f"{container}_segments"

    def upload(name, length, told):
        page.evaluate(DROP, [[[name, length, "text/plain"]]])
        expect(page.locator("#transfers")).to_contain_text(told)

    upload("o", 2500, "1 file done")
    until(lambda: len(user("GET", segments).body.split()) == 3)
    upload("o", 3500, "An object of this name is there already.")
    page.get_by_role("button", name="Replace: o").click()
    expect(page.locator("#transfers")).to_contain_text("2 files done")
    until(lambda: re.fullmatch(rb"(.*/3500/.*\n){4}", user("GET", segments).body))
    assert user("GET", f"{container}/o").body == made_of(3500)
    page.route(re.compile(r"0000000[1-9]$"), lambda route: route.abort())
    upload("p", 2500, "1 file to go")
    page.get_by_role("button", name="Stop: p").click()
    page.get_by_role("button", name="Remove what was sent: p").click()
    expect(page.get_by_role("button", name="Remove what was sent: p")).to_have_count(0)
    row(page, "3.5 kB").locator(".mark").click()
    page.get_by_role("button", name="Delete").click()
    box = page.get_by_role("dialog", name="Delete o?")
    expect(box.get_by_label("Delete the segments of large objects, too")).to_be_checked()
    box.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("Deleted 1 object.")
    until(lambda: user("GET", segments).body == b"" == user("GET", container).body)


def large(user, container, name, *segments):
    manifest = json.dumps([{"path": segment} for segment in segments])
    assert user("PUT", f"{container}/{name}?multipart-manifest=put", manifest.encode()).status == 201


def test_segments_that_are_in_use_stay(browser, page, user, container):
    """Those of an object, when its file is dropped once more, is to replace it, and is stopped while that goes on."""
    settings = json.loads(user.raw("GET", "/console/settings.json").body)
    page.route("**/settings.json", lambda route: route.fulfill(json={**settings, "segment_size": 1000}))
    browser.sign_in(page, "test:tester", "testing", place_of(container))
    expect(page.get_by_role("heading", name=container[1:])).to_be_visible()
    transfers = page.locator("#transfers")
    page.evaluate(DROP, [[["o", 2500, "text/plain"]]])
    expect(transfers).to_contain_text("1 file done")
    until(lambda: len(user("GET", f"{container}_segments").body.split()) == 3)
    held = []
    page.route(re.compile("multipart-manifest=put"), lambda route: held.append(route))
    page.evaluate(DROP, [[["o", 2500, "text/plain"]]])
    expect(transfers).to_contain_text("An object of this name is there already.")
    page.get_by_role("button", name="Replace: o").click()
    page.wait_for_function("() => document.querySelector('#transfers progress:not([hidden])')?.value === 1")
    page.get_by_role("button", name="Stop: o").click()
    page.get_by_role("button", name="Remove what was sent: o").click()
    until(lambda: page.wait_for_timeout(10) or held)
    held[0].abort()
    expect(page.get_by_role("button", name="Remove what was sent: o")).to_have_count(0)
    assert user("GET", f"{container}/o").body == made_of(2500)


def test_a_large_object_takes_nothing_of_others_along(at, user, container):
    """Whoever may write here may name in a manifest what its owner has elsewhere; and older versions need their segments."""
    assert user("PUT", f"{container}_other").status == 201
    assert user("PUT", f"{container}_other/important", b"data").status == 201
    large(user, container, "trap", f"{container}_other/important")
    at.get_by_role("button", name="Turn the order round").click()
    row(at, "trap").locator(".mark").click()
    at.get_by_role("button", name="Delete").click()
    box = at.get_by_role("dialog", name="Delete trap?")
    expect(box.get_by_label("Delete the segments of large objects, too")).to_be_checked()
    box.get_by_role("button", name="Delete").click()
    expect(at.get_by_role("alert")).to_contain_text("the segments of trap (they lie elsewhere")
    assert user("GET", f"{container}/trap").status == 404
    assert user("GET", f"{container}_other/important").body == b"data"
    assert user("POST", container, X_Versions_Enabled="true").status == 204
    large(user, container, "kept", f"{container}_other/important")
    assert user("POST", container, X_Versions_Enabled="false").status == 204
    until(lambda: user("HEAD", container).headers["x-versions-enabled"] == "False")
    at.get_by_role("button", name="Turn the order round").click()
    row(at, "kept").locator(".mark").click()
    at.get_by_role("button", name="Delete").click()
    box = at.get_by_role("dialog", name="Delete kept?")
    expect(box.get_by_role("button", name="Keep")).to_be_visible()
    expect(box.get_by_label("Delete the segments of large objects, too")).to_have_count(0)


def test_a_deletion_stays_in_its_account(browser, page, user, container):
    """Whoever goes to another account meanwhile, and to a container of the same name, deletes nothing there."""
    assert user("PUT", f"{container}/f/one", b"x").status == 201
    browser.sign_in(page, "admin:admin", "admin", place_of(container))
    asked, held = [], []
    page.on("request", lambda request: asked.append(request.url) if "bulk-delete" in request.url else None)
    row(page, "f/").locator(".mark").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog", name="Delete f/?")).to_be_visible()
    elsewhere = place_of(container).replace("AUTH_test/", "AUTH_test2/")
    page.evaluate("place => { location.hash = place; }", elsewhere)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.evaluate("place => { location.hash = place; }", place_of(container))
    row(page, "f/").locator(".mark").click()
    page.get_by_role("button", name="Delete").click()
    box = page.get_by_role("dialog", name="Delete f/?")
    box.get_by_label("Type “delete” to go on").fill("delete")
    page.route(re.compile(r"AUTH_test/.*prefix=f%2F"), lambda route: route.continue_() if held else held.append(route))  # fmt: skip
    box.get_by_role("button", name="Delete").click()
    until(lambda: page.wait_for_timeout(10) or held)
    page.evaluate("place => { location.hash = place; }", elsewhere)
    expect(page.locator(".who")).to_contain_text("in AUTH_test2")
    held[0].continue_()
    until(lambda: page.wait_for_timeout(10) or asked)
    assert asked[0].endswith("/v1/AUTH_test?bulk-delete")
    until(lambda: user("GET", container).body == b"")


def test_nothing_that_is_stored_runs(at, user, container):
    ran = "<script>alert(1)</script>"
    for name, kind, body in (
        (NASTY, "text/plain", b"x"),
        ("page.html", "text/html", f"<h1>Hi</h1>{ran}".encode()),
        ("drawing.svg", "image/svg+xml", f'<svg xmlns="http://www.w3.org/2000/svg">{ran}</svg>'.encode()),
        ("picture.png", "image/png", PNG),
        ("false.png", "image/png", f"<html>{ran}".encode()),
    ):
        path = f"{container}/{urllib.parse.quote(name)}"
        assert user("PUT", path, body, Content_Type=kind, X_Object_Meta_Colour=NASTY).status == 201
    at.reload()
    at.get_by_label("User").fill("test:tester")
    at.get_by_label("Key", exact=True).fill("testing")
    at.keyboard.press("Enter")
    expect(row(at, NASTY)).to_be_visible()
    box = open_object(at, NASTY)
    box.get_by_role("tab", name="Metadata").click()
    expect(box.get_by_label("Text of colour")).to_have_value(NASTY)
    box.get_by_role("button", name="Close").click()
    for name in ("page.html", "drawing.svg"):
        box = open_object(at, name)
        expect(box.locator("pre")).to_contain_text(ran)
        box.get_by_role("button", name="Close").click()
    box = open_object(at, "picture.png")
    expect(box.get_by_alt_text("Preview of picture.png")).to_be_visible()
    assert at.evaluate("() => document.querySelector('.preview img').naturalWidth") == 2
    box.get_by_role("button", name="Close").click()
    box = open_object(at, "false.png")
    expect(box).to_contain_text("This is no picture that the browser can show.")
    assert at.locator("main img, main script, dialog script, dialog svg").count() == 0


def test_its_md5_is_md5(at):
    lengths = [*range(54, 67), *range(118, 131), 0, 1, 1_048_576, 1_048_577, 1_100_000]
    found = at.evaluate(
        """async (lengths) => {
          const { md5 } = await import('./md5.js');
          return Promise.all(lengths.map((length) => md5(new Blob([Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 10)) & 255)]))));
        }""",
        lengths,
    )
    assert found == [hashlib.md5(made_of(length)).hexdigest() for length in lengths]


# -- many


def test_a_million_names_scroll(browser, page, user, container):
    asked = []

    def listing(route):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(route.request.url).query)
        if route.request.method != "GET":
            return route.continue_()
        marker = query.get("marker", [""])[0]
        asked.append(marker)
        prefix = query.get("prefix", [""])[0]
        if query.get("reverse"):
            first = int(marker or 10**6) - 1
            numbers = range(first, max(-1, first - 1000), -1)
        else:
            first = int(marker) + 1 if marker else 0
            numbers = range(first, min(10**6, first + 1000))
        rows = [{"name": f"{n:07}", "bytes": n, "content_type": "text/plain", "last_modified": "2026-01-02T03:04:05.000000", "hash": ""} for n in numbers]  # fmt: skip
        return route.fulfill(json=[each for each in rows if each["name"].startswith(prefix)])

    page.route(re.compile(re.escape(f"/v1/AUTH_test{container}") + r"(\?.*)?$"), listing)
    browser.sign_in(page, "test:tester", "testing", place_of(container))
    grid = page.get_by_role("grid")
    expect(row(page, "0000000")).to_be_visible()
    for wanted in range(1000, 8000, 1000):
        grid.focus()
        page.keyboard.press("End")
        expect(row(page, f"{wanted:07}")).to_be_attached()
    assert len(asked) >= 8 and len(set(asked)) == len(asked)
    assert page.locator(".grid-rows .grid-row").count() < 100
    page.keyboard.press("Home")
    expect(row(page, "0000000")).to_be_visible()
    page.get_by_role("button", name="Turn the order round").click()
    expect(row(page, "0999999")).to_be_visible()


def test_five_thousand_names_of_a_real_container(cluster, browser, page, container):
    list_names(cluster, container[1:], [f"{number:04}" for number in range(5000)])
    browser.sign_in(page, "test:tester", "testing", place_of(container))
    grid = page.get_by_role("grid")
    expect(row(page, "0000")).to_be_visible()
    for _ in range(20):  # a page of the listing is asked for each time
        grid.focus()
        page.keyboard.press("End")
        if row(page, "4999").count():
            break
        page.wait_for_timeout(500)
    expect(row(page, "4999")).to_be_visible()
    assert page.locator(".grid-rows .grid-row").count() < 100
    page.keyboard.press("Home")
    expect(row(page, "0000")).to_be_visible()
    page.get_by_role("button", name="Turn the order round").click()
    expect(row(page, "4999")).to_be_visible()
    assert row(page, "0000").count() == 0


def test_folders_search_and_many_deletions(at, user, container):
    names = [f"year/{month}/{day}" for month in ("jan", "feb") for day in range(3)] + ["alpha", "beta"]
    for name in names:
        assert user("PUT", f"{container}/{name}", b"x").status == 201
    at.get_by_role("button", name="Turn the order round").click()
    row(at, "year/").locator(".name").click()
    row(at, "jan/").locator(".name").click()
    expect(at.get_by_role("navigation", name="Where you are")).to_contain_text("jan")
    expect(row(at, "text/plain").or_(row(at, "1 B")).first).to_be_visible()
    at.go_back()
    at.go_back()
    at.get_by_label("Objects whose names begin with").fill("al")
    expect(row(at, "beta")).to_have_count(0)
    expect(row(at, "alpha")).to_be_visible()
    at.get_by_label("Objects whose names begin with").fill("")
    expect(row(at, "beta")).to_be_visible()
    for name in ("alpha", "year/"):
        row(at, name).locator(".mark").click()
    at.get_by_role("button", name="Delete").click()
    box = at.get_by_role("dialog")
    expect(box.get_by_role("button", name="Delete")).to_be_disabled()
    box.get_by_label("Type “delete” to go on").fill("delete")
    box.get_by_role("button", name="Delete").click()
    expect(at.get_by_role("status")).to_contain_text("Deleted 7 objects.")
    until(lambda: user("GET", container).body == b"beta\n")


def test_names_that_browsers_would_shorten(at, user, container):
    for name in ("a/../b", "../up", "//two", "q?x=1#y", "100%", "ü/.", "dir/"):
        assert user("PUT", f"{container}/{urllib.parse.quote(name, '')}", name.encode()).status == 201
    at.get_by_label("Folders").uncheck()
    for name in ("a/../b", "../up", "q?x=1#y", "100%", "ü/."):
        row(at, name).locator(".name").click()
        box = at.get_by_role("dialog", name=name)
        with at.expect_download() as started:
            box.get_by_role("button", name="Download").click()
        with open(started.value.path(), "rb") as file:
            assert file.read() == name.encode()
        box.get_by_role("button", name="Close").click()
    at.evaluate(DROP, [[["..", 3, "text/plain"]]])
    expect(at.locator("#transfers")).to_contain_text("A browser cannot ask for anything named")


# -- shared, kept, allowed


def fetched(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def test_a_link_is_opened_without_a_session_until_it_is_withdrawn(at, user, container):
    assert user("PUT", f"{container}/ünder shared/%41.txt".replace(" ", "%20").replace("ü", "%C3%BC").replace("%41", "%2541"), b"for you").status == 201  # fmt: skip
    at.get_by_label("Folders").uncheck()
    box = open_object(at, "ünder shared/%41.txt")
    box.get_by_role("tab", name="Share").click()
    box.get_by_role("button", name="Make a link").click()
    at.get_by_role("dialog", name="Make a key for links?").get_by_role("button", name="Make a key").click()
    link = box.get_by_label("Link", exact=True)
    expect(link).to_have_value(re.compile("temp_url_sig"))
    by_tempurl = link.input_value()
    assert fetched(by_tempurl) == b"for you"
    box.get_by_role("button", name="Make an S3 link").click()
    keys = at.get_by_role("dialog", name="Keys for S3")
    keys.get_by_label("Secret key").fill("testing")
    keys.get_by_role("button", name="Go on").click()
    expect(link).to_have_value(re.compile("X-Amz-Signature"))
    assert fetched(link.input_value()) == b"for you"
    key = user("HEAD", container).headers["x-container-meta-temp-url-key"]
    assert user("POST", container, X_Container_Meta_Temp_URL_Key_2=key).status == 204
    box.get_by_role("button", name="Withdraw all links").click()
    at.get_by_role("dialog", name="Withdraw all links?").get_by_role("button", name="Withdraw").click()
    expect(at.get_by_role("status")).to_contain_text(
        "All links that were signed with keys of this container are withdrawn."
    )
    with pytest.raises(urllib.error.HTTPError, match="401"):
        fetched(by_tempurl)


def test_versions_are_brought_back(at, user, container):
    at.get_by_role("button", name="Container settings").click()
    box = at.get_by_role("dialog")
    box.get_by_label("Keep versions").check()
    box.locator("section", has_text="Keep versions").get_by_role("button", name="Save").click()
    expect(at.get_by_role("status")).to_contain_text("Saved the settings.")
    box.get_by_role("button", name="Close").click()
    expect(at.locator(".figures")).to_contain_text("keeps versions")
    for body in (b"first", b"second"):
        assert user("PUT", f"{container}/text", body).status == 201
    at.get_by_role("button", name="Turn the order round").click()
    box = open_object(at, "text")
    box.get_by_role("button", name="Delete").click()
    at.get_by_role("dialog", name="Delete text?").get_by_role("button", name="Delete").click()
    expect(at.get_by_role("status")).to_contain_text("Deleted text.")
    assert user("GET", f"{container}/text").status == 404
    at.get_by_role("button", name="Deleted objects").click()
    at.get_by_role("dialog", name="Deleted objects").get_by_role("button", name="Versions").click()
    box = at.get_by_role("dialog", name="text")
    expect(box.get_by_role("listitem")).to_have_count(3)
    box.get_by_role("listitem").nth(2).get_by_role("button", name="Bring back").click()
    expect(at.get_by_role("status")).to_contain_text("Brought back the version")
    expect(row(at, "text")).to_be_visible()
    assert user("GET", f"{container}/text").body == b"first"


def test_who_may_read_is_edited(at, user, clients, anybody, container):
    assert user("PUT", f"{container}/o", b"x").status == 201
    friend = clients["test2:tester2"]
    assert friend("GET", f"{container}/o", account="AUTH_test").status == 403
    at.get_by_role("button", name="Container settings").click()
    box = at.get_by_role("dialog")
    box.get_by_label("These may read").fill("test2:tester2")
    who = box.locator("section", has_text="These may read")
    who.get_by_role("button", name="Save").click()
    expect(at.get_by_role("status")).to_contain_text("Saved the settings.")
    assert user("HEAD", container).headers["x-container-read"] == "test2:tester2"
    assert friend("GET", f"{container}/o", account="AUTH_test").body == b"x"
    box.get_by_label("Everybody may read objects").check()
    who.get_by_role("button", name="Save").click()
    at.get_by_role("dialog", name="Let everybody read this?").get_by_role(
        "button", name="Let everybody read"
    ).click()
    expect(at.locator(".figures")).to_contain_text("readable by everybody")
    assert anybody("GET", f"{container}/o", account="AUTH_test").body == b"x"


def test_what_somebody_else_allowed_meanwhile_is_not_lost(at, user, container):
    at.get_by_role("button", name="Container settings").click()
    box = at.get_by_role("dialog")
    box.get_by_label("These may read").fill("test2:tester2")
    assert user("POST", container, X_Container_Read="test3:tester3").status == 204
    until(lambda: user("HEAD", container).headers.get("x-container-read") == "test3:tester3")
    box.locator("section", has_text="These may read").get_by_role("button", name="Save").click()
    expect(at.get_by_role("alert")).to_contain_text("Somebody else has changed this meanwhile")
    assert user("HEAD", container).headers["x-container-read"] == "test3:tester3"


def test_metadata_is_edited_and_nothing_else_is_lost(at, user, container):
    more = {"Content-Disposition": "inline", "X-Object-Meta-Old": "1", "X-Delete-At": "4000000000"}
    assert user("PUT", f"{container}/o", b"x", Content_Type="text/plain", headers=more).status == 201
    at.get_by_role("button", name="Turn the order round").click()
    box = open_object(at, "o")
    box.get_by_role("tab", name="Metadata").click()
    box.get_by_role("button", name="Remove old").click()
    box.get_by_role("button", name="Add a line").click()
    box.get_by_label("Name", exact=True).fill("Colour")
    box.get_by_label("Text", exact=True).fill("grün")
    box.get_by_role("button", name="Save").click()
    expect(at.get_by_role("status")).to_contain_text("Saved the metadata.")
    headers = user("HEAD", f"{container}/o").headers
    assert headers["x-object-meta-colour"].encode("latin-1").decode() == "grün"
    assert "x-object-meta-old" not in headers
    assert (headers["content-disposition"], headers["content-type"]) == ("inline", "text/plain")
    assert headers["x-delete-at"] == "4000000000"
    box.get_by_role("button", name="Close").click()
    box = open_object(at, "o")
    box.get_by_role("tab", name="Metadata").click()
    assert (
        user("PUT", f"{container}/o", b"new", Content_Type="image/png", X_Object_Meta_New="1").status == 201
    )
    box.get_by_role("button", name="Save").click()
    expect(at.get_by_role("alert")).to_contain_text("Somebody else has changed this meanwhile")
    headers = user("HEAD", f"{container}/o").headers
    assert (headers["content-type"], headers["x-object-meta-new"]) == ("image/png", "1")


def test_a_policy_for_s3_is_edited(at, user, anybody, container):
    assert user("PUT", f"{container}/o", b"x").status == 201
    at.get_by_role("button", name="Container settings").click()
    at.get_by_role("dialog").get_by_role("button", name="Look at the policy").click()
    keys = at.get_by_role("dialog", name="Keys for S3")
    keys.get_by_label("Secret key").fill("testing")
    keys.get_by_role("button", name="Go on").click()
    text = at.get_by_label("Policy", exact=True)
    text.fill("{no json")
    form = at.locator("form", has=text)
    form.get_by_role("button", name="Save").click()
    expect(at.get_by_role("alert")).to_contain_text("The policy is not JSON")
    text.fill(json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{container[1:]}/*"}]}))  # fmt: skip
    form.get_by_role("button", name="Save").click()
    expect(at.get_by_role("status")).to_contain_text("Saved the policy.")


# -- by the keyboard, on a phone, in the dark, by ear


def test_by_the_keyboard_alone(browser, page, user, container):
    for name in ("one", "three", "two"):
        assert user("PUT", f"{container}/{name}", b"x", Content_Type="text/plain").status == 201
    page.goto(browser.base + place_of(container))
    expect(page.get_by_label("User")).to_be_visible()

    def tab_to(locator):
        for _ in range(40):
            if locator.evaluate("element => element === document.activeElement"):
                return
            page.keyboard.press("Tab")
        raise AssertionError("Tab does not lead there")

    tab_to(page.get_by_label("User"))
    page.keyboard.type("test:tester")
    page.keyboard.press("Tab")
    page.keyboard.type("testing")
    page.keyboard.press("Enter")
    expect(row(page, "one")).to_be_visible()
    tab_to(page.get_by_role("grid"))
    page.keyboard.press("ArrowDown")
    active = page.get_by_role("grid").get_attribute("aria-activedescendant")
    expect(page.locator(f"#{active}")).to_contain_text("three")
    page.keyboard.press("Enter")
    box = page.get_by_role("dialog", name="three")
    expect(box.get_by_role("tab", name="Overview")).to_be_visible()
    tab_to(box.get_by_role("tab", name="Overview"))
    page.keyboard.press("ArrowRight")
    expect(box.get_by_role("tab", name="Metadata")).to_be_focused()
    page.keyboard.press("Escape")
    expect(box).to_have_count(0)
    expect(page.get_by_role("grid")).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("Delete")
    box = page.get_by_role("dialog", name="Delete three?")
    tab_to(box.get_by_role("button", name="Delete"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Deleted 1 object.")
    expect(row(page, "three")).to_have_count(0)
    until(lambda: user("GET", container).body == b"one\ntwo\n")


@pytest.mark.parametrize(("width", "scheme"), [(1200, "dark"), (360, "light")])
def test_every_view_is_for_everybody(browser, user, container, width, scheme):
    """axe finds nothing, and on a phone nothing has to be scrolled sideways."""
    assert user("PUT", f"{container}/folder/x", b"x").status == 201
    assert user("PUT", f"{container}/a-rather-long-name-{'x' * 60}.txt", b"x", Content_Type="text/plain").status == 201  # fmt: skip
    page = browser.page(width, 800)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")

    def look(view):
        assert faults_of(page) == [], view
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), view

    page.goto(browser.base)
    expect(page.get_by_label("User")).to_be_visible()
    look("sign in")
    browser.sign_in(page, "admin:admin", "admin", place_of(container))
    expect(row(page, "folder/")).to_be_visible()
    row(page, "folder/").locator(".mark").click()
    look("objects")
    box = open_object(page, "a-rather-long-name")
    expect(box.locator("pre")).to_be_visible()
    for tab in ("Overview", "Metadata", "Share"):
        box.get_by_role("tab", name=tab).click()
        look(tab)
    box.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Container settings").click()
    expect(page.get_by_label("These may write")).to_be_visible()
    look("settings")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Keep")).to_be_visible()
    look("a question")
    page.keyboard.press("Escape")
    page.evaluate(DROP, [[["dropped.txt", 9, "text/plain"]]])
    expect(page.locator("#transfers")).to_contain_text("1 file done")
    look("uploads")
    page.get_by_role("link", name="Containers", exact=True).click()
    expect(page.get_by_role("heading", name="Containers")).to_be_visible()
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    look("containers")
    page.get_by_role("link", name="Cluster").click()
    expect(page.get_by_role("heading", name="Rings")).to_be_visible()
    look("cluster")
    page.close(run_before_unload=False)
    assert browser.complaints == []


# -- the cluster


def test_the_cluster_is_shown_to_operators_alone(browser, page, user, clients, anybody):
    assert anybody.raw("GET", "/console/operator/nodes").status == 401
    assert user.raw("GET", "/console/operator/nodes", headers={"X-Auth-Token": user.token}).status == 403
    assert user.raw("GET", "/console/operator/nodes", headers={"X-Auth-Token": "AUTH_tkfalse"}).status == 401
    operator = {"X-Auth-Token": clients["admin:admin"].token}
    told = json.loads(user.raw("GET", "/console/operator/nodes", headers=operator).body)
    assert [host["ip"] for host in told["hosts"]] == [f"127.0.0.{node}" for node in (1, 2, 3, 4)]
    assert all(not server["error"] for host in told["hosts"] for server in host["servers"])
    browser.sign_in(page, "test:tester", "testing", "#/cluster")
    expect(page.get_by_role("heading", name="Containers")).to_be_visible()
    expect(page.get_by_role("link", name="Cluster")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    browser.sign_in(page, "admin:admin", "admin", "#/cluster")
    expect(page.get_by_text("4 of 4")).to_be_visible()
    expect(page.get_by_role("region", name="Disks, the fullest first").get_by_role("row")).to_have_count(9)
    waited = page.get_by_role("region", name="Nodes").get_by_role("row", name="127.0.0.1")
    expect(waited.get_by_role("cell").nth(1)).to_have_text(re.compile(r"[\d.]+ ms"))
    expect(page.get_by_role("img", name=re.compile("Objects, policy ec42: partitions of 8 disks"))).to_be_visible()  # fmt: skip


def test_what_needs_attention_is_said(browser, page, user, clients):
    token = {"X-Auth-Token": clients["admin:admin"].token}
    nodes = json.loads(user.raw("GET", "/console/operator/nodes", headers=token).body)
    away, full, odd, _ = nodes["hosts"]
    for server in away["servers"]:
        server["error"] = "connection refused"
    away["checks"] = {}
    full["checks"]["diskusage"] = [{"device": "sdb2", "mounted": True, "size": 100, "used": 97, "avail": 3}, {"device": "sdb6", "mounted": False, "size": "", "used": "", "avail": ""}]  # fmt: skip
    odd["servers"][1]["version"] = NASTY
    nodes["findings"] = [
        {"level": "danger", "text": f"Rings differ on {NASTY}.", "do": "Bring the newest.", "command": "swift-ring-builder x"},
        {"level": "note", "text": "Versions differ.", "do": "", "command": ""},
    ]  # fmt: skip
    page.route("**/operator/nodes", lambda route: route.fulfill(json=nodes))
    browser.sign_in(page, "admin:admin", "admin", "#/cluster")
    found = page.locator(".findings").get_by_role("listitem")
    expect(found).to_have_count(2)
    expect(found.nth(0)).to_have_text(
        re.compile("^Danger.*Rings differ on .*Bring the newest.*swift-ring-builder x$")
    )
    expect(found.nth(1)).to_have_text(re.compile("^Look.*Versions differ.$"))
    expect(page.get_by_text("3 of 4")).to_be_visible()
    expect(page.get_by_role("cell", name="not mounted")).to_be_visible()
    assert faults_of(page) == []
