"""The page in a real browser: charts are drawn, hover reads them out, nothing is reported wrong."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from axl_exp.compare.__main__ import main
from axl_exp.report.html.page import Link, Navigation, render_page

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver"
)


def start_browser(profile: Path, *, scripts: bool = True):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", "--window-size=1300,900", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not scripts:
        prefs = {"profile.managed_default_content_settings.javascript": 2}
        options.add_experimental_option("prefs", prefs)
    service = webdriver.ChromeService(executable_path=DRIVER)
    return webdriver.Chrome(options=options, service=service)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator:
    driver = start_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def report(make_run, tmp_path) -> Path:
    a = make_run("a", noise=0.002, noise_seed=1)
    b = make_run("b", noise=0.002, noise_seed=2, step_seconds=0.3, losses={20: 8.5, 40: 7.4})
    b.log.write_text("".join(f"step {k} said something\n" for k in range(1, 61)))
    file = tmp_path / "report.html"
    main([str(a.path), str(b.path), f"--html={file}"])
    return file


def open_page(browser, file: Path) -> None:
    browser.get_log("browser")
    browser.get(file.as_uri())


def plot_in_sight(browser, figure: str):
    """Return a chart's plot once it is in sight and the script has taken it up."""
    plot = browser.find_element("css selector", f"#{figure} .plot")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    end = time.monotonic() + 10
    while not plot.find_elements("css selector", ".read") and time.monotonic() < end:
        time.sleep(0.05)
    return plot


def complaints(browser) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


def test_charts_are_drawn_and_the_console_is_silent(browser, report):
    open_page(browser, report)
    figures = browser.find_elements("css selector", "figure.chart")
    assert len(figures) >= 3
    for figure in figures[:3]:
        browser.execute_script("arguments[0].scrollIntoView()", figure)
        box = figure.find_element("css selector", ".plot svg").rect
        assert box["width"] > 300 and box["height"] > 80
        assert all(
            path.get_attribute("d") for path in figure.find_elements("css selector", "path.line")
        )
    assert complaints(browser) == []


def test_hover_reads_the_values_at_a_step(browser, report):
    open_page(browser, report)
    plot = plot_in_sight(browser, "c1-train-loss")
    webdriver.ActionChains(browser).move_to_element(plot).perform()
    read = plot.find_element("css selector", ".read").text
    # The middle of steps 1 to 60; the loss there is 9 - step / 20.
    step = int(read.split()[1])
    assert step in (30, 31)
    assert f"A  {9 - step / 20:.5g}"[:6] in read
    assert "B  " in read
    assert complaints(browser) == []


def test_dragging_zooms_and_a_double_click_shows_the_whole_again(browser, report):
    open_page(browser, report)
    plot = plot_in_sight(browser, "c1-train-loss")
    line = plot.find_element("css selector", "path.line.a")
    whole = line.get_attribute("d")
    width = plot.rect["width"]
    webdriver.ActionChains(browser).move_to_element_with_offset(
        plot, -int(width / 4), 0
    ).click_and_hold().move_by_offset(int(width / 4), 0).release().perform()
    assert line.get_attribute("d") != whole
    webdriver.ActionChains(browser).double_click(plot).perform()
    assert line.get_attribute("d") == whole


def test_a_legend_entry_hides_its_line(browser, report):
    open_page(browser, report)
    plot = plot_in_sight(browser, "c1-train-loss")
    button = browser.find_element("css selector", "#c1-train-loss button.key.b")
    browser.execute_script("arguments[0].click()", button)
    assert button.get_attribute("aria-pressed") == "false"
    assert not plot.find_element("css selector", "path.line.b").get_attribute("d")
    assert plot.find_element("css selector", "path.line.a").get_attribute("d")


def test_the_keyboard_reads_a_chart_out(browser, report):
    open_page(browser, report)
    plot = plot_in_sight(browser, "c1-train-loss")
    plot.send_keys("\ue014", "\ue014")  # Right arrow, twice.
    assert plot.find_element("css selector", ".read").text.startswith("step 2")


