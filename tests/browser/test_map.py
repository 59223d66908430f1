"""The map by itself in a browser: both renderers, and all that a user can do with it."""

import io
import subprocess

import numpy as np
import pytest
from PIL import Image

from function_app.api.messages import Request
from function_app.page import Page
from tests.support.browsing import ROOT

ESBUILD = ROOT / "explorer" / "node_modules" / ".bin" / "esbuild"
HOST = ROOT / "explorer" / "test" / "map" / "host.ts"
ORIGIN = "https://map.invalid"
WIDTH, HEIGHT = 800, 600
HTML = """<!doctype html><html lang="en"><title>Map</title>
<link rel="icon" href="icon.svg"><link rel="stylesheet" href="app.css">
<div id="map"></div><script src="app.js"></script>"""
CSS = f"body {{ margin: 0 }} #map {{ width: {WIDTH}px; height: {HEIGHT}px }}"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Page:
    """A page with nothing but the map on it, answered as the explorer's own is."""
    if not ESBUILD.is_file():
        pytest.skip("what builds the explorer is not installed (make tools, with npm)")
    out = tmp_path_factory.mktemp("map") / "host.js"
    command = [ESBUILD, HOST, "--bundle", "--format=iife", "--target=es2022", f"--outfile={out}"]
    subprocess.run(command, check=True, capture_output=True)
    names = {"index.html": HTML.encode(), "app.css": CSS.encode(), "app.js": out.read_bytes()}
    return Page({**names, "icon.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>"})


@pytest.fixture(params=["webgl", "canvas"])
def renderer(request) -> str | None:
    return request.param


@pytest.fixture
def options() -> dict:
    return {}


@pytest.fixture
def page(browser, files, options):
    """An empty map's page; a test fails on any error of the page, its policy's among them."""
    errors: list[str] = []

    def answer(route):
        path = route.request.url.removeprefix(ORIGIN)
        found = files.answer(Request(method="GET", path=path))
        route.fulfill(status=found.status, body=found.body, headers=dict(found.headers))

    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, **options)
    made = context.new_page()
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
    made.route("**/*", answer)
    made.goto(f"{ORIGIN}/")
    yield made
    context.close()
    assert errors == []


def opened(page, renderer, n=400):
    chosen = {} if renderer is None else {"renderer": renderer}
    page.evaluate("([n, options]) => open(n, options)", [n, chosen])
    return settled(page)


def settled(page) -> dict:
    return page.evaluate("settled()")


def until(page, condition: str) -> None:
    """Wait; playwright's own way of waiting makes code of text, which the page's policy forbids."""
    again = "await new Promise((again) => setTimeout(again, 20))"
    page.evaluate(f"async () => {{ while (!({condition})) {again}; }}")


def spot(page, slot: int) -> list[float]:
    return page.evaluate("(slot) => spot(slot)", slot)


def picture(page) -> np.ndarray:
    settled(page)
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)


def emphasise(page):
    page.evaluate("map.setEmphasis(Uint8Array.from({ length: points.size }, (_, i) => i % 5))")


@pytest.mark.parametrize("n", [60, 3_000])
@pytest.mark.parametrize("options", [{"device_scale_factor": 1}, {"device_scale_factor": 2}])
def test_both_renderers_draw_the_same(page, n):
    pictures = []
    for name in ("webgl", "canvas"):
        opened(page, name, n)
        assert page.evaluate("map.renderer") == name
        emphasise(page)
        pictures.append(picture(page))
        page.evaluate("map.destroy()")
    apart = np.abs(pictures[0] - pictures[1])
    coloured = np.abs(pictures[0] - 255).max(axis=2) > 0
    assert coloured.mean() > 0.01
    # Edges differ by where within its pixel a stamp has its centre, and by nothing else.
    assert apart.mean() < 0.1 * np.abs(pictures[0] - 255).mean()
    assert apart.max() < 128


def test_without_a_graphics_card_the_rasteriser_draws(page):
    opened(page, None)
    assert page.evaluate("map.renderer") == "canvas"


def test_the_point_under_the_pointer_is_told_and_picked(page, renderer):
    opened(page, renderer)
    x, y = spot(page, 7)
    page.mouse.move(x, y)
    assert settled(page)["hover"] == 7
    page.mouse.click(x, y)
    assert settled(page)["pick"] == 7
    page.mouse.move(1, 1)
    assert settled(page)["hover"] is None
    page.mouse.click(1, 1)
    assert "pick" not in settled(page)


