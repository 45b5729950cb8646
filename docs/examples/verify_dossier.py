#!/usr/bin/env python3
"""Check every proof in a dossier of `paybond-harbor intents show --dossier`, without Paybond's software.

Standard library only: `python3 -I -S verify_dossier.py DOSSIER --vkey VKEY`. It uses `verify_inclusion.py`, which
must lie beside it. The key must come from somewhere else than the dossier. Exit: 0 good, 1 a check failed, 2 usage.
"""

import argparse
import base64
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check a Paybond dossier offline.")
    parser.add_argument("dossier", type=Path)
    parser.add_argument("--vkey", action="append", required=True, help="verifier key you trust")
    options = parser.parse_args(arguments)
    checker = _beside("verify_inclusion")
    try:
        document = json.loads(options.dossier.read_text(encoding="utf-8"))
        entries = document["entries"]
        keys = [checker.parse_vkey(text) for text in options.vkey]
        for entry in entries:
            check_entry(checker, document, entry, keys)
            print(f"ok    seq {entry['seq']} {entry['event_type']}")
    except checker.UsageError as error:
        print(f"verify_dossier: {error}", file=sys.stderr)
        return 2
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"verify_dossier: not a dossier: {error!r}", file=sys.stderr)
        return 2
    except checker.CheckFailedError as error:
        print(f"FAIL  {error}")
        return 1
    if not entries:
        print("FAIL  there is no entry in it")
        return 1
    print(f"GOOD  {len(entries)} entries are in the signed ledger")
    return 0


def check_entry(
    checker: ModuleType, document: dict[str, Any], entry: dict[str, Any], keys: Sequence[Any]
) -> None:
    """The proof, about this entry, of this tenant; and the record's bytes where they are there."""
    seq = entry["seq"]
    if entry["proof"] is None:
        raise checker.CheckFailedError(f"seq {seq} has no proof: no checkpoint covered it yet")
    claim = checker.parse_claim(json.dumps(entry["proof"]).encode())
    if claim.tenant_id != document["tenant_id"]:
        raise checker.CheckFailedError(f"the proof of seq {seq} is about {claim.tenant_id!r}")
    if claim.leaf_hash is None or claim.leaf_hash.hex() != entry["leaf_hash_hex"]:
        raise checker.CheckFailedError(f"the proof of seq {seq} is about another leaf")
    readings = []
    if entry["value_b64"] is not None:
        record = base64.b64decode(entry["value_b64"], validate=True)
        readings = [checker.EntryReading("value_b64", record)]
    for _ in checker.checks(claim, keys, readings, seq):
        pass


def _beside(name: str) -> ModuleType:
    """A file of this folder: with `-I` Python does not look here by itself."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