def test_a_search_finds_the_lines_of_a_log(browser, report):
    open_page(browser, report)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    box = browser.find_element("css selector", "input[type=search]")
    box.send_keys("step 6")
    time.sleep(0.4)
    shown = browser.find_elements("css selector", ".log div:not([hidden])")
    assert [line.text.split(maxsplit=1)[1] for line in shown] == [
        "step 6 said something",
        "step 60 said something",
    ]


def test_a_link_to_a_line_opens_its_log(browser, report):
    open_page(browser, report)
    browser.get(report.as_uri() + "#c1-log-B-30")
    line = browser.find_element("css selector", "#c1-log-B-30")
    assert line.is_displayed()


def test_previous_and_next_lead_to_the_pages_beside(browser, tmp_path):
    (tmp_path / "t.j2").write_text('{% extends "page.html.j2" %}{% block content %}{% endblock %}')
    for name, navigation in (
        ("one", Navigation(next=Link("two.html", "two"))),
        ("two", Navigation(previous=Link("one.html", "one"))),
    ):
        page = render_page("t.j2", templates=tmp_path, title=name, navigation=navigation)
        (tmp_path / f"{name}.html").write_text(page)
    open_page(browser, tmp_path / "one.html")
    browser.find_element("css selector", "nav.pages a[rel=next]").click()
    assert browser.title == "two"
    browser.find_element("tag name", "body").send_keys("\ue012")  # Left arrow.
    assert browser.title == "one"
    assert complaints(browser) == []


def test_the_page_can_be_read_with_scripts_off(report, tmp_path):
    driver = start_browser(tmp_path / "profile", scripts=False)
    try:
        driver.get(report.as_uri())
        text = driver.find_element("tag name", "main").text
        assert "step time, median (s)" in text and "Where the time went" in text
        assert not driver.find_elements("css selector", "html.scripted")
        path = driver.find_element("css selector", "#c1-train-loss path.line.a")
        assert path.get_attribute("d") and path.rect["height"] > 20
        assert not driver.find_element("css selector", ".needs-script").is_displayed()
    finally:
        driver.quit()


def test_on_a_phone_nothing_but_tables_is_wider_than_the_window_and_every_verdict_is_in_sight(
    browser, report
):
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        open_page(browser, report)
        width = "return document.documentElement.scrollWidth"
        assert browser.execute_script(width) <= 390
        for cell in browser.find_elements("css selector", "tr.has-why td.state"):
            assert cell.rect["x"] + cell.rect["width"] <= 390
        for words in browser.find_elements("css selector", "tr.why td > div"):
            assert words.rect["x"] + words.rect["width"] <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_screen_reader_finds_one_heading_per_part_and_a_name_for_every_picture(browser, report):
    open_page(browser, report)
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    told = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored") and "role" in node
    ]
    names = {role: [name for r, name in told if r == role] for role, _ in told}
    assert sum(role == "main" for role, _ in told) == 1
    assert names["heading"][0].startswith("worse: step time, median (s)")
    assert {"Metrics", "Logs"} < {name.split("  ")[0].strip() for name in names["heading"]}
    assert all(names["image"]) and all(names["link"]) and all(names["columnheader"])


def test_a_hundred_thousand_steps_of_twenty_metrics_open(browser, make_run, tmp_path):
    steps = 100_000
    sides = []
    for name in ("a", "b"):
        run = make_run(name, num_steps=0)
        with run.metrics.open("a") as file:
            for k in range(1, steps + 1):
                metrics = ",".join(f'"m/{i}":{(k * (i + 3)) % 997}' for i in range(20))
                file.write(f'{{"step":{k},{metrics}}}\n')
        sides.append(str(run.path))
    report = tmp_path / "large.html"
    main([*sides, f"--html={report}"])
    open_page(browser, report)
    timing = "const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd"
    milliseconds = browser.execute_script(timing)
    assert len(browser.find_elements("css selector", "figure.chart")) >= 20
    # Told, not tested: run with -s on a quiet machine. docs/performance.md has what was seen.
    print(f"opened in {milliseconds:.0f} ms")
    assert complaints(browser) == []
