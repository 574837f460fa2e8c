#!/usr/bin/env python3
"""Checks the links between documents: the file exists, and so does the heading that an anchor names.

Links to other hosts are not followed. Run in any folder: scripts/check-links.py"""
# SPDX-License-Identifier: AGPL-3.0-only
import os
import re
import subprocess
import sys

LINK = re.compile(r"!?\[(?:[^\]`]|`[^`]*`)*\]\(([^)\s]+)\)")


def prose(path):
    """The lines of a document outside code blocks."""
    fenced = False
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        if re.match(r"\s*(```|~~~)", line):
            fenced = not fenced
        elif not fenced:
            yield number, line


def anchors(path):
    """The anchors of a document's headings, as GitHub and mdBook form them."""
    found = {}
    for _, line in prose(path):
        heading = re.match(r"#+\s+(.*)", line)
        if heading:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1].strip().lower())
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            again = found.get(slug, 0)
            found[slug] = again + 1
            yield f"{slug}-{again}" if again else slug


def problems(document):
    for number, line in prose(document):
        for target in LINK.findall(re.sub(r"^\s*\{\{#include.*", "", line)):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(document), file)) if file else document
            if not os.path.exists(path):
                yield f"{document}:{number}: {target}: there is no such file"
            elif anchor and path.endswith(".md") and anchor not in anchors(path):
                yield f"{document}:{number}: {target}: no heading has this anchor"


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    listed = subprocess.run(["git", "ls-files", "*.md"], check=True, capture_output=True, text=True)
    documents = listed.stdout.split()
    found = [problem for document in documents for problem in problems(document)]
    # every chapter is in the table of contents
    contents = open("docs/SUMMARY.md", encoding="utf-8").read()
    chapters = [d for d in documents if d.startswith("docs/") and d.endswith(".md") and d != "docs/SUMMARY.md"]
    found += [
        f"{chapter}: docs/SUMMARY.md does not list it"
        for chapter in chapters
        if f"({chapter[len('docs/'):]})" not in contents
    ]
    print("\n".join(found) if found else f"links: {len(documents)} documents, no broken link")
    sys.exit(1 if found else 0)


main()
