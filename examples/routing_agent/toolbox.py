"""Five small MCP servers in one file.

Run: python toolbox.py calculator|clock|units|words|dice [TRANSPORT] [--port N]
"""

from __future__ import annotations

import ast
import operator
import random
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "research_assistant" / "servers"))


from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from serving import run

READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True)
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
}
PER_METRE = {"metre": 1.0, "kilometre": 1000.0, "mile": 1609.344, "foot": 0.3048, "inch": 0.0254}


def value_of(node: ast.expr) -> float:
    """The value of an arithmetic expression: numbers, + - * / %, and parentheses."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](value_of(operand))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](value_of(left), value_of(right))
    raise ToolError("Only numbers, + - * / % and parentheses can be calculated.")


def calculator() -> MCPServer:
    """Arithmetic."""
    server = MCPServer("Calculator", log_level="WARNING")

    @server.tool(annotations=READ_ONLY)
    def calculate(expression: str) -> float:
        """Calculate an arithmetic expression, such as `(3 + 4) * 12 / 5`."""
        try:
            return value_of(ast.parse(expression, mode="eval").body)
        except (SyntaxError, ZeroDivisionError) as error:
            raise ToolError(f"That cannot be calculated: {error}.") from None

    @server.tool(annotations=READ_ONLY)
    def percentage_change(before: float, after: float) -> float:
        """By how many per cent a number changed."""
        return round((after - before) / before * 100, 2)

    return server


def clock() -> MCPServer:
    """Dates and times."""
    server = MCPServer("Clock", log_level="WARNING")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def current_time() -> str:
        """The date and time now, in UTC."""
        return datetime.now(UTC).isoformat(timespec="seconds")

    @server.tool(annotations=READ_ONLY)
    def add_days(date: str, days: int) -> str:
        """The date so many days later, or earlier where negative. Dates are written 2026-11-21."""
        return (datetime.fromisoformat(date) + timedelta(days=days)).date().isoformat()

    return server


def units() -> MCPServer:
    """Lengths in other units."""
    server = MCPServer("Units", log_level="WARNING")

    @server.tool(annotations=READ_ONLY)
    def convert_length(value: float, unit: str, into: str) -> float:
        """Convert a length between metre, kilometre, mile, foot and inch."""
        if unit not in PER_METRE or into not in PER_METRE:
            raise ToolError(f"Known units: {', '.join(PER_METRE)}.")
        return round(value * PER_METRE[unit] / PER_METRE[into], 6)

    return server


def words() -> MCPServer:
    """Counting in texts."""
    server = MCPServer("Words", log_level="WARNING")

    @server.tool(annotations=READ_ONLY)
    def count_words(text: str) -> int:
        """How many words a text has."""
        return len(text.split())

    @server.tool(annotations=READ_ONLY)
    def frequent_words(text: str, limit: int = 5) -> dict[str, int]:
        """The words of a text that occur most."""
        return dict(Counter(text.lower().split()).most_common(limit))

    return server


def dice() -> MCPServer:
    """Chance."""
    server = MCPServer("Dice", log_level="WARNING")

    @server.tool()
    def roll(sides: int = 6, count: int = 1) -> list[int]:
        """Roll dice."""
        return [random.randint(1, sides) for _ in range(count)]

    return server


if __name__ == "__main__":
    kinds = {"calculator": calculator, "clock": clock, "units": units, "words": words, "dice": dice}
    run(kinds[sys.argv.pop(1)](), "stdio")
