#!/usr/bin/env python3
"""Prints an SBOM of the program in CycloneDX 1.5 (JSON): its crates, libelf and zlib, which are linked in, and the
libraries whose paths come on standard input.

    scripts/sbom.py VERSION < PATHS
"""
# SPDX-License-Identifier: AGPL-3.0-only
import datetime
import json
import os
import re
import subprocess
import sys
import tomllib


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def crates():
    with open("Cargo.lock", "rb") as file:
        locked = tomllib.load(file)["package"]
    sums = {(one["name"], one["version"]): one.get("checksum") for one in locked}
    tree = output("cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}")
    for line in sorted(set(tree.splitlines())):
        package, licence = line.removesuffix(" (*)").split("|", 1)
        name, version = re.match(r"(\S+) v(\S+)", package).groups()
        # macros run in the compiler only
        if name == "rfm" or "(proc-macro)" in package:
            continue
        component = {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:cargo/{name}@{version}",
            "licenses": [{"expression": licence.removesuffix(" (*)").replace("/", " OR ")}],
        }
        if sums.get((name, version)):
            component["hashes"] = [{"alg": "SHA-256", "content": sums[name, version]}]
        yield component


def package(name):
    """A component from a Debian package, without a version on other systems."""
    component = {"type": "library", "name": name}
    try:
        version = output("dpkg-query", "-W", "-f", "${Version}", name)
    except (OSError, subprocess.CalledProcessError):
        return component
    return component | {"version": version, "purl": f"pkg:deb/debian/{name}@{version}"}


def owner(path):
    """The Debian package of a library, otherwise its file name."""
    for name in (path, os.path.realpath(path), os.path.realpath(path).removeprefix("/usr")):
        try:
            return output("dpkg-query", "-S", name).split(":")[0]
        except (OSError, subprocess.CalledProcessError):
            continue
    return os.path.basename(path)


def main():
    version = sys.argv[1]
    paths = [line.strip() for line in sys.stdin if line.strip()]
    packages = sorted({"libelf-dev", "zlib1g-dev"} | {owner(path) for path in paths})
    components = [*crates(), *map(package, packages)]
    unique = {(one["name"], one.get("version")): one for one in components}
    time = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)
    program = {"type": "application", "name": "rfm", "version": version,
               "licenses": [{"expression": "AGPL-3.0-only AND GPL-2.0-only"}]}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": program},
        "components": list(unique.values()),
    }
    print(json.dumps(document, indent=1))


main()
