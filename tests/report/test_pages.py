# SPDX-License-Identifier: GPL-2.0-only
"""Pages: nothing from outside, nothing that is not escaped, and one policy for all."""

import base64
import hashlib
import re

import pytest
from lxml import html as lxml_html
from sample_run import good_run

from orchestrator.report import html, runs_page, trends

PAGES = {
    "run": lambda: html.render(good_run(), None),
    "runs": lambda: runs_page.render(()),
    "trends": lambda: trends.render(()),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_file_under_a_policy_that_knows_its_script(name):
    page = PAGES[name]()
    document = lxml_html.document_fromstring(page)
    policy = document.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0]
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    script, style = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (script, style)
    )
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}';"
        " base-uri 'none'; form-action 'none'"
    )
    assert not document.xpath("//@style")  # it would be refused
    assert not document.xpath("//@src | //link | //iframe | //object | //form/@action")
    assert "url(" not in page
    assert not re.search(r"<[^>]+\son\w+=", page)  # no handler in the markup


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_without_colour_and_width(name):
    document = lxml_html.document_fromstring(PAGES[name]())
    assert document.xpath("//meta[@name='viewport']")
    assert document.get("lang") == "en"
    assert len(document.xpath("//h1")) == 1
