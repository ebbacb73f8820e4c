# SPDX-License-Identifier: GPL-2.0-only
"""A run's JUnit XML, held against the schemas of those who read it."""

from __future__ import annotations

from lxml import etree

from orchestrator import HOME
from orchestrator.report import junit

DATA = HOME / "tests" / "data" / "report"
SCHEMA = etree.XMLSchema(etree.parse(str(DATA / "junit.xsd")))
JENKINS = etree.XMLSchema(etree.parse(str(DATA / "jenkins.xsd")))
SUREFIRE = etree.XMLSchema(etree.parse(str(DATA / "surefire.xsd")))


def parse(run, comparison=None):
    """The document's root, after it was held against the schema."""
    text = junit.render(run, comparison)
    root = etree.fromstring(text.encode("utf-8"))
    for schema in (SCHEMA, JENKINS):
        schema.assertValid(root)
    for suite in root:
        SUREFIRE.assertValid(etree.fromstring(etree.tostring(suite)))  # Surefire has a file a suite
        found = suite.findall("testcase")
        assert suite.get("tests") == str(len(found))
        for kind, attribute in (("failure", "failures"), ("error", "errors")):
            assert suite.get(attribute) == str(sum(c.find(kind) is not None for c in found))
        names = [(case.get("classname"), case.get("name")) for case in found]
        assert len(set(names)) == len(names)  # GitLab counts the first of a name only
    return root