def test_a_drag_takes_the_map_along_and_the_wheel_keeps_what_is_under_it(page, renderer):
    opened(page, renderer)
    x, y = spot(page, 7)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y - 30, steps=4)
    page.mouse.up()
    told = settled(page)
    assert told["view"] == page.evaluate("map.view")
    assert "pick" not in told
    assert spot(page, 7) == pytest.approx([x + 60, y - 30])
    before = told["view"]["scale"]
    page.mouse.wheel(0, -300)
    until(page, f"map.view.scale > {before}")
    assert spot(page, 7) == pytest.approx([x + 60, y - 30], abs=2)  # wheels count in whole pixels
    assert not page.evaluate("map.isFitted")


def test_keys_move_zoom_and_fit(page):
    opened(page, "canvas")
    page.evaluate("host.focus()")
    whole = page.evaluate("map.view")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("map.view.x") > whole["x"]
    page.keyboard.press("ArrowDown")
    assert page.evaluate("map.view.y") < whole["y"]
    page.keyboard.press("+")
    assert page.evaluate("map.view.scale") > whole["scale"]
    page.keyboard.press("0")
    assert settled(page)["view"] == whole


CORNERS = [(150, 120), (640, 100), (600, 480), (300, 300), (200, 500)]


def draw_lasso(page, corners=CORNERS):
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner)
    page.mouse.up()
    flat = [each for corner in corners for each in corner]
    return page.evaluate("(polygon) => inside(polygon)", flat)


def test_a_lasso_tells_all_points_within_it(page, renderer):
    opened(page, renderer)
    page.evaluate("map.mode = 'lasso'")
    expected = draw_lasso(page)
    assert 20 < len(expected) < 380
    told = settled(page)
    assert told["lasso"] == {"slots": expected, "additive": False}
    assert "view" not in told


def test_with_shift_a_drag_is_a_lasso_that_adds(page):
    opened(page, "canvas")
    page.keyboard.down("Shift")
    expected = draw_lasso(page)
    page.keyboard.up("Shift")
    assert settled(page)["lasso"] == {"slots": expected, "additive": True}


def test_escape_drops_the_lasso_and_leaves_its_mode(page):
    opened(page, "canvas")
    page.evaluate("map.mode = 'lasso'; host.focus()")
    page.mouse.move(100, 100)
    page.mouse.down()
    page.mouse.move(400, 400, steps=4)
    page.keyboard.press("Escape")
    page.mouse.up()
    told = settled(page)
    assert told["mode"] == "pan"
    assert "lasso" not in told
    assert page.evaluate("map.mode") == "pan"


class TestTouch:
    """Fingers on a screen."""

    @pytest.fixture
    def options(self) -> dict:
        return {"has_touch": True}

    @pytest.fixture
    def touch(self, page):
        session = page.context.new_cdp_session(page)

        def send(kind, *fingers):
            points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        return send

    def test_two_fingers_zoom_around_their_middle(self, page, touch):
        opened(page, "canvas")
        before = page.evaluate("map.view")
        touch("touchStart", (300, 300), (500, 300))
        for step in range(1, 6):
            touch("touchMove", (300 - 20 * step, 300), (500 + 20 * step, 300))
        touch("touchEnd")
        after = settled(page)["view"]
        assert after["scale"] == pytest.approx(2 * before["scale"])
        assert after["x"] == pytest.approx(before["x"])

    def test_a_finger_pans_or_lassoes_by_mode_and_a_second_one_drops_the_lasso(self, page, touch):
        opened(page, "canvas")
        touch("touchStart", (300, 300))
        touch("touchMove", (340, 300))
        touch("touchEnd")
        assert settled(page).keys() == {"view"}
        page.evaluate("map.mode = 'lasso'")
        touch("touchStart", CORNERS[0])
        for corner in CORNERS[1:]:
            touch("touchMove", corner)
        touch("touchEnd")
        assert settled(page).keys() == {"lasso"}
        touch("touchStart", CORNERS[0])
        touch("touchMove", CORNERS[1])
        touch("touchStart", CORNERS[1], CORNERS[2])
        touch("touchEnd")
        assert "lasso" not in settled(page)

    def test_a_tap_picks_a_point_that_a_finger_all_but_hits(self, page, touch):
        opened(page, "canvas", 12)
        x, y = spot(page, 7)
        touch("touchStart", (x + 7, y + 7))
        touch("touchEnd")
        assert settled(page)["pick"] == 7


CONTEXT = "document.querySelector('canvas').getContext('webgl2').getExtension('WEBGL_lose_context')"


