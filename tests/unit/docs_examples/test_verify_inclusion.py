"""The stranger's verifier: good proofs pass, and no part of one can be changed without a failed check."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schemas.canonical import ed25519
from schemas.ids import TenantId
from schemas.ledger.checkpoint import Checkpoint, origin_of, sign_checkpoint, tlog_proof
from schemas.ledger.entry_chain import leaf_hash
from schemas.ledger.merkle_proofs import inclusion_proof_of
from schemas.ledger.merkle_tree import hash_children, root_of
from schemas.ledger.signed_note import VerifierKey, sign_note
from tests.unit.docs_examples import example
from tests.unit.schemas.canonical.vectors import EDGE

SCRIPT = example.FOLDER / "verify_inclusion.py"
CHECKPOINT = EDGE["checkpoint"]
MERKLE = EDGE["merkle"]
INCLUSION = MERKLE["inclusion"]
SEED = bytes.fromhex(CHECKPOINT["seed_hex"])
RECORD = bytes.fromhex(MERKLE["records_hex"][3])
ROOT = bytes.fromhex(MERKLE["roots_hex"][7])
OTHER_ORIGIN = origin_of("local", TenantId("tenant-two"))
OTHER_VKEY = VerifierKey(name=OTHER_ORIGIN, public_key=ed25519.public_key(SEED)).vkey

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    code: int
    out: str
    talk: str


@pytest.fixture(name="run")
def run_fixture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs the script's `main` on a proof (JSON or text) and, if given, the entry file's bytes."""

    def run(
        proof: Answer | str | bytes,
        *flags: str,
        entry: bytes | None = None,
        vkey: str = CHECKPOINT["vkey"],
    ) -> Ran:
        text = json.dumps(proof) if isinstance(proof, dict) else proof
        raw = text.encode() if isinstance(text, str) else text
        (tmp_path / "proof").write_bytes(raw)
        arguments = [str(tmp_path / "proof"), "--vkey", vkey, *flags]
        if entry is not None:
            (tmp_path / "entry").write_bytes(entry)
            arguments += ["--entry", str(tmp_path / "entry")]
        code = example.load("verify_inclusion").main(arguments)
        captured = capsys.readouterr()
        return Ran(code=code, out=captured.out, talk=captured.err)

    return run


def answer(**changes: object) -> Answer:
    return {
        "tenant_id": "tenant-vec",
        "seq": 4,
        "leaf_index": 3,
        "tree_size": 7,
        "root_hash_hex": MERKLE["roots_hex"][7],
        "leaf_hash_hex": MERKLE["leaf_hashes_hex"][3],
        "proof": INCLUSION["proof"],
        "checkpoint": CHECKPOINT["checkpoint"],
        **changes,
    }


def noted(text: str, *, name: str = CHECKPOINT["origin"]) -> str:
    return sign_note(text, name=name, seed=SEED)


def test_a_good_answer_passes_and_says_what_was_checked(run: Callable[..., Ran]) -> None:
    ran = run(answer(), entry=RECORD)

    assert ran.code == 0
    assert ran.out.splitlines() == [
        "ok    the checkpoint is signed by the trusted key paybond/local/tenant-vec+bb5a22b8",
        "ok    it speaks for the ledger paybond/local/tenant-vec",
        f"ok    it fixes 7 entries with root {MERKLE['roots_hex'][7]}",
        "ok    the proof is about seq 4 (leaf 3)",
        f"ok    the entry (its raw bytes) has the leaf hash {MERKLE['leaf_hashes_hex'][3]}",
        f"ok    3 hashes lead from leaf {MERKLE['leaf_hashes_hex'][3]} to the signed root",
        "GOOD  every check passed",
    ]


def test_without_the_entry_it_says_that_no_record_was_checked(run: Callable[..., Ran]) -> None:
    ran = run(answer())

    assert ran.code == 0
    assert "no --entry was given" in ran.out


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_the_entry_may_come_as_base64(run: Callable[..., Ran], ending: bytes) -> None:
    ran = run(answer(), entry=base64.b64encode(RECORD) + ending)

    assert ran.code == 0
    assert "decoded from base64" in ran.out


