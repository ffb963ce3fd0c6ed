"""The pages in a real headless Chromium: they load from disk alone, filters hide, keys work, pictures speak."""

from __future__ import annotations

import shutil

import pytest

from harness.exchange.judging import judge as judge_others
from harness.exchange.readers import read
from harness.reports.comparison import to_html as compare_page
from harness.reports.html import to_html
from harness.reports.judged import to_html as judged_page
from harness.runs.results import find_runs
from harness.verdicts.comparison import compare
from harness.verdicts.rows import select
from harness.verdicts.scorecard import judge
from tests.exchange.made import peft
from tests.records import PAPER, write_sweep

pytestmark = pytest.mark.slow
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The report of two papers at two budgets, and a comparison, as files."""
    folder = tmp_path_factory.mktemp("pages")
    for budget in ("small", "full"):
        write_sweep(folder / "results", budget=budget)
    records = list(find_runs(folder / "results"))
    full, small = judge("toy", PAPER, records)
    (folder / "report.html").write_text(to_html([full, small, {**small, "paper": "again"}], records), "utf-8")
    sides = [select(f"toy/{name},budget=small", folder / "results") for name in ("toy", "plain")]
    found = {"a": "toy/toy", "b": "toy/plain", **compare(*sides, {"toy": PAPER})}
    (folder / "compare.html").write_text(compare_page(found, records), "utf-8")
    for place, right in enumerate((700, 690, 100)):
        peft(folder / "theirs", f"method{place}", right, memory=2e10 + place)
    told = judge_others(read([folder / "theirs"], "peft-method-comparison"))
    named = {"reader": "peft-method-comparison", "named": "theirs", **told}
    (folder / "judge.html").write_text(judged_page(named), "utf-8")
    return folder


@pytest.fixture
def opened(browser, pages):
    """Open a page at a width; whatever its console says or its network asks for fails the test at the end."""
    said, asked, contexts = [], [], []

    def open_page(name: str = "report.html", width: int = 1280, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((pages / name).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("file:")] == []


def colours(page) -> tuple[str, str]:
    style = "getComputedStyle(document.documentElement)"
    return page.evaluate(f"[{style}.backgroundColor, {style}.color]")


@pytest.mark.parametrize("name", ["report.html", "compare.html", "judge.html"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_opens_from_disk_without_errors_or_sideways_scrolling(opened, name, width):
    page = opened(name, width)
    for details in page.locator("details").all():
        details.evaluate("d => d.open = true")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert page.get_by_role("heading", level=1).count() == 1


def test_filters_hide_papers_budgets_verdicts_and_seeds(opened):
    page = opened()
    page.get_by_role("group", name="Show")
    sections = page.locator("section")
    assert [s.is_visible() for s in sections.all()] == [True, True, True]
    page.get_by_label("again", exact=True).uncheck()
    assert [s.is_visible() for s in sections.all()] == [True, True, False]
    page.get_by_label("full", exact=True).uncheck()
    assert [s.is_visible() for s in sections.all()] == [False, True, False]
    assert page.locator("nav tbody tr").filter(visible=True).count() == 1
    claims = page.locator("#s1 .claims > li").filter(visible=True)
    assert claims.count() == 4
    page.get_by_label("open", exact=True).uncheck()
    assert claims.count() == 3
    page.locator("#s1 summary", has_text="every run").click()
    runs = page.locator("#s1 tr[data-seed]").filter(visible=True)
    assert runs.count() == 10
    page.get_by_label("3", exact=True).uncheck()
    assert runs.count() == 8
    page.get_by_label("again", exact=True).check()
    assert sections.nth(2).is_visible()


def test_a_method_is_hidden_in_tables_and_pictures_of_its_paper_alone(opened):
    page = opened()
    page.locator("#s0 summary", has_text="Choose methods").click()
    parts = page.locator('#s0 [data-m="1"]')
    others = page.locator('#s1 tr[data-m="1"]').filter(visible=True)
    before = others.count()
    assert page.locator('#s0 svg [data-m="1"]').count() >= 5
    page.locator("#s0").get_by_label("plain", exact=True).uncheck()
    assert {part.evaluate("e => getComputedStyle(e).display") for part in parts.all()} == {"none"}
    assert page.locator('#s0 svg [data-m="0"]').first.evaluate("e => getComputedStyle(e).display") != "none"
    assert others.count() == before > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_readers_choice(opened, scheme):
    page = opened(color_scheme=scheme)
    ground, ink = colours(page)
    assert (ground == "rgb(21, 24, 28)") == (scheme == "dark")
    other = "light" if scheme == "dark" else "dark"
    page.get_by_label(other, exact=True).check()
    assert colours(page)[0] != ground
    assert colours(page)[1] != ink
    page.get_by_label("as the system").check()
    assert colours(page) == [ground, ink]


def test_the_keyboard_reaches_and_turns_a_filter(opened):
    page = opened()
    box = page.get_by_label("again", exact=True)
    for _ in range(30):
        page.keyboard.press("Tab")
        if box.evaluate("e => e === document.activeElement"):
            break
    assert box.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("Space")
    assert not box.is_checked()
    assert not page.locator("section").nth(2).is_visible()


@pytest.mark.parametrize("name", ["report.html", "compare.html", "judge.html"])
def test_every_picture_has_a_name_and_words_for_a_screen_reader(opened, name):
    page = opened(name)
    pictures = page.get_by_role("img")
    least = 1 if name == "judge.html" else 2
    assert pictures.count() == page.locator("svg:not([aria-hidden])").count() >= least
    tree = page.locator("main").aria_snapshot()
    for title in page.locator("figcaption").all_text_contents():
        assert f'img "{title} ' in tree, title  # its name is the title and the numbers


def test_every_table_cell_belongs_to_a_named_row_and_column(opened):
    page = opened()
    bare = page.evaluate(
        "[...document.querySelectorAll('table')].filter(t => !t.querySelector('thead th[scope=col]')"
        " || [...t.querySelectorAll('tbody tr')].some(r => !r.querySelector('th[scope=row]'))).length"
    )
    assert bare == 0