def test_a_lost_context_that_comes_back_draws_the_same_picture(page):
    opened(page, "webgl")
    emphasise(page)
    before = picture(page)
    page.evaluate(f"window.context = {CONTEXT}; context.loseContext()")
    page.evaluate(
        """() => new Promise((back) => {
            const canvas = document.querySelector("canvas");
            canvas.addEventListener("webglcontextrestored", back, { once: true });
            setTimeout(() => context.restoreContext());
        })"""
    )
    assert np.array_equal(picture(page), before)
    assert page.evaluate("map.renderer") == "webgl"


def test_a_lost_context_that_does_not_come_back_is_done_without(page):
    opened(page, "webgl")
    before = picture(page)
    page.evaluate(f"{CONTEXT}.loseContext()")
    until(page, "map.renderer === 'canvas'")
    after = picture(page)
    assert np.abs(after - before).mean() < 0.1 * np.abs(before - 255).mean()


MOVE = (
    "map.animateFrom(points.x.slice().fill(0), points.y.slice().fill(0), {ms}).then(() => 'come')"
)


def test_points_come_to_their_places(page, renderer):
    opened(page, renderer)
    before = picture(page)
    assert page.evaluate(MOVE.format(ms=200)) == "come"
    assert np.array_equal(picture(page), before)


@pytest.mark.parametrize("options", [{"reduced_motion": "reduce"}])
def test_points_are_in_their_places_at_once_for_those_who_want_no_motion(page):
    opened(page, "canvas")
    assert page.evaluate(MOVE.format(ms=10_000_000)) == "come"


def test_another_movement_and_the_end_of_the_map_end_a_movement(page):
    opened(page, "canvas")
    first = f"const first = {MOVE.format(ms=10_000_000)};"
    second = f"const second = {MOVE.format(ms=10_000_000)};"
    ends = "map.destroy(); return Promise.all([first, second]);"
    assert page.evaluate(f"() => {{ {first} {second} {ends} }}") == ["come", "come"]


def test_nothing_is_drawn_while_nothing_changes(page):
    opened(page, "canvas")
    settled(page)
    asked = """async () => {
        const { requestAnimationFrame } = window;
        let asked = 0;
        window.requestAnimationFrame = (todo) => { asked++; return requestAnimationFrame(todo); };
        for (let frame = 0; frame < 5; frame++) {
            await new Promise((done) => requestAnimationFrame(done));
        }
        window.requestAnimationFrame = requestAnimationFrame;
        return asked;
    }"""
    assert page.evaluate(asked) == 0


def test_the_focus_is_seen_around_the_map(page, renderer):
    opened(page, renderer)
    rule = "#map:focus-visible { outline: 3px solid rgb(255, 0, 0); outline-offset: -3px }"
    page.evaluate("(rule) => { document.styleSheets[0].insertRule(rule); }", rule)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement === host")
    assert picture(page)[HEIGHT // 2, 1].tolist() == [255, 0, 0]


def test_the_pointer_tells_what_a_drag_does(page):
    opened(page, "canvas")
    cursor = "host.style.cursor"
    assert page.evaluate(cursor) == "grab"
    page.mouse.move(*spot(page, 7))
    settled(page)
    assert page.evaluate(cursor) == "pointer"
    page.mouse.down()
    page.mouse.move(300, 300, steps=3)
    assert page.evaluate(cursor) == "grabbing"
    page.mouse.up()
    assert page.evaluate(cursor) != "grabbing"
    page.evaluate("map.mode = 'lasso'")
    assert page.evaluate(cursor) == "crosshair"


def test_a_focused_point_is_ringed_and_brought_into_view(page):
    opened(page, "canvas")
    page.evaluate("map.view = { x: 1000, y: 1000, scale: map.view.scale }")
    page.evaluate("map.focusOn(7)")
    settled(page)
    assert spot(page, 7) == pytest.approx([WIDTH / 2, HEIGHT / 2])
    seen = "[...document.querySelectorAll('circle[visibility=visible]')]"
    ring = f"{seen}.map((circle) => Number(circle.getAttribute('cx')))"
    assert page.evaluate(ring) == pytest.approx([WIDTH / 2] * 2)
    page.evaluate("map.focusOn(-1)")
    settled(page)
    assert page.evaluate(ring) == []


def test_a_picture_is_saved_and_the_end_leaves_nothing(page, renderer):
    opened(page, renderer)
    saved = page.evaluate(
        "map.png().then((blob) => blob.arrayBuffer()).then((b) => [...new Uint8Array(b)])"
    )
    image = np.asarray(Image.open(io.BytesIO(bytes(saved))).convert("RGB"))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20
    page.evaluate("map.destroy()")
    assert page.evaluate("host.childElementCount") == 0
    page.mouse.move(300, 300)
    assert settled(page).keys() <= {"view"}
