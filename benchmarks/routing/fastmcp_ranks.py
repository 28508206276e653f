"""Ranks tools by fastmcp's BM25, in an environment of its own: JSON on stdin, JSON on stdout."""

import json
import sys
import time

import fastmcp
from fastmcp.server.transforms.search.bm25 import _BM25Index, _extract_searchable_text
from fastmcp.tools.base import Tool

data = json.load(sys.stdin)
tools = [Tool(**tool) for tool in data["tools"]]
index = _BM25Index()
index.build([_extract_searchable_text(tool) for tool in tools])
ranks = {}
started = time.perf_counter()
for query in data["queries"]:
    ranks[query] = index.query(query, 10)
seconds = (time.perf_counter() - started) / max(1, len(ranks))
json.dump({"version": fastmcp.__version__, "ranks": ranks, "milliseconds": seconds * 1000}, sys.stdout)
