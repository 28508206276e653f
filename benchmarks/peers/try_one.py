"""Try one claim with one peer in one way, in the peer's environment, and print what was seen as JSON.

python try_one.py DRIVER CLAIM WAY TOKEN SERVER_PYTHON
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from claims import ROWS, Row
from subject import Driver, NoEndError
from trial import SERVERS, Seen, Trial, said


async def tried(row: Row, trial: Trial, way: Any) -> Seen:
    """One claim in one way; an error that the claim did not expect is what was seen."""
    asyncio.get_running_loop().set_exception_handler(trial.note_unraised)
    try:
        return await row.claim(trial, way)
    except NoEndError as error:
        return Seen(False, str(error))
    except asyncio.CancelledError:
        # A cancel scope that is closed by the garbage collector cancels the task that once entered it.
        return Seen(False, "the code after the block was cancelled, by a cancel scope of what it had left")
    except Exception as error:
        traceback.print_exc()
        return Seen(False, said(error))


def main() -> None:
    """Try a claim in one way, and print what came of it, and how many ways there are."""
    driver_name, claim_name, number, token, python = sys.argv[1:]
    driver: Driver = importlib.import_module(f"drivers.{driver_name}").DRIVER
    row = next(row for row in ROWS if row.name == claim_name)
    ways: Mapping[str, Any] = driver.special.get(row.name, getattr(driver, row.by))
    if not ways:
        print(json.dumps({"way": "", "holds": "not offered", "seen": row.without, "ways": 1}))
        return
    label, way = list(ways.items())[int(number)]
    seen = asyncio.new_event_loop().run_until_complete(tried(row, Trial(driver, token, python), way))
    what = seen.what
    for path, word in ((python, "python"), (str(SERVERS), "servers"), (sys.prefix, "venv")):
        what = what.replace(path, word)
    what = " ".join(re.sub(r"/tmp/\S+/", "", what).split())
    print(json.dumps({"way": label, "holds": seen.holds, "seen": what, "ways": len(ways)}), flush=True)
    os._exit(0)  # what a peer leaves behind may never end


if __name__ == "__main__":
    main()
