# SPDX-License-Identifier: AGPL-3.0-only
"""Parses OpenMetrics text with the strict parser of prometheus_client; prints the families as JSON."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

text = sys.stdin.buffer.read().decode()
families = [
    [
        family.name,
        family.documentation,
        family.type,
        family.unit,
        [[sample.name, sorted(sample.labels.items()), sample.value] for sample in family.samples],
    ]
    for family in text_string_to_metric_families(text)
]
json.dump(families, sys.stdout)
