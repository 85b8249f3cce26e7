"""The report as Chromium shows it: its figures, both colour schemes, a phone, paper, and no network."""

import json

import pytest

from model_patching.components.subgroup_report.text import interval, percent

# Of every element with text of its own: its text, and the contrast of its colours as WCAG 2 defines it.
CONTRASTS = """
    const channels = colour => colour.match(/[\\d.]+/g).map(Number);
    const over = ([r, g, b, a = 1], below) => [r, g, b].map((value, i) => a * value + (1 - a) * below[i]);
    const background = element => {
        if (!element) return [255, 255, 255];
        const own = channels(getComputedStyle(element).backgroundColor);
        return (own[3] ?? 1) === 1 ? own : over(own, background(element.parentElement));
    };
    const linear = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    document.querySelectorAll('details').forEach(details => details.open = true);
    return [...document.body.querySelectorAll('*')]
        .filter(one => [...one.childNodes].some(child => child.nodeType === 3 && child.data.trim()))
        .filter(one => one.checkVisibility() && !['STYLE', 'TITLE'].includes(one.nodeName.toUpperCase()))
        .map(one => {
            const style = getComputedStyle(one), below = background(one);
            const colour = over(channels(one.closest('svg') ? style.fill : style.color), below);
            const [dark, bright] = [luminance(colour), luminance(below)].sort((a, b) => a - b);
            return [one.textContent.trim().slice(0, 40), (bright + 0.05) / (dark + 0.05)];
        });
"""


class Browser:
    """Chromium with a report in it."""

    def __init__(self, chromium, path):
        self.driver, self._chromium, self._path = chromium.driver, chromium, path

    def show(self, scheme="light", width=1300, media="screen"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self._chromium.open(self._path.as_uri())

    def ask(self, script):
        return self.driver.execute_script(script)

    def rows(self):
        return self.ask(
            "return [...document.querySelectorAll('tr')].map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )


@pytest.fixture
def browser(chromium, full_report, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(full_report.html, encoding="utf-8")
    yield Browser(chromium, path)
    chromium.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


@pytest.mark.parametrize("width", [1300, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_figures_are_the_summarys(browser, full_report, scheme, width):
    browser.show(scheme, width)
    summary = full_report.summary
    rows = browser.rows()
    for group, before, steady in zip(
        summary["groups"], summary["baseline"]["groups"], summary["consistency"], strict=True
    ):
        name = group["name"] + (" (worst)" if group["name"] == summary["worst_group"] else "")
        (row,) = [row for row in rows if row[0] == name and len(row) == 7]
        assert row[1:6] == [
            f"{group['count']:,}", percent(group["accuracy"]), interval(group), percent(before["accuracy"]),
            interval(before),
        ]  # fmt: skip
        shown = [f"{steady['count']}", f"{steady['changed']}", percent(steady["share"]), interval(steady)]
        assert [group["name"], *shown] in rows
    for name, gap in summary["subgroup_gap"]["per_class"].items():
        assert [name, percent(gap)] in [row[:2] for row in rows]
    text = browser.ask("return document.body.innerText")
    assert percent(summary["worst_group_accuracy"]) in text and summary["run_id"] in text
    # The page has no more to the right than there is room, tables scroll by themselves.
    assert browser.ask("return document.documentElement.scrollWidth") <= width
    dark = browser.ask("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 31)"
    assert dark == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_the_contrast_that_people_need(browser, scheme):
    browser.show(scheme)
    contrasts = browser.ask(CONTRASTS)
    texts = [text for text, _ in contrasts]
    assert len(texts) > 200 and "Worst mistakes" in texts
    assert any(text.startswith("accuracy, %") for text in texts)  # of a chart
    assert [(text, contrast) for text, contrast in contrasts if contrast < 4.5] == []


def test_nothing_is_loaded_but_the_file_itself(browser):
    browser.show()
    events = [json.loads(entry["message"])["message"] for entry in browser.driver.get_log("performance")]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in urls if not url.startswith(("data:", "about:"))] == [browser.driver.current_url]
    assert browser.driver.get_log("browser") == []


def test_headings_images_and_tables_can_be_read_aloud(browser):
    browser.show()
    levels = browser.ask(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    images = browser.ask("return [...document.images].map(one => [one.alt, one.naturalWidth])")
    assert len(images) == 9 and all(alt and width > 0 for alt, width in images)
    scopes = browser.ask("return [...document.querySelectorAll('th')].map(th => th.scope)")
    assert len(scopes) > 50 and set(scopes) <= {"col", "row", "colgroup"}
    assert browser.ask(
        "return [...document.querySelectorAll('tbody tr')].every(row => row.cells[0].tagName === 'TH')"
    )
    unnamed = (
        "return [...document.querySelectorAll('.scroll')].filter(one => !one.ariaLabel || one.tabIndex !== 0)"
    )
    assert browser.ask(f"{unnamed}.length") == 0
    regions = browser.ask("return [...document.querySelectorAll('.scroll')].map(one => one.ariaLabel)")
    assert {"Table of slices", "Table of classes, all"} <= set(regions)
    assert browser.ask("return document.documentElement.lang") == "en"


def test_on_paper_everything_is_there_and_light(browser):
    browser.show("dark", 718, media="print")  # A4 without its margins
    assert browser.ask("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask("return document.documentElement.scrollWidth") <= 718
    closed = "[...document.querySelectorAll('details:not([open])')]"
    assert browser.ask(f"return {closed}.length") >= 4
    hidden = f"{closed}.flatMap(one => [...one.querySelectorAll('td')]).filter(td => !td.checkVisibility())"
    assert browser.ask(f"return {hidden}.length") == 0
    too_wide = (
        "[...document.querySelectorAll('table')].filter(one => one.getBoundingClientRect().right > 719)"
    )
    assert browser.ask(f"return {too_wide}.length") == 0