def test_the_proof_file_of_the_vectors_passes(run: Callable[..., Ran]) -> None:
    proof = CHECKPOINT["tlog_proof_seq_4"]

    assert run(proof, entry=RECORD).code == 0
    assert run(proof, entry=base64.b64encode(RECORD)).code == 0
    assert run(proof.replace("index", "extra AAAA\nindex", 1), entry=RECORD).code == 0
    assert run(proof, entry=RECORD + b"!").code == 1


def test_a_proof_file_alone_has_no_entry_to_check(run: Callable[..., Ran]) -> None:
    ran = run(CHECKPOINT["tlog_proof_seq_4"])

    assert ran.code == 2
    assert "--entry" in ran.talk


def test_every_leaf_of_a_tree_passes_in_both_forms(run: Callable[..., Ran]) -> None:
    records = [f"record {number}".encode() for number in range(21)]
    hashes = [leaf_hash(record) for record in records]
    checkpoint = Checkpoint(origin=CHECKPOINT["origin"], size=21, root=root_of(hashes))
    note = sign_checkpoint(checkpoint, seed=SEED)
    for index, record in enumerate(records):
        proof = inclusion_proof_of(hashes, index)
        as_json = answer(
            seq=index + 1,
            leaf_index=index,
            tree_size=21,
            root_hash_hex=checkpoint.root.hex(),
            leaf_hash_hex=hashes[index].hex(),
            proof=[base64.b64encode(node).decode() for node in proof],
            checkpoint=note,
        )

        assert run(as_json, "--seq", str(index + 1), entry=record).code == 0
        assert run(tlog_proof(index, proof, note), entry=record).code == 0


def test_one_of_several_trusted_keys_is_enough(run: Callable[..., Ran]) -> None:
    assert run(answer(), "--vkey", OTHER_VKEY).code == 0


FOREIGN_HASH = "ee" * 32
NOTE = CHECKPOINT["checkpoint"]
PROOF = INCLUSION["proof"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tenant_id": "tenant-two"}, "about tenant 'tenant-two'"),
        ({"seq": 5}, "seq 5 is leaf 3"),
        ({"seq": 5, "leaf_index": 4}, "does not lead"),
        ({"seq": 8, "leaf_index": 7}, "outside a tree of 7"),
        ({"seq": "4"}, "`seq` is not a whole number"),
        ({"seq": 1, "leaf_index": False}, "`leaf_index` is not a whole number"),
        ({"seq": 0, "leaf_index": -1}, "`leaf_index` is not a whole number"),
        ({"tree_size": 8}, "says tree size 8"),
        ({"root_hash_hex": FOREIGN_HASH}, "says root eeee"),
        ({"root_hash_hex": MERKLE["roots_hex"][7].upper()}, "64 lower-case hex"),
        ({"leaf_hash_hex": FOREIGN_HASH}, "does not lead"),
        ({"leaf_hash_hex": "ee"}, "64 lower-case hex"),
        ({"proof": PROOF[:-1]}, "does not lead"),
        ({"proof": PROOF[::-1]}, "does not lead"),
        ({"proof": [*PROOF, PROOF[0]]}, "does not lead"),
        ({"proof": [*PROOF[:-1], "AAAA"]}, "not 32 bytes"),
        ({"proof": [PROOF[0] + "\n", *PROOF[1:]]}, "base64"),
        ({"proof": [PROOF[0][:-2] + "d=", *PROOF[1:]]}, "plain spelling"),
        ({"proof": [None]}, "not a list of texts"),
        ({"proof": "x"}, "not a list of texts"),
        ({"proof": PROOF * 22}, "more than 64"),
        ({"checkpoint": None}, "`checkpoint` is not a text"),
        ({"checkpoint": NOTE.replace("\n7\n", "\n8\n")}, "bb5a22b8 is wrong"),
        ({"checkpoint": NOTE.replace("tenant-vec\n7", "tenant-two\n7")}, "bb5a22b8 is wrong"),
        ({"checkpoint": NOTE.replace("ecTA4=", "ecTA8=")}, "bb5a22b8 is wrong"),
        ({"checkpoint": NOTE.replace("u1oiuD", "u1oiuE")}, "bb5a22b8 is wrong"),
        ({"checkpoint": NOTE.replace("u1oi", "u1oj")}, "no trusted key"),
        ({"checkpoint": CHECKPOINT["signed_text"]}, "not a signed note"),
        ({"checkpoint": NOTE.removesuffix("\n")}, "not a signed note"),
        ({"checkpoint": NOTE.replace("— ", "- ")}, "not a signature line"),
        ({"checkpoint": NOTE.replace("\n", "\r\n")}, "control characters"),
        ({"checkpoint": NOTE.replace("7", "\ud800")}, "not valid Unicode"),
        ({"checkpoint": NOTE + (NOTE.splitlines()[-1] + "\n") * 16}, "more than 16"),
        ({"checkpoint": noted(f"{OTHER_ORIGIN}\n7\n{base64.b64encode(ROOT).decode()}\n")}, "is of"),
        ({"checkpoint": noted(f"{CHECKPOINT['origin']}\n7\n")}, "not three lines"),
        ({"checkpoint": noted(CHECKPOINT["signed_text"] + "more\n")}, "not three lines"),
        ({"checkpoint": noted(CHECKPOINT["signed_text"].replace("7", "07"))}, "plain decimal"),
        ({"checkpoint": noted(f"{CHECKPOINT['origin']}\n7\nAAAA\n")}, "root is not 32 bytes"),
    ],
)
def test_no_part_of_an_answer_can_be_changed(
    run: Callable[..., Ran], changes: Answer, reason: str
) -> None:
    ran = run(answer(**changes))

    assert ran.code == 1
    assert ran.out.splitlines()[-1].startswith("FAIL")
    assert reason in ran.out
    assert "GOOD" not in ran.out


