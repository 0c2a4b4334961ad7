"""What `migrate` and `--undo` may write: nothing through links, and nothing of others is lost."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from plansguard.core.digest import sha256
from plansguard.core.errors import PlansguardError, UsageError, WriteRefused
from plansguard.documents import json_document
from plansguard.migration.apply import migrate
from plansguard.migration.files import backup_name
from plansguard.migration.plan import MigrationRequest
from plansguard.migration.undo import undo
from plansguard.rules.engine.settings import ActiveSettings
from tests.migration.test_safety import CT, OTHER_CT, migrate_plans, roots, state
from tests.support.variants import ROOTS, copy, place, put

#: The plans that are migrated to, edited and undone.
MOVED = "preprocessed/Moved.json"
RECORD = "preprocessed/Moved.plansguard.json"

pytestmark = [pytest.mark.deep, pytest.mark.workspace(CT, OTHER_CT)]


def state_of(workspace: Path, dataset: str) -> dict[str, bytes]:
    """Every visible file of a preprocessed folder."""
    folder = place(workspace, dataset, "preprocessed/")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."}


def state_of_links(workspace: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """The files of the receiving folder, and its links with their targets."""
    folder = place(workspace, OTHER_CT, "preprocessed/")
    return state_of(workspace, OTHER_CT), {
        path.name: str(path.readlink()) for path in folder.iterdir() if path.is_symlink()
    }


def link(path: Path, target: Path) -> None:
    """A symbolic link, where the system allows one."""
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("this system does not let us make links")


@pytest.mark.parametrize("name", ["Linked.json", "Linked.plansguard.json", "dataset.json"])
@pytest.mark.parametrize("behind", ["Shared.json", f"../{CT}/nnUNetPlans.json", "nothing.json", "Linked.json"])
def test_no_file_is_written_through_a_link(workspace: Path, name: str, behind: str) -> None:
    """Neither in the folder nor out of it, to nothing or to itself, whatever is forced."""
    copy("preprocessed/nnUNetPlans.json", "preprocessed/Shared.json")(workspace, OTHER_CT)
    path = place(workspace, OTHER_CT, f"preprocessed/{name}")
    own = path.read_bytes() if path.is_file() else None
    path.unlink(missing_ok=True)
    link(path, Path(behind))
    before, others = state_of_links(workspace), state_of(workspace, CT)
    if own is None or not path.is_file():  # an existing dataset.json is only read
        with pytest.raises(WriteRefused, match="is a symbolic link to"):
            migrate_plans(workspace, "Linked", force=True)
    assert (state_of_links(workspace), state_of(workspace, CT)) == (before, others)


@pytest.mark.parametrize("form", ["name", "path"])
def test_a_dataset_that_is_a_link_to_the_other(workspace: Path, form: str) -> None:
    """Real folders are compared: a migration to itself, under another name."""
    alias = "Dataset009_Alias"
    link(place(workspace, alias, "preprocessed/").absolute().parent / alias, Path(OTHER_CT))
    before = state(workspace)
    source = {"name": alias, "path": str(workspace / ROOTS["preprocessed"] / alias)}[form]
    for request in (
        MigrationRequest(source, OTHER_CT, "Moved", "nnUNetPlans", force=True),
        MigrationRequest(CT, alias, "nnUNetPlans", "nnUNetPlans", force=True),
    ):
        with pytest.raises(UsageError, match=r"is both source and target|is a link to"):
            migrate(roots(workspace), request, ActiveSettings())
    with pytest.raises(UsageError, match="is a link to"):
        undo(roots(workspace), alias, None, force=True)
    assert state(workspace) == before


def test_a_dataset_on_another_disk(workspace: Path) -> None:
    """A folder that is a link to a place outside nnUNet_preprocessed is that dataset's own."""
    folder = place(workspace, OTHER_CT, "preprocessed/")
    (workspace / "scratch").mkdir()
    folder.rename(workspace / "scratch" / OTHER_CT)
    link(Path(str(folder).rstrip("/")), workspace / "scratch" / OTHER_CT)
    migrate_plans(workspace)
    assert (workspace / "scratch" / OTHER_CT / "Moved.json").is_file()
    undo(roots(workspace), OTHER_CT, None, force=False)
    assert not (workspace / "scratch" / OTHER_CT / "Moved.json").exists()


# --- Undo ---


def forged_record(workspace: Path, value: dict[str, Any], replaced: dict[str, Any] | None = None) -> bytes:
    """A record with correct digests, which says that a migration wrote these plans."""
    record = json.loads(place(workspace, OTHER_CT, RECORD).read_bytes())
    to = {**record["to"], "sha256": sha256(json_document.dumps(value))}
    return json_document.dumps({**record, "to": to, "migrated": value, "replaced": replaced})


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/to/sha256", "0" * 64),
        ("/migrated/plans_name", "Other"),
        ("/migrated", {}),
        ("/replaced", {"sha256": "0" * 64, "backup": None, "lineage": {"x": 1}}),
        ("/replaced", {"sha256": "0" * 64, "backup": "nnUNetPlans.json", "lineage": None}),
        ("/replaced", {"sha256": "0" * 64, "backup": "../x", "lineage": None}),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_a_record_that_does_not_explain_the_files(workspace: Path, pointer: str, value: Any, force: bool) -> None:
    migrate_plans(workspace)
    put(RECORD, pointer, value)(workspace, OTHER_CT)
    before = state_of(workspace, OTHER_CT)
    with pytest.raises(PlansguardError):
        undo(roots(workspace), OTHER_CT, "Moved", force=force)
    assert state_of(workspace, OTHER_CT) == before


