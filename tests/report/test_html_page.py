"""The shell of a page: data is shown and never run, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
from pathlib import Path

import pytest

from axl_exp.report.html.page import Link, Navigation, json_data, render_page

HOSTILE = [
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "{{ 7 * 7 }} {% raw %}",
    "<!-- --> ]]>",
    "javascript:alert(1)",
]


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    (tmp_path / "t.j2").write_text(
        '{% extends "page.html.j2" %}{% block content %}'
        '<p title="{{ text }}">{{ text }}</p>'
        '<script type="application/json">{{ {"text": text}|json_data }}</script>{% endblock %}'
    )
    return tmp_path


class Elements(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def elements(page: str) -> list[tuple[str, dict]]:
    parser = Elements()
    parser.feed(page)
    return parser.found


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_element_and_no_attribute(templates, text):
    harmless = render_page("t.j2", templates=templates, title="x", text="x")
    page = render_page("t.j2", templates=templates, title=text, text=text)
    shape = [(tag, sorted(attrs)) for tag, attrs in elements(page)]
    assert shape == [(tag, sorted(attrs)) for tag, attrs in elements(harmless)]
    data = re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert data and json.loads(data[1]) == {"text": text}


def test_terminal_codes_and_bidirectional_marks_are_spelled_out(templates):
    page = render_page("t.j2", templates=templates, title="x", text="a\x1b[2Jb\u202ec")
    assert "\x1b" not in page and "\u202e" not in page
    assert "a\\x1b[2Jb\\u202ec" in page


def test_the_policy_lets_only_the_pages_own_script_run(templates):
    page = render_page("t.j2", templates=templates, title="x", text="x")
    policy = next(a for t, a in elements(page) if t == "meta" and "http-equiv" in a)["content"]
    assert policy.startswith("default-src 'none'")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-eval" not in policy


def test_a_page_names_no_other_file_or_host(templates):
    page = render_page("t.j2", templates=templates, title="x", text="x")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page.replace("https://", "https:"))
    assert not [a for _, a in elements(page) if "src" in a]


def test_navigation_links_to_the_pages_beside_it(templates):
    navigation = Navigation(previous=Link("a.html", "one"), index=Link("index.html", "all"))
    page = render_page("t.j2", templates=templates, title="x", navigation=navigation, text="x")
    links = {a.get("rel"): a["href"] for t, a in elements(page) if t == "a"}
    assert links["prev"] == "a.html"
    assert "next" not in links


def test_data_may_stand_in_a_script_element():
    text = json_data({"x": "</script><!--\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"x": "</script><!--\u2028"}