def test_a_witness_may_sign_beside_the_ledger(run: Callable[..., Ran]) -> None:
    witness = noted(CHECKPOINT["signed_text"], name="witness.test").splitlines()[-1] + "\n"

    assert run(answer(checkpoint=NOTE + witness)).code == 0


@pytest.mark.parametrize("member", sorted(answer()))
def test_an_answer_without_one_of_its_members_fails(run: Callable[..., Ran], member: str) -> None:
    incomplete = {name: value for name, value in answer().items() if name != member}

    assert run(incomplete).code == 1


def test_a_checkpoint_of_another_tenant_fails_although_the_same_key_signed_it(
    run: Callable[..., Ran],
) -> None:
    other = Checkpoint(origin=OTHER_ORIGIN, size=7, root=ROOT)

    ran = run(answer(checkpoint=sign_checkpoint(other, seed=SEED)))

    assert ran.code == 1
    assert "no trusted key" in ran.out


def test_a_key_that_did_not_sign_fails(run: Callable[..., Ran]) -> None:
    assert run(answer(), vkey=OTHER_VKEY).code == 1


@pytest.mark.parametrize("entry", [b"", RECORD + b"\x00", b"ICF=", b"\xff\xfe", RECORD[:-1]])
def test_another_entry_fails(run: Callable[..., Ran], entry: bytes) -> None:
    ran = run(answer(), entry=entry)

    assert ran.code == 1
    assert "leaf hash" in ran.out


def test_a_proof_about_another_seq_than_asked_fails(run: Callable[..., Ran]) -> None:
    ran = run(answer(), "--seq", "5")

    assert ran.code == 1
    assert "is about seq 4, not 5" in ran.out