def test_a_forged_record_with_correct_digests(workspace: Path) -> None:
    """Nothing shows that plansguard did not write the plans; their content is kept, also after the next use."""
    migrate_plans(workspace)
    own = {
        **json.loads(place(workspace, OTHER_CT, "preprocessed/nnUNetPlans.json").read_bytes()),
        "plans_name": "Moved",
    }
    content = json_document.dumps(own)
    place(workspace, OTHER_CT, RECORD).write_bytes(forged_record(workspace, own))
    place(workspace, OTHER_CT, MOVED).write_bytes(content)
    steps = undo(roots(workspace), OTHER_CT, "Moved", force=False).steps
    assert any(step.startswith("kept the migrated plans as Moved.json.") for step in steps)
    migrate_plans(workspace)
    undo(roots(workspace), OTHER_CT, "Moved", force=False)
    assert content in state_of(workspace, OTHER_CT).values()


def test_dataset_json_that_a_record_claims(workspace: Path) -> None:
    """Only the content of the raw dataset.json is removed, which is still there."""
    migrate_plans(workspace)
    path = place(workspace, OTHER_CT, "preprocessed/dataset.json")
    put("preprocessed/dataset.json", "/note", "mine")(workspace, OTHER_CT)
    put(RECORD, "/placed_dataset_json", sha256(path.read_bytes()))(workspace, OTHER_CT)
    before = path.read_bytes()
    for plans in path.parent.glob("nnUNet*Plans.json"):
        plans.unlink()
    undo(roots(workspace), OTHER_CT, "Moved", force=False)
    assert path.read_bytes() == before


def test_copies_are_removed_where_nothing_is_lost(workspace: Path) -> None:
    """The next migration writes the same plans; the copies of records go."""
    migrate_plans(workspace)
    after = set(state_of(workspace, OTHER_CT))
    undo(roots(workspace), OTHER_CT, "Moved", force=False)
    assert any(name.endswith(".undone") for name in state_of(workspace, OTHER_CT))
    migrate_plans(workspace)
    assert set(state_of(workspace, OTHER_CT)) == after


def test_a_planted_file_with_the_name_of_a_backup(workspace: Path) -> None:
    copy("preprocessed/nnUNetPlans.json", MOVED)(workspace, OTHER_CT)
    path = place(workspace, OTHER_CT, MOVED)
    planted = backup_name(path, path.read_bytes())
    planted.write_bytes(b"a file of somebody else")
    migrate_plans(workspace, force=True)
    assert planted.read_bytes() == b"a file of somebody else"
    assert len([name for name in state(workspace) if name.endswith(".bak")]) == 2


@pytest.mark.parametrize("content", [b"notes", b"{}", b"[]", b"another migration's record"])
def test_a_file_with_the_name_of_the_record(workspace: Path, content: bytes) -> None:
    """The migration is refused, or a file that is no record of these plans is kept as a backup."""
    migrate_plans(workspace, "Other")
    if content.startswith(b"another"):
        content = place(workspace, OTHER_CT, "preprocessed/Other.plansguard.json").read_bytes()
    place(workspace, OTHER_CT, RECORD).write_bytes(content)
    migrate(roots(workspace), MigrationRequest(CT, OTHER_CT, "Moved", "nnUNetPlans", force=True), ActiveSettings())
    assert content in [kept for name, kept in state(workspace).items() if name.startswith("Moved.")]


@pytest.mark.parametrize("damaged", [b"", b"{", b"{}", b"\0"])
def test_the_record_of_damaged_plans(workspace: Path, damaged: bytes) -> None:
    """It is kept beside the record of the migration that replaces them."""
    migrate_plans(workspace, "Moved")
    record = place(workspace, OTHER_CT, RECORD).read_bytes()
    place(workspace, OTHER_CT, "preprocessed/Moved.json").write_bytes(damaged)
    migrate_plans(workspace, "Moved", force=True)
    assert record in [kept for name, kept in state(workspace).items() if name.endswith(".bak")]


@pytest.mark.parametrize("seed", range(12))
def test_no_foreign_content_is_lost(workspace: Path, seed: int) -> None:
    """Migrations, edits, forced undos and forged records in any order: what plansguard did not write is kept."""
    order = random.Random(seed)
    migrate_plans(workspace)
    foreign = {content for name, content in state(workspace).items() if not name.startswith("Moved.")}
    path, record = place(workspace, OTHER_CT, MOVED), place(workspace, OTHER_CT, RECORD)

    def edit() -> None:
        if path.is_file():
            foreign.discard(path.read_bytes())
            path.write_bytes(path.read_bytes() + b" " * order.randint(1, 9))
            foreign.add(path.read_bytes())

    def forge() -> None:
        if record.is_file() and path.is_file():
            value = json.loads(path.read_bytes()) | {"note": order.random()}
            record.write_bytes(forged_record(workspace, value))
            kept = backup_name(path, path.read_bytes())
            kept.write_bytes(path.read_bytes())
            path.write_bytes(json_document.dumps(value))
            foreign.add(path.read_bytes())

    def migrated() -> None:
        source, force = order.choice(["nnUNetPlans", "nnUNetResEncUNetMPlans"]), order.random() < 0.7
        request = MigrationRequest(CT, OTHER_CT, "Moved", source, "graft", onto="nnUNetPlans", force=force)
        migrate(roots(workspace), request, ActiveSettings())

    def undone() -> None:
        undo(roots(workspace), OTHER_CT, None, force=True)

    actions = [edit, forge, migrated, undone]
    for _ in range(10):
        with suppress(PlansguardError):
            order.choice(actions)()
        assert foreign <= set(state_of(workspace, OTHER_CT).values())