@pytest.mark.parametrize(
    "proof",
    [
        b"\xff",
        "",
        "[]",
        "{",
        "null",
        "[" * 100_000,
        '{"seq": 4, "seq": 4}',
        "c2sp.org/tlog-proof@v1\n",
        "c2sp.org/tlog-proof@v1\nindex 3\n",
        CHECKPOINT["tlog_proof_seq_4"].replace("@v1", "@v2"),
        CHECKPOINT["tlog_proof_seq_4"].replace("index 3", "index 03"),
        CHECKPOINT["tlog_proof_seq_4"].replace("index 3", "index 2"),
        CHECKPOINT["tlog_proof_seq_4"].replace("index 3\n", ""),
        CHECKPOINT["tlog_proof_seq_4"].replace("index 3", "extra !\nindex 3"),
        CHECKPOINT["tlog_proof_seq_4"].replace(PROOF[1] + "\n", ""),
    ],
)
def test_a_file_that_is_no_proof_fails(run: Callable[..., Ran], proof: str | bytes) -> None:
    ran = run(proof, entry=RECORD)

    assert ran.code == 1
    assert ran.out.splitlines()[-1].startswith("FAIL")


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "x",
        CHECKPOINT["vkey"].replace("tenant-vec", "tenant-two"),
        CHECKPOINT["vkey"].replace("bb5a22b8", "bb5a22b9"),
        CHECKPOINT["vkey"][:-4],
        CHECKPOINT["vkey"].replace("+AaCg", "+BKCg"),
        CHECKPOINT["vkey"] + "é",
    ],
)
def test_a_verifier_key_that_is_none_is_a_wrong_usage(run: Callable[..., Ran], vkey: str) -> None:
    ran = run(answer(), vkey=vkey)

    assert ran.code == 2
    assert "--vkey" in ran.talk
    assert ran.out == ""


def test_a_file_that_cannot_be_read_is_a_wrong_usage(
    run: Callable[..., Ran], tmp_path: Path
) -> None:
    ran = run(answer(), "--entry", str(tmp_path / "missing"))

    assert ran.code == 2
    assert "can't be read" in ran.talk


def test_a_file_without_end_is_a_wrong_usage(run: Callable[..., Ran]) -> None:
    assert run(b" " * (4 * 1024 * 1024 + 1)).code == 2


def test_a_key_must_be_given(run: Callable[..., Ran], tmp_path: Path) -> None:
    assert run(answer()).code == 0

    with pytest.raises(SystemExit) as caught:
        example.load("verify_inclusion").main([str(tmp_path / "proof")])

    assert caught.value.code == 2


@pytest.mark.parametrize(("seq", "code"), [("4", 0), ("5", 1), ("four", 2)])
def test_it_runs_isolated_with_nothing_but_the_standard_library(
    tmp_path: Path, seq: str, code: int
) -> None:
    (tmp_path / "proof.json").write_text(json.dumps(answer()), encoding="utf-8")
    (tmp_path / "entry").write_bytes(RECORD)
    isolated = ["-I", "-S", str(SCRIPT), "proof.json", "--entry", "entry", "--seq", seq]
    isolated += ["--vkey", CHECKPOINT["vkey"]]

    ran = subprocess.run(
        [sys.executable, *isolated],
        cwd=tmp_path,
        env={},
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert ran.returncode == code, ran


@pytest.mark.parametrize(("size", "root_size", "proof_length"), [(4, 2, 1), (2, 4, 2), (1, 2, 1)])
def test_a_proof_of_another_length_than_the_size_demands_fails(
    run: Callable[..., Ran], size: int, root_size: int, proof_length: int
) -> None:
    # Signed on purpose with the root of another size, so that only the length of the way is wrong.
    hashes = [leaf_hash(bytes([number])) for number in range(4)]
    root = root_of(hashes[:root_size])
    proof = inclusion_proof_of(hashes[:root_size], 0)
    assert len(proof) == proof_length
    checkpoint = Checkpoint(origin=CHECKPOINT["origin"], size=size, root=root)

    ran = run(tlog_proof(0, proof, sign_checkpoint(checkpoint, seed=SEED)), entry=b"\x00")

    assert ran.code == 1
    assert "does not lead" in ran.out


def test_a_way_that_goes_on_above_the_root_fails(run: Callable[..., Ran]) -> None:
    above = b"\xee" * 32
    root = hash_children(above, leaf_hash(RECORD))
    checkpoint = Checkpoint(origin=CHECKPOINT["origin"], size=1, root=root)

    ran = run(tlog_proof(0, [above], sign_checkpoint(checkpoint, seed=SEED)), entry=RECORD)

    assert ran.code == 1
    assert "does not lead" in ran.out
